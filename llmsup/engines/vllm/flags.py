"""The flags of a `vllm serve`: which of them this build has, and which a model's `args` may not or can't use."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator
from itertools import pairwise

from ...config.schema import ModelSpec
from ...errors import Collected, SetupError
from ...units import Seconds
from ..kind import Machine
from ..llama_server.flags import FlagSet

PATIENCE = Seconds(120)
"""How long `--help` may take: it imports torch, and looks for a device."""

_OURS = "llmsup gives each engine an address of its own."
_OWNED = {
    **dict.fromkeys(("--host", "--port", "--uds", "--root-path"), _OURS),
    "--model": "Set the model's `path` instead.",
    "--served-model-name": "llmsup gives it the model's name; `aliases` are other ones.",
    "--enable-sleep-mode": "Set `sleep` instead.",
    "--headless": "Then no server would answer.",
    **dict.fromkeys(("--api-key", "--ssl-keyfile", "--ssl-certfile"), "Engines answer only to llmsup: see [server]."),
}

_HEAD = re.compile(r"^ {2}(-\S.*)$", re.MULTILINE)
_FLAG = re.compile(r"(?:^|, )(--?[A-Za-z][\w.-]*)")
_LONG = re.compile(r"--[A-Za-z][\w.+-]*")


def parse_flags(help_text: str) -> frozenset[str]:
    """Return every flag in a help text of argparse's, whose lines begin "  --uds UDS  Unix domain socket path"."""
    heads = (re.split(r" {2,}", match[1])[0] for match in _HEAD.finditer(help_text))
    return frozenset(flag for head in heads for flag in _FLAG.findall(head))


async def flag_set(program: tuple[str, ...], machine: Machine) -> FlagSet:
    """Return the flags of a build; none where it can't be asked: on some machines its help wants a GPU.

    `--help` alone names only groups since 0.11 or so; `--help=all` was a search for "all" before.

    Raises:
        SetupError: The program can't be read.
    """
    name = " ".join((*program, "serve"))
    for words in (("serve", "--help=all"), ("serve", "--help")):
        flags = parse_flags(await machine.probe.text(program, *words, timeout=PATIENCE))
        if "--served-model-name" in flags:
            return FlagSet(flags, name)
    return FlagSet(frozenset(), name)


def given(args: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Yield the flags in a model's `args`, with dashes, each with its value or what else follows it."""
    for word, after in pairwise((*args, "")):
        flag, equals, value = word.partition("=")
        if flag.startswith("-"):
            yield flag[:2] + flag[2:].replace("_", "-"), value if equals else after


def value_of(spec: ModelSpec, *flags: str) -> str:
    """Return what a model's `args` give one of these flags, the last time; "" if none of them is there."""
    return next((value for flag, value in reversed(tuple(given(spec.args))) if flag in flags), "")


def has(spec: ModelSpec, *flags: str) -> bool:
    """Tell whether a model's `args` have one of these flags."""
    return any(flag in flags for flag, _ in given(spec.args))


def check_args(spec: ModelSpec, build: FlagSet) -> None:
    """Refuse arguments that llmsup sets, and those that this build doesn't know, which would make it exit.

    Raises:
        SetupError: There are such; all of them are listed.
    """
    problems = Collected()
    for flag, _ in given(spec.args):
        where = f"model {spec.name}: args has {flag!r}"
        plain = flag.partition(".")[0].removesuffix("+")  # a part of a JSON value: --json-arg.key, --list+
        if plain in _OWNED:
            problems.add(SetupError(f"{where}, which llmsup sets itself.", hint=_OWNED[plain]))
        elif build.flags and _LONG.fullmatch(flag) and plain not in build.flags:
            near = difflib.get_close_matches(plain, build.flags, n=1, cutoff=0.7)
            hint = f"Did you mean {near[0]}?" if near else ""
            problems.add(SetupError(f"{where}, which {build.name} does not know.", hint=hint))
    problems.check()
