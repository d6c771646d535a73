"""The command line of a llama-server, and the words that it shares with others which answer to the same flags.

It does not know where the binary and the model were found.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from attrs import evolve

from ...config.schema import ModelSpec
from ...errors import Collected
from ..address import UnixAddress
from ..launch import Launch
from .flags import Dialect, check_args, render
from .names import NAME
from .spellings import Corrected, corrections

# Internal to llama.cpp, hence only a bonus: with this variable (any number will do) llama-server takes us for its
# own router. It then prints lines `cmd_child_to_router:state:{...}` on its standard output, with the progress of
# the load, and once loaded it ends when its standard input closes. Readiness and orphans are seen to without it.
CHILD_MODE = {"LLAMA_SERVER_ROUTER_PORT": "1"}

# A child's thread waits for this line, and the child at its end for that thread. The end of the input alone won't do:
# the thread then calls exit() beside a SIGTERM's orderly end, which now and then aborts, and an aborted llama-server
# first has a debugger (gdb, lldb) print its stack, where there is one: with all its memory, and the debugger's, until
# that is done.
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
    """A model's name as a llama-server's `--alias`, which would take a comma for the end of one of several. It gets the
    comma of full width, which whoever asks by it is understood with (`catalog.resolver`).
    """
    return name.replace(",", "\N{FULLWIDTH COMMA}")


def launch(
    spec: ModelSpec,
    *,
    command: tuple[str, ...],
    dialect: Dialect,
    model: Path,
    socket: Path,
    threads: int | None,
) -> Launch:
    """A llama-server for one model.

    Args:
        command: The binary, and arguments that come before all others.
        socket: Where it shall answer; the name must end in ".sock", or llama-server takes it for a host.

    Raises:
        SetupError: The model's `args` have a flag that is ours or unknown, or the config asks for what this
            engine can't be told.
    """
    problems = Collected()
    with problems.noting():
        leading = corrected_command(spec, command, dialect)
    with problems.noting():
        words, body, corrected = words_of(spec, dialect, model, socket, threads, alias=alias_of(spec.name))
    problems.check()
    return Launch(
        engine=NAME,
        argv=(*leading.words, *words),
        env={**spec.env, **CHILD_MODE},
        address=UnixAddress(socket),
        tells_progress=True,
        farewell=_CHILD_EXIT,
        body_defaults=body,
        corrections=(*leading.told, *corrected.told),
    )


def corrected_command(spec: ModelSpec, command: tuple[str, ...], dialect: Dialect) -> Corrected:
    """A llama-server's command with its arguments as this build spells them.

    Raises:
        SetupError: There is a flag that it doesn't know.
    """
    corrected = corrected_args(evolve(spec, args=command[1:]), dialect, place="command")
    return evolve(corrected, words=(command[0], *corrected.words))


def corrected_args(spec: ModelSpec, dialect: Dialect, *, place: str = "args") -> Corrected:
    """A model's `args` as this llama-server spells them, whoever wrote the rest of its command line.

    Raises:
        SetupError: There is a flag that it doesn't know.
    """
    return _checked(spec, dialect, {}, place=place)


def _checked(spec: ModelSpec, dialect: Dialect, owned: Mapping[str, str], *, place: str = "args") -> Corrected:
    corrected, problems = corrections(spec, dialect, place=place)
    with problems.noting():
        check_args(evolve(spec, args=corrected.words), dialect, owned, place=place)
    problems.check()
    return corrected


def words_of(
    spec: ModelSpec, dialect: Dialect, model: Path, socket: Path, threads: int | None, *, alias: str
) -> tuple[tuple[str, ...], dict[str, object], Corrected]:
    """All words after the program, the request fields that stand in for flags that this build hasn't got, and what was
    corrected in `args`.

    Raises:
        SetupError: As `launch`.
    """
    problems = Collected()
    with problems.noting():
        corrected = _checked(spec, dialect, _OWNED)
    with problems.noting():
        rendered = render(spec, dialect, threads=threads)
    problems.check()
    # The user's own arguments come last: llama-server keeps the last of a flag given twice.
    words = ("--model", str(model), "--host", str(socket), "--alias", alias, *rendered.words, *corrected.words)
    return words, {**rendered.body_defaults, **corrected.sampling}, corrected
