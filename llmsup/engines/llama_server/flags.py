"""The settings that an engine gets at launch, rendered in the flags that this engine has."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import pairwise
from typing import Any

from attrs import Factory, frozen

from ...config.schema import Kind, MiB, ModelSpec
from ...errors import Collected, SetupError
from ..sampling import FIELDS, Field, body_value, engine_value, flag_words, request_field

_KINDS: Mapping[Kind | None, tuple[str, ...]] = {
    "embedding": ("--embeddings", "--embedding"),
    "rerank": ("--reranking", "--rerank"),
}

HTTP_THREADS = 64
"""The number of HTTP threads of a built-in engine."""

VERBOSITY = 4
"""The log level of a built-in engine."""


@frozen
class FlagSet:
    """The flags that one engine understands.

    Attributes:
        flags: Every spelling, with its dashes.
        name: The engine's name in messages: a path or "bundled".
        valued: The flags that take a value.
    """

    flags: frozenset[str]
    name: str
    valued: frozenset[str] = frozenset()

    def __repr__(self) -> str:
        return f"<FlagSet {self.name}, {len(self.flags)} flags>"

    def pick(self, candidates: Iterable[str]) -> str | None:
        """Return the first of the spellings that the engine knows."""
        return next((flag for flag in candidates if flag in self.flags), None)


@frozen
class Rendered:
    """A model's settings: the words for the command line, and the fields that every request has to carry instead."""

    words: tuple[str, ...] = ()
    body_defaults: Mapping[str, Any] = Factory(dict)


def render(spec: ModelSpec, flag_set: FlagSet, *, threads: int | None) -> Rendered:
    """Write a model's settings as flags; sampling that the engine has no flag for becomes request fields.

    Args:
        threads: The number of threads to compute with, or None to leave it to the engine.

    Raises:
        SetupError: The config asks for settings that this engine has no flag for; all of them are listed.
    """
    words: list[str] = []
    problems = Collected()
    for what, candidates, value in _settings(spec, threads):
        flag = flag_set.pick(candidates)
        if flag is not None:
            words += (flag,) if value is None else (flag, str(value))
        elif what:
            lacks = f"it has no {candidates[0]}"
            problems.add(SetupError(f"model {spec.name}: {flag_set.name} can't be given {what}: {lacks}."))
    problems.check()
    body: dict[str, Any] = {}
    # Embedding and rerank models don't sample: keep [defaults.sampling] out of their requests.
    sampling = spec.sampling if spec.kind in (None, "chat") else {}
    for name, value in sampling.items():
        key = request_field(name)
        field = FIELDS.get(key, Field())
        flag = flag_set.pick(field.off if field.form == "switch" and not value else field.flags)
        if flag is None:
            body[key] = body_value(key, value)
        else:
            words += flag_words(flag, field.form, engine_value(key, value))
    return Rendered(tuple(words), body)


def _settings(spec: ModelSpec, threads: int | None) -> Iterator[tuple[str, tuple[str, ...], int | str | None]]:
    """Yield what to give at launch: the key that asks for it ("" if it may be dropped), the spellings, the value."""
    if spec.kind in _KINDS:
        yield f'kind = "{spec.kind}"', _KINDS[spec.kind], None
    if spec.ctx_size:
        yield "ctx_size", ("--ctx-size", "-c"), spec.ctx_size
    if spec.parallel:
        yield "parallel", ("--parallel", "-np"), spec.parallel
    if spec.n_gpu_layers != "auto":
        yield "n_gpu_layers", ("--n-gpu-layers", "--gpu-layers", "-ngl"), spec.n_gpu_layers
    if spec.devices:
        yield "devices", ("--device", "-dev"), ",".join(spec.devices)
    if threads is not None:
        asked = "threads" if spec.threads != "auto" else ""
        yield asked, ("--threads", "-t"), threads
        yield "", ("--threads-batch", "-tb"), threads
    # Always given: by default each llama-server may keep 8 GiB of prompts.
    yield "", ("--cache-ram", "-cram"), -(-spec.cache_ram // MiB)
    # Each kept connection occupies a thread, and new threads start too late: with the default (5 here), 11 of 16
    # concurrent requests waited 1 to 11 s for one; with 64 none did, for 2.6 MiB (tools/bench_proxy.py).
    yield "", ("--threads-http",), HTTP_THREADS
    # From 4 up (the default is 3) the log gives the size of each buffer, which on a Mac has no other source. It costs
    # some 200 more lines at the start and 15 with each request, none of which contain prompts or answers.
    yield "", ("--verbosity", "--log-verbosity", "-lv"), VERBOSITY
    # The file is already on the disk, and no browser can reach a socket in a private directory.
    yield "", ("--offline",), None
    yield "", ("--no-ui", "--no-webui"), None


_LONG_FLAG = re.compile(r"--[A-Za-z][\w.-]*")
_SHORT_FLAG = re.compile(r"-[A-Za-z][\w.-]*")


def check_args(spec: ModelSpec, flag_set: FlagSet, owned: Mapping[str, str], *, place: str = "args") -> None:
    """Refuse extra arguments that would take the engine out of our control, or that it would refuse itself.

    An engine exits at once if it doesn't know a flag, but other models may have been evicted for it by then.

    Args:
        owned: The flags that llmsup sets, each with what to do instead.
        place: The name of these arguments in a message.

    Raises:
        SetupError: The model's `args` contain such flags; all of them are listed.
    """
    problems = Collected()
    before = ""
    for word, after in pairwise((*spec.args, "")):
        value_of, before = before, word if word.startswith("-") else ""
        flag = re.sub(r"(?<=\w)_", "-", word.partition("=")[0]) if word.startswith("-") else ""
        where = f"model {spec.name}: {place} has {word!r}"
        if flag in owned:
            problems.add(SetupError(f"{where}, which llmsup sets itself.", hint=owned[flag]))
        # a word after a flag may be its value, even if it looks like a flag: "--chat-template -x"
        elif not (_LONG_FLAG.fullmatch(flag) or (_SHORT_FLAG.fullmatch(flag) and not value_of)):
            continue
        elif flag not in flag_set.flags:
            near = difflib.get_close_matches(flag, flag_set.flags, n=1, cutoff=0.7)
            hint = f"Did you mean {near[0]}?" if near else ""
            problems.add(SetupError(f"{where}, which {flag_set.name} does not know.", hint=hint))
        elif "=" in word:
            hint = f'Write "{flag}", "{word.partition("=")[2]}".'
            problems.add(SetupError(f"{where}; flag and value are two words here.", hint=hint))
        elif flag in flag_set.valued and (not after or after in flag_set.flags):
            problems.add(SetupError(f"{where}, but no value for it."))
    problems.check()
