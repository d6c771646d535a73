"""The command line of a llama-server, and the words it shares with other engines that accept the same flags."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from attrs import evolve, frozen

from ...config.schema import ModelSpec
from ...errors import Collected, SetupError
from ..address import UnixAddress
from ..launch import Launch
from . import NAME
from .corrections import Corrected, corrections
from .flags import FlagSet, check_args, render
from .load_mode import words_for

# Internal to llama.cpp, so nothing depends on it: with this variable (any number will do) llama-server takes us for its
# router. It then prints lines `cmd_child_to_router:state:{...}` on its standard output, with the progress of the load,
# and once loaded it exits when its standard input closes. Readiness and orphans are handled without it.
CHILD_MODE = {"LLAMA_SERVER_ROUTER_PORT": "1"}

# A thread of the child waits for this line, and on exit the child waits for that thread. Closing the input is not
# enough: the thread then calls exit() while SIGTERM's orderly shutdown runs, which now and then aborts, and an aborted
# llama-server has a debugger (gdb, lldb), if one is installed, print its stack first: meanwhile it keeps all its
# memory, and the debugger takes more.
_CHILD_EXIT = b"cmd_router_to_child:exit\n"

_OURS = "llmsup gives each engine a socket of its own."
_PATH = "Set the model's `path` instead."
_NOT_HERE = "Engines answer only to llmsup: put it into [server]."
_OWNED = {
    **dict.fromkeys(("--host", "--port", "--reuse-port", "--api-prefix"), _OURS),
    **dict.fromkeys(("--model", "-m", "--model-url", "-mu", "--docker-repo", "-dr"), _PATH),
    **dict.fromkeys(("--hf-repo", "-hf", "-hfr", "--hf-file", "-hff"), _PATH),
    **dict.fromkeys(("--models-dir", "--models-preset", "--models-max"), _PATH),
    **dict.fromkeys(("--api-key", "--api-key-file", "--ssl-key-file", "--ssl-cert-file"), _NOT_HERE),
}


def alias_of(name: str) -> str:
    """Return a model's name for llama-server's `--alias`, which takes a list separated by commas.

    A comma becomes a full-width one; `catalog.resolver` accepts names with either.
    """
    return name.replace(",", "\N{FULLWIDTH COMMA}")


@frozen(kw_only=True)
class ServerStart:
    """What a server of llama.cpp's is started with, whichever program it comes in.

    Attributes:
        spec: The model's settings, with the flags for its file already in `args`.
        program: The binary, and arguments that come before all others.
        model: The model's file.
        socket: Where it is to answer; the name must end in ".sock", or llama-server takes it for a host.
        threads: The number of threads to compute with; None leaves it to the engine.
        slots: The directory for what its slots hold, or None.
        workers: Where its RPC workers answer, each HOST:PORT.
    """

    spec: ModelSpec
    program: tuple[str, ...]
    model: Path
    socket: Path
    threads: int | None = None
    slots: Path | None = None
    workers: tuple[str, ...] = ()


def launch(start: ServerStart, flag_set: FlagSet) -> Launch:
    """Return the launch of a llama-server for one model.

    Raises:
        SetupError: The model's `args` contain an unknown flag or one that llmsup sets, or the config asks for
            something this engine has no flag for.
    """
    spec = start.spec
    problems = Collected()
    with problems.noting():
        leading = corrected_command(spec, start.program, flag_set)
    with problems.noting():
        words, body, corrected = words_of(start, flag_set, alias=alias_of(spec.name))
    problems.check()
    return Launch(
        engine=NAME,
        argv=(*leading.words, *words),
        env={**spec.env, **CHILD_MODE, **(NO_STACK if start.workers else {})},
        address=UnixAddress(start.socket),
        tells_progress=True,
        farewell=_CHILD_EXIT,
        body_defaults=body,
        **slots_given(start, flag_set),
        corrections=(*leading.changes, *corrected.changes),
    )


def corrected_command(spec: ModelSpec, command: tuple[str, ...], flag_set: FlagSet) -> Corrected:
    """Return a llama-server command with its arguments as this build spells them.

    Raises:
        SetupError: This build doesn't know one of the flags.
    """
    corrected = corrected_args(evolve(spec, args=command[1:]), flag_set, place="command")
    return evolve(corrected, words=(command[0], *corrected.words))


def corrected_args(spec: ModelSpec, flag_set: FlagSet, *, place: str = "args") -> Corrected:
    """Return a model's `args` as this llama-server spells them, for a command line that the user wrote.

    Raises:
        SetupError: This build doesn't know one of the flags.
    """
    return _checked(spec, flag_set, {}, place=place)


def _checked(spec: ModelSpec, flag_set: FlagSet, owned: Mapping[str, str], *, place: str = "args") -> Corrected:
    corrected, problems = corrections(spec, flag_set, place=place)
    with problems.noting():
        check_args(evolve(spec, args=corrected.words), flag_set, owned, place=place)
    problems.check()
    return corrected


def words_of(
    start: ServerStart, flag_set: FlagSet, *, alias: str
) -> tuple[tuple[str, ...], dict[str, object], Corrected]:
    """Return all words after the program, request fields for flags this build lacks, and the corrections to `args`.

    Raises:
        SetupError: As for `launch`.
    """
    problems = Collected()
    with problems.noting():
        corrected = _checked(start.spec, flag_set, _OWNED)
    with problems.noting():
        rendered = render(start.spec, flag_set, threads=start.threads)
    with problems.noting():
        loading = words_for(start.spec, flag_set)
    with problems.noting():
        workers = _worker_words(start, flag_set)
    problems.check()
    # The user's arguments come last: llama-server uses the last value of a flag given twice.
    place = ("--model", str(start.model), "--host", str(start.socket), "--alias", alias)
    words = (*place, *_slot_words(start, flag_set), *workers, *rendered.words, *loading, *corrected.words)
    return words, {**rendered.body_defaults, **corrected.sampling}, corrected


RPC = "--rpc"

NO_STACK = {"GGML_NO_BACKTRACE": "1"}
"""An engine aborts when a worker of its is lost. Without this a debugger, if one is installed, first prints its stack,
for a second or more, in which its clients learn nothing."""


def _worker_words(start: ServerStart, flag_set: FlagSet) -> tuple[str, ...]:
    """The engine's RPC workers. Raises SetupError: this build has no flag for them."""
    if not start.workers:
        return ()
    if RPC not in flag_set.flags:
        raise SetupError(
            f"model {start.spec.name}: {flag_set.name} can't be given rpc: it has no {RPC}.",
            hint="Build llama.cpp with -DGGML_RPC=ON, or use a build that has it.",
        )
    if RPC in start.spec.args:
        raise SetupError(
            f"model {start.spec.name}: both rpc and args have its workers.", hint=f"Take {RPC} out of args."
        )
    return (RPC, ",".join(start.workers))


_SAVE = "--slot-save-path"
_KEEP_IDLE = "--no-cache-idle-slots"
_OWN_CACHE = "--cache-disk"


def slots_given(start: ServerStart, flag_set: FlagSet) -> dict[str, Any]:
    """Return the fields of a launch that tell whether the engine got the directory for its slots, or why not."""
    if start.slots is None:
        return {}
    if _OWN_CACHE in flag_set.flags:
        return {"no_slots": f'its engine can keep prompts on the disk by itself: args = ["{_OWN_CACHE}", ...]'}
    if _SAVE not in flag_set.flags:
        return {"no_slots": f"its engine has no {_SAVE}"}
    return {"slots": start.slots}


def _slot_words(start: ServerStart, flag_set: FlagSet) -> tuple[str, ...]:
    """The directory; and, as by default a slot's tokens move into the prompt cache in memory as soon as another slot
    has work, from where they can't be saved, that they stay. (They still move if their slot is needed.)
    """
    if slots_given(start, flag_set).get("slots") is None:
        return ()
    kept = (_KEEP_IDLE,) if _KEEP_IDLE in flag_set.flags else ()
    return (_SAVE, f"{start.slots}/", *kept)  # it puts the name right behind it
