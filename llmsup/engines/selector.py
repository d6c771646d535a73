"""The choice of an engine for a model: its own command, a named engine, llama-server, or the bundled one.

It does not know when a model is started, nor what its requests look like.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import trio
from attrs import define, evolve, frozen

from ..catalog.disk.lmstudio import model_roots
from ..catalog.disk.paths import resolve_path
from ..catalog.found import Found
from ..catalog.ollama.compat import find_llama_server
from ..config.schema import Config, EngineSpec, ModelSpec
from ..errors import Collected, SetupError
from .command import launch as command
from .command.launch import mentions
from .cores import share_of, usable_cores
from .launch import Launch
from .llama_server import command_line as llama_server
from .llama_server.model_file import with_file
from .llama_server.probe import Probe

LLAMA_SERVER = "llama-server"
BUNDLED = "bundled"

# macOS allows 104 bytes with the ending NUL, Linux 108; a config should work on both.
_LONGEST_SOCKET = 103

_NO_ENGINE = (
    "Install llama.cpp (for example: brew install llama.cpp) so that llama-server is on PATH, "
    "or the bundled engine: pip install 'llmsup[engine]'."
)


def xllamacpp_installed() -> bool:
    """Whether the bundled engine can be started; it is not imported for that."""
    return importlib.util.find_spec("xllamacpp") is not None


@frozen
class _Chosen:
    """What a model is started with.

    Attributes:
        words: The program, as it was found, and its leading arguments; none is the bundled engine.
        name: What a person calls an engine that is started as a table says; "" for a built-in one.
    """

    words: tuple[str, ...] = ()
    name: str = ""


@define(kw_only=True)
class EngineSelector:
    """Turns models into launches.

    Attributes:
        config: The engines and the catalog's roots.
        probe: Knows llama-servers' flags.
        which: Finds a program on PATH; None: it is not there.
        bundled_available: Whether the bundled engine is installed.
        several: Whether more than one model may be loaded, so that the cores are shared out.
        cores: How many physical cores we have.
        ollama_server: Finds the llama-server that comes with Ollama; None: it is not there.
    """

    config: Config
    probe: Probe
    which: Callable[[str], str | None] = shutil.which
    bundled_available: Callable[[], bool] = xllamacpp_installed
    several: Callable[[], bool] = lambda: True
    cores: Callable[[], int] = usable_cores
    ollama_server: Callable[[], Path | None] = find_llama_server

    async def plan(
        self, spec: ModelSpec, socket: Path, found: Found | None = None, engine: EngineSpec | None = None
    ) -> Launch:
        """How to start a model.

        Args:
            engine: The [engines.NAME] table that it was defined with; the config may have changed since.
            found: Its file as the catalog knows it: what goes with it, and what its header says.
            socket: Where a built-in engine shall answer: a name that ends in ".sock", in a private directory.

        Raises:
            SetupError: There is no engine for it, its file can't be found or is ambiguous, or the engine can't
                do what the config asks for.
        """
        if len(os.fsencode(socket)) > _LONGEST_SOCKET:
            raise SetupError(
                f"the socket's path {socket} is too long for the system.",
                hint="Set [server] state_dir or $XDG_RUNTIME_DIR to a shorter one.",
            )
        chosen = await self._choose(spec, found, engine)
        if chosen.name:
            return await self._command(spec, chosen.words, chosen.name, socket)
        return await self._built_in(with_file(spec, found) if found else spec, chosen.words, socket)

    async def missing(self, spec: ModelSpec, found: Found | None = None, engine: EngineSpec | None = None) -> str:
        """Why there is no engine for a model, with the remedy; "" if there is one. Arguments as for `plan`."""
        try:
            await self._choose(spec, found, engine)
        except SetupError as error:
            return str(error).removeprefix(f"model {spec.name}: ")
        return ""

    async def _choose(self, spec: ModelSpec, found: Found | None, engine: EngineSpec | None) -> _Chosen:
        if spec.command:
            return _Chosen(await self._program(spec, spec.command), "command")
        if not spec.path:
            raise SetupError(f"model {spec.name} has neither a path nor a command.")
        tables = {**self.config.engines, **({engine.name: engine} if engine else {})}
        named = tables.get(spec.engine)
        if named and not is_llama_server(named.name, named.command):
            return _Chosen(await self._program(spec, named.command), named.name)
        if spec.engine not in ("auto", LLAMA_SERVER, BUNDLED):
            raise SetupError(f"model {spec.name}: there is no engine {spec.engine!r}; add [engines.{spec.engine}].")
        if spec.engine == "auto" and found is not None and found.ollama_only:
            server = await trio.to_thread.run_sync(self.ollama_server)
            if server is None:
                raise SetupError(f"model {spec.name}: only Ollama's llama-server can run it: {found.ollama_only}.")
            return _Chosen((str(server),))
        if spec.engine != BUNDLED:
            words = await self._llama_server(spec, tables.get(LLAMA_SERVER))
            if words:
                return _Chosen(words)
        if not await trio.to_thread.run_sync(self.bundled_available):
            missing = "the bundled engine is not installed" if spec.engine == BUNDLED else "there is no engine"
            raise SetupError(f"model {spec.name}: {missing}.", hint=_NO_ENGINE)
        return _Chosen()

    async def _command(self, spec: ModelSpec, words: tuple[str, ...], engine: str, socket: Path) -> Launch:
        told: tuple[str, ...] = ()
        sampling: Mapping[str, Any] = {}
        name = spec.name
        if Path(words[0]).name == LLAMA_SERVER:
            dialect = await self.probe.dialect(Path(words[0]))
            problems = Collected()
            with problems.noting():
                own = llama_server.corrected_command(spec, words, dialect)
            with problems.noting():
                args = llama_server.corrected_args(spec, dialect)
            problems.check()
            words, spec, name = own.words, evolve(spec, args=args.words), llama_server.alias_of(name)
            told, sampling = (*own.told, *args.told), {**own.sampling, **args.sampling}
        model = None
        if spec.path and mentions((*words, *spec.args), "PATH"):
            model = await self._model(spec, directories=True)
        launch = command.launch(spec, command=words, engine=engine, model=model, socket=socket, name=name)
        return evolve(launch, corrections=told, body_defaults={**launch.body_defaults, **sampling})

    async def _built_in(self, spec: ModelSpec, words: tuple[str, ...], socket: Path) -> Launch:
        problems = Collected()
        model = Path()
        with problems.noting():
            model = await self._model(spec)
        share = share_of(spec, cores=self.cores(), several=self.several())
        threads = share.threads
        with problems.noting():
            if words:
                dialect = await self.probe.dialect(Path(words[0]))
                launch = llama_server.launch(
                    spec, command=words, dialect=dialect, model=model, socket=socket, threads=threads
                )
            else:
                launch = llama_server.launch_bundled(spec, model=model, socket=socket, threads=threads)
        problems.check()
        return evolve(launch, env={**share.env, **launch.env})

    async def _llama_server(self, spec: ModelSpec, table: EngineSpec | None) -> tuple[str, ...]:
        """The llama-server to use and its leading arguments; none, where any engine will do, if there is none."""
        words = table.command if table and is_llama_server(table.name, table.command) else (LLAMA_SERVER,)
        if table is None and spec.engine == "auto":
            found = await trio.to_thread.run_sync(self._which, LLAMA_SERVER)
            return (found,) if found else ()
        return await self._program(spec, words)

    async def _program(self, spec: ModelSpec, words: tuple[str, ...]) -> tuple[str, ...]:
        """The command with its program found; one that is the model itself (a llamafile) is left as it is."""
        if "${" in words[0]:
            return words
        found = await trio.to_thread.run_sync(self._which, words[0])
        if not found:
            hint = _NO_ENGINE if words[0] == LLAMA_SERVER else ""
            raise SetupError(f"model {spec.name}: {words[0]} is not on PATH, or can't be run.", hint=hint)
        return (found, *words[1:])

    def _which(self, program: str) -> str | None:
        return self.which(os.path.expanduser(program))

    async def _model(self, spec: ModelSpec, *, directories: bool = False) -> Path:
        def resolve() -> Path:
            return resolve_path(spec, model_roots(self.config.catalog), directories=directories)

        return await trio.to_thread.run_sync(resolve)


def is_llama_server(name: str, command: tuple[str, ...]) -> bool:
    """Whether an [engines.llama-server] table says which binary to use, and not how to start it."""
    return name == LLAMA_SERVER and not any(mentions(command, used) for used in ("PORT", "SOCKET", "PATH"))
