"""The settings that an engine can be given at launch, rendered for the flags that this engine has.

It does not know how an engine's flags are found out (`probe`, `bundled`) nor what starts it.
"""

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
"""Threads that a built-in engine answers HTTP with."""

VERBOSITY = 4
"""Of a built-in engine's log."""


@frozen
class Dialect:
    """The flags that one engine understands.

    Attributes:
        flags: Every spelling, with its dashes.
        name: The engine, for messages: a path or "bundled".
        valued: Those that want a word behind them.
    """

    flags: frozenset[str]
    name: str
    valued: frozenset[str] = frozenset()

    def __repr__(self) -> str:
        return f"<Dialect {self.name}, {len(self.flags)} flags>"

    def pick(self, candidates: Iterable[str]) -> str | None:
        """The first of the spellings that the engine knows."""
        return next((flag for flag in candidates if flag in self.flags), None)


@frozen
class Rendered:
    """A model's settings: what the command line says, and what every request has to say instead."""

    words: tuple[str, ...] = ()
    body_defaults: Mapping[str, Any] = Factory(dict)


def render(spec: ModelSpec, dialect: Dialect, *, threads: int | None) -> Rendered:
    """Write a model's settings as flags; sampling that the engine has no flag for becomes request fields.

    Args:
        threads: How many to compute with, or None to leave it to the engine.

    Raises:
        SetupError: The config asks for settings that this engine has no flag for; all of them are told.
    """
    words: list[str] = []
    problems = Collected()
    for what, candidates, value in _settings(spec, threads):
        flag = dialect.pick(candidates)
        if flag is not None:
            words += (flag,) if value is None else (flag, str(value))
        elif what:
            lacks = f"it has no {candidates[0]}"
            problems.add(SetupError(f"model {spec.name}: {dialect.name} can't be given {what}: {lacks}."))
    problems.check()
    body: dict[str, Any] = {}
    # An embedding or a rerank model samples nothing; its requests shall not carry [defaults.sampling].
    sampling = spec.sampling if spec.kind in (None, "chat") else {}
    for name, value in sampling.items():
        key = request_field(name)
        field = FIELDS.get(key, Field())
        flag = dialect.pick(field.off if field.form == "switch" and not value else field.flags)
        if flag is None:
            body[key] = body_value(key, value)
        else:
            words += flag_words(flag, field.form, engine_value(key, value))
    return Rendered(tuple(words), body)


def _settings(spec: ModelSpec, threads: int | None) -> Iterator[tuple[str, tuple[str, ...], int | None]]:
    """What to give at launch: its key if it is asked for (else "", it is only nice to have), flags, value."""
    if spec.kind in _KINDS:
        yield f'kind = "{spec.kind}"', _KINDS[spec.kind], None
    if spec.ctx_size:
        yield "ctx_size", ("--ctx-size", "-c"), spec.ctx_size
    if spec.parallel:
        yield "parallel", ("--parallel", "-np"), spec.parallel
    if spec.n_gpu_layers != "auto":
        yield "n_gpu_layers", ("--n-gpu-layers", "--gpu-layers", "-ngl"), spec.n_gpu_layers
    if threads is not None:
        asked = "threads" if spec.threads != "auto" else ""
        yield asked, ("--threads", "-t"), threads
        yield "", ("--threads-batch", "-tb"), threads
    # Always, because left to itself each llama-server may keep 8 GiB of prompts.
    yield "", ("--cache-ram", "-cram"), -(-spec.cache_ram // MiB)
    # Each kept connection holds one of its threads, and it starts new ones too late: with its default (5 here) 11 of
    # 16 requests at once waited 1 to 11 s for a thread, with 64 none did, for 2.6 MiB (tools/bench_proxy.py).
    yield "", ("--threads-http",), HTTP_THREADS
    # The size of each buffer, which nobody else tells on a Mac, is said from 4 up (3 is the default). The price is some
    # 200 lines more at the start and some 15 with each request, with nothing in them of what was asked or answered.
    yield "", ("--verbosity", "--log-verbosity", "-lv"), VERBOSITY
    # Our file is here already, and nobody browses a socket in a private directory.
    yield "", ("--offline",), None
    yield "", ("--no-ui", "--no-webui"), None


_LONG_FLAG = re.compile(r"--[A-Za-z][\w.-]*")
_SHORT_FLAG = re.compile(r"-[A-Za-z][\w.-]*")


def check_args(spec: ModelSpec, dialect: Dialect, owned: Mapping[str, str], *, place: str = "args") -> None:
    """Refuse extra arguments that would take the engine out of our hands, or that it would refuse itself.

    An engine ends at once at a flag that it doesn't know; by then room was made for it in memory.

    Args:
        owned: Flags that are ours to give, each with what to do instead.
        place: What the words are called in a message.

    Raises:
        SetupError: The model's `args` have such flags; all of them are told.
    """
    problems = Collected()
    before = ""
    for word, after in pairwise((*spec.args, "")):
        value_of, before = before, word if word.startswith("-") else ""
        flag = re.sub(r"(?<=\w)_", "-", word.partition("=")[0]) if word.startswith("-") else ""
        where = f"model {spec.name}: {place} has {word!r}"
        if flag in owned:
            problems.add(SetupError(f"{where}, which llmsup sets itself.", hint=owned[flag]))
        # what stands behind a flag may be its value, even if it looks like one: "--chat-template -x"
        elif not (_LONG_FLAG.fullmatch(flag) or (_SHORT_FLAG.fullmatch(flag) and not value_of)):
            continue
        elif flag not in dialect.flags:
            near = difflib.get_close_matches(flag, dialect.flags, n=1, cutoff=0.7)
            hint = f"Did you mean {near[0]}?" if near else ""
            problems.add(SetupError(f"{where}, which {dialect.name} does not know.", hint=hint))
        elif "=" in word:
            hint = f'Write "{flag}", "{word.partition("=")[2]}".'
            problems.add(SetupError(f"{where}; flag and value are two words here.", hint=hint))
        elif flag in dialect.valued and (not after or after in dialect.flags):
            problems.add(SetupError(f"{where}, but no value for it."))
    problems.check()
