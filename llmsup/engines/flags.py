"""The settings that an engine can be given at launch, rendered for the flags that this engine has.

It does not know how an engine's flags are found out (`probe`, `bundled`) nor what starts it.
"""

from __future__ import annotations

import difflib
import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import psutil
from attrs import Factory, frozen

from ..config.schema import Kind, MiB, ModelSpec
from ..errors import SetupError
from .sampling import FIELDS, Field, body_value, engine_value, flag_words, request_field

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
    """

    flags: frozenset[str]
    name: str

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
        SetupError: The config asks for a setting that this engine has no flag for.
    """
    words: list[str] = []
    for what, candidates, value in _settings(spec, threads):
        flag = dialect.pick(candidates)
        if flag is not None:
            words += (flag,) if value is None else (flag, str(value))
        elif what:
            raise SetupError(f"model {spec.name}: {dialect.name} can't be given {what}: it has no {candidates[0]}.")
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


def threads_for(spec: ModelSpec, *, cores: int, sharers: int, platform: str = sys.platform) -> int | None:
    """How many threads a model computes with, or None to leave it to the engine.

    With `threads = "auto"` a Mac's engine chooses: it knows its performance cores, and computes on the GPU.
    Elsewhere an engine left alone takes every core. Its threads wait for each other by spinning, so that two engines on
    the same cores make a tenth of what one does; with half of them each they make more than one alone with all
    (tools/bench_two_models.py: 0.11 and 1.17 times), and one alone 0.6 of it. Waiting without spinning
    (OMP_WAIT_POLICY=passive) was tried: one alone 0.7, but two only 0.95 to 1.08, and only engines with OpenMP heed it.

    Args:
        cores: Physical cores that we may use.
        sharers: How many models they are shared out to (`sharers`).
    """
    if spec.threads != "auto":
        return spec.threads
    if platform == "darwin":
        return None
    return max(1, cores // sharers)


def sharers(models: int, loaded: int) -> int:
    """How many models share the cores, for one that starts now. Threads can't change later, so whoever may get company
    has to be prepared for it: two, where there are two; and from the third that is loaded on as many as there are, up
    to four. More are rarely busy at once.

    Args:
        models: How many there are to be asked for.
        loaded: How many are loaded, or being loaded, this one among them.
    """
    return 1 if models < 2 else min(max(2, loaded), 4)


def usable_cores() -> int:
    """The physical cores that this process may run on."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(psutil.cpu_count(logical=False) or allowed, allowed)


_LONG_FLAG = re.compile(r"--[A-Za-z][\w.-]*")
_SHORT_FLAG = re.compile(r"-[A-Za-z][\w.-]*")


def check_args(spec: ModelSpec, dialect: Dialect, owned: Mapping[str, str], *, place: str = "args") -> None:
    """Refuse extra arguments that would take the engine out of our hands, or that it would refuse itself.

    An engine ends at once at a flag that it doesn't know; by then room was made for it in memory.

    Args:
        owned: Flags that are ours to give, each with what to do instead.
        place: What the words are called in a message.

    Raises:
        SetupError: The model's `args` have such a flag.
    """
    before = ""
    for word in spec.args:
        value_of, before = before, word if word.startswith("-") else ""
        flag = re.sub(r"(?<=\w)_", "-", word.partition("=")[0]) if word.startswith("-") else ""
        where = f"model {spec.name}: {place} has {word!r}"
        if flag in owned:
            raise SetupError(f"{where}, which llmsup sets itself.", hint=owned[flag])
        # what stands behind a flag may be its value, even if it looks like one: "--chat-template -x"
        if not (_LONG_FLAG.fullmatch(flag) or (_SHORT_FLAG.fullmatch(flag) and not value_of)):
            continue
        if flag not in dialect.flags:
            near = difflib.get_close_matches(flag, dialect.flags, n=1, cutoff=0.7)
            hint = f"Did you mean {near[0]}?" if near else ""
            raise SetupError(f"{where}, which {dialect.name} does not know.", hint=hint)
        if "=" in word:
            raise SetupError(
                f"{where}; flag and value are two words here.",
                hint=f'Write "{flag}", "{word.partition("=")[2]}".',
            )
