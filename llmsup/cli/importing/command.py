"""A model's `cmd`: split as llama-swap does, with a llama-server's flags converted to llmsup's keys. Nothing is run."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Mapping
from typing import Any

from attrs import Factory, define

from ...config.flag_names import canonical, flag_in, spellings
from ...config.sampling import PARAMETERS
from ...config.write import can_say
from ...engines.sampling import FIELD_OF, FIELDS, Field, read_flag

ELSEWHERE = ("--hf-repo", "--hf-file", "--model-url", "--docker-repo")
"""Flags that let llama-server fetch its model."""

# Flags that llmsup sets itself, whatever the command says: with the number of words that each takes.
_OURS = {"--host": 1, "--port": 1, "--reuse-port": 0, "--offline": 0, "--no-ui": 0}
_LEFT_OUT = {
    **dict.fromkeys(("--api-key", "--api-key-file"), "engines answer only to llmsup; put keys into [server] api_keys"),
    **dict.fromkeys(("--ssl-key-file", "--ssl-cert-file"), "engines answer only to llmsup; see [server] certfile"),
    "--api-prefix": "llmsup asks the engine under its own paths",
}
# These limit or extend what a request says, which request fields can't do: they stay flags.
_STAY_FLAGS = ("max_tokens", "logit_bias", "stop")


@define
class Flags:
    """What a llama-server's command line says.

    Attributes:
        path: The value of --model, or "".
        keys: llmsup's keys.
        sampling: Sampling parameters, as request fields.
        aliases: The values of --alias.
        args: What stays a flag.
        elsewhere: The flags that make it download its model.
        notes: What was left out or not understood: flags, each with a clause.
    """

    path: str = ""
    keys: dict[str, Any] = Factory(dict)
    sampling: dict[str, Any] = Factory(dict)
    aliases: list[str] = Factory(list)
    args: list[str] = Factory(list)
    elsewhere: list[str] = Factory(list)
    notes: list[tuple[str, str]] = Factory(list)


def split(cmd: str) -> tuple[str, ...]:
    """Split a command: comment lines are dropped, a backslash continues a line, quotes work as in a shell.

    Raises:
        ValueError: A quote isn't closed.
    """
    lines = [line for line in cmd.splitlines() if not line.lstrip().startswith("#")]
    return tuple(shlex.split(re.sub(r"\\\s*\n", " ", "\n".join(lines))))


def program(words: tuple[str, ...]) -> str:
    """The name of a command's program, without its directory."""
    return re.split(r"[/\\]", words[0])[-1].removesuffix(".exe") if words else ""


def _number(key: str, low: int, *, default: int | None = None) -> Callable[[str], dict[str, Any]]:
    def read(word: str) -> dict[str, Any]:
        number = int(word)
        if number == default:
            return {}
        if number < low:
            raise ValueError(word)
        return {key: number}

    return read


def _layers(word: str) -> dict[str, Any]:
    if word == "auto":
        return {}
    return {"n_gpu_layers": 999} if word == "all" else _number("n_gpu_layers", 0)(word)


def _cache(word: str) -> dict[str, Any]:
    return {"cache_ram": f"{_number('', 0)(word)['']}MiB"}


_KEYS: Mapping[str, Callable[[str], dict[str, Any]]] = {
    "--ctx-size": _number("ctx_size", 1, default=0),
    "--parallel": _number("parallel", 1, default=-1),
    "--n-gpu-layers": _layers,
    "--threads": _number("threads", 1, default=-1),
    "--cache-ram": _cache,
}
_KINDS = {"--embeddings": "embedding", "--reranking": "rerank"}


def read_flags(words: tuple[str, ...]) -> Flags:
    """Read a llama-server's command line (without the program); what has no key in llmsup stays a flag."""
    read = Flags()
    rest = [part for word in words for part in _parts(word)]
    at = 0
    while at < len(rest):
        flag = flag_in(rest[at])
        after = rest[at + 1] if at + 1 < len(rest) else None
        used = _one(read, canonical(flag), after) if flag else None
        if used is None:
            read.args.append(rest[at])
        at += 1 + (used or 0)
    return read


def _parts(word: str) -> tuple[str, ...]:
    """Split `--flag=value` into two words, the only form that llama-server accepts."""
    flag, equals, value = word.partition("=")
    return (flag, value) if equals and flag.startswith("--") and flag_in(flag) else (word,)


def _one(read: Flags, flag: str, after: str | None) -> int | None:
    """Read one flag. Returns how many words after it belong to it; None if it stays a flag."""
    if flag in _OURS:
        return _OURS[flag]
    if flag in _KINDS:
        read.keys["kind"] = _KINDS[flag]
        return 0
    name = next((FIELD_OF[each] for each in spellings(flag) if each in FIELD_OF), "")
    if name and name not in _STAY_FLAGS:
        return _sampling(read, flag, name, after)
    if after is None:
        return None
    if flag in _LEFT_OUT:
        read.notes.append((flag, f"left out: {_LEFT_OUT[flag]}"))
    elif flag in ELSEWHERE:
        read.elsewhere += (flag, after)
    elif flag == "--model":
        read.path = after
    elif flag == "--alias":
        read.aliases += [name.strip() for name in after.split(",") if name.strip()]
    elif flag in _KEYS:
        try:
            read.keys.update(_KEYS[flag](after))
        except ValueError:
            return None
    elif (flag, after) != ("--predict", "-1"):  # which is the default
        return None
    return 1


def _sampling(read: Flags, flag: str, name: str, after: str | None) -> int | None:
    known = next(each for each in spellings(flag) if each in FIELD_OF)
    switch = FIELDS.get(name, Field()).form == "switch"
    if after is None and not switch:
        return None
    try:
        value = read_flag(known, after or "", read.sampling.get(name))
        PARAMETERS[name].check(value)
        if not can_say(value):
            raise ValueError(value)  # noqa: TRY301 -- handled like any bad value
    except (ValueError, RecursionError):
        if not switch and flag_in(after or "") == "":
            read.notes.append((flag, f"stays a flag, as {after!r} can't be read as {name}"))
        return None
    read.sampling[name] = value
    return 0 if switch else 1
