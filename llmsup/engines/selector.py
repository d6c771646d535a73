"""The choice of an engine for a model, among the kinds that exist and the programs that are installed."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import trio
from attrs import define, evolve

from ..catalog.entry import Entry
from ..catalog.found import Found
from ..config.engine_words import AUTO
from ..config.live import LiveConfig
from ..config.load_modes import LoadMode
from ..config.schema import EngineSpec, ModelSpec
from ..errors import SetupError
from .cores import usable_cores
from .devices import Device
from .kind import Kind, Wanted
from .kinds import KINDS
from .launch import Launch
from .llama_server import NAME
from .llama_server.command_line import RPC
from .llama_server.flag_probe import FlagProbe
from .registry import Kinds

log = logging.getLogger(__name__)

# macOS allows 104 bytes including the final NUL, Linux 108; a config should work on both.
_LONGEST_SOCKET = 103


@define(kw_only=True)
class EngineSelector:
    """Turns models into launches; the `Machine` used in production.

    Attributes:
        config: The config in force, for the engines and the catalog's roots.
        probe: Finds out which flags a program understands.
        kinds: The registry of engine kinds.
        which: Finds a program on PATH; None if there is none.
        several: Whether more than one model may be loaded, so that the cores are shared.
        cores: The number of physical cores.
        device_sizes: What each device with its own memory has, in bytes, by its pool.
    """

    config: LiveConfig
    probe: FlagProbe
    kinds: Kinds = KINDS
    which: Callable[[str], str | None] = shutil.which
    several: Callable[[], bool] = lambda: True
    cores: Callable[[], int] = usable_cores
    device_sizes: Callable[[], Mapping[str, int]] = dict

    @property
    def remedy(self) -> str:
        """What to install if there is no engine, as a sentence."""
        return self.kinds.remedy

    async def plan(
        self,
        spec: ModelSpec,
        socket: Path,
        found: Found | None = None,
        engine: EngineSpec | None = None,
        slots: Path | None = None,
        workers: tuple[str, ...] = (),
    ) -> Launch:
        """Return how to start a model.

        Args:
            engine: The [engines.NAME] table that the model was defined with; the config may have changed since.
            found: Its file as the catalog found it: its header, and the files that belong to it.
            socket: The socket for a built-in engine: a name ending in ".sock", in a private directory.
            slots: A directory into which an engine may write what its slots hold.
            workers: Where its RPC workers answer, each HOST:PORT; () where that isn't known yet.

        Raises:
            SetupError: There is no engine for the model, its file can't be found or is ambiguous, or the engine can't
                do what the config asks for.
        """
        if len(os.fsencode(socket)) > _LONGEST_SOCKET:
            raise SetupError(
                f"the socket's path {socket} is too long for the system.",
                hint="Set [server] state_dir or $XDG_RUNTIME_DIR to a shorter one.",
            )
        wanted = evolve(self._wanted(spec, found, engine), slots=slots, workers=workers or spec.rpc)
        kind, program = await trio.to_thread.run_sync(self._choose, wanted)
        launch = await kind.launch(wanted, program, socket, self)
        if spec.rpc and RPC not in launch.argv:
            raise SetupError(
                f"model {spec.name}: its engine {launch.engine} can't be given rpc.",
                hint=f'Only llama-server can use RPC workers: set engine = "{NAME}", or leave rpc out.',
            )
        return launch

    async def missing(self, spec: ModelSpec, found: Found | None = None, engine: EngineSpec | None = None) -> str:
        """Return why there is no engine for a model, with the remedy; "" if there is one. Arguments as for `plan`."""
        try:
            await trio.to_thread.run_sync(self._choose, self._wanted(spec, found, engine))
        except SetupError as error:
            return str(error).removeprefix(f"model {spec.name}: ")
        return ""

    def build_id(self, entry: Entry) -> str:
        """Return a text for the engine build that a model gets, which changes whenever the build does.

        "" if there is no engine or its build is unknown. Reads the disk, but starts no program.
        """
        try:
            kind, program = self._choose(self._wanted(entry.spec, entry.found, entry.engine))
        except SetupError:
            return ""
        return kind.build_id(program)

    async def load_modes(self, entry: Entry) -> tuple[LoadMode, ...]:
        """Return the ways to load a model's weights that its engine can be asked for, the usual one first.

        Empty if there is no choice, or no engine.
        """
        wanted = self._wanted(entry.spec, entry.found, entry.engine)
        try:
            kind, program = await trio.to_thread.run_sync(self._choose, wanted)
            return await kind.load_modes(wanted, program, self)
        except SetupError:
            return ()

    async def devices(self, entry: Entry) -> tuple[Device, ...] | None:
        """Return the devices that a model's engine finds, in its own order; None if it can't be asked or there is none.

        Starts the engine's program once for each build and environment, which takes a while.
        """
        wanted = self._wanted(entry.spec, entry.found, entry.engine)
        try:
            kind, program = await trio.to_thread.run_sync(self._choose, wanted)
            return await kind.devices(wanted, program, self)
        except SetupError as error:
            log.warning("model %s: its engine's devices are unknown: %s", entry.name, error)
            return None

    def _wanted(self, spec: ModelSpec, found: Found | None, engine: EngineSpec | None) -> Wanted:
        tables = {**self.config.now.engines, **({engine.name: engine} if engine else {})}
        return Wanted(spec=spec, found=found, tables=tables)

    def _choose(self, wanted: Wanted) -> tuple[Kind, tuple[str, ...]]:
        """Return the kind that a model gets, and its program. Reads the disk."""
        spec = wanted.spec
        if not (spec.command or spec.path):
            raise SetupError(f"model {spec.name} has neither a path nor a command.")
        kinds = self.kinds.starting(wanted)
        for kind in kinds:
            program = kind.locate(wanted, self)
            if program is not None:
                return kind, program
        if not kinds and spec.engine != AUTO:
            raise SetupError(f"model {spec.name}: there is no engine {spec.engine!r}; add [engines.{spec.engine}].")
        raise SetupError(f"model {spec.name}: there is no engine.", hint=self.remedy)
