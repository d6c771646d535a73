"""What a kind of engine is: how a model becomes a command line, a build id and an estimate.

The kinds are listed in `kinds`; which of them a model gets is decided in `registry` and `selector`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import ClassVar, Protocol

from attrs import frozen

from ..catalog.found import Found
from ..config.live import LiveConfig
from ..config.load_modes import LoadMode
from ..config.schema import EngineSpec, ModelSpec
from .context import Context
from .devices import Device
from .launch import Launch
from .llama_server.flag_probe import FlagProbe


@frozen(kw_only=True)
class Wanted:
    """A model to be started.

    Attributes:
        spec: Its settings.
        tables: The [engines.NAME] tables that apply to it.
        found: Its file as the catalog found it, or None.
        slots: A directory into which its engine may write what its slots hold, if it can; None for not at all.
        workers: Where its RPC workers answer, each HOST:PORT.
    """

    spec: ModelSpec
    tables: Mapping[str, EngineSpec]
    found: Found | None = None
    slots: Path | None = None
    workers: tuple[str, ...] = ()


class Machine(Protocol):
    """What a kind may ask about the machine it runs on.

    Attributes:
        config: The config in force.
        probe: Finds out which flags a program understands.
        which: Finds a program on PATH; None if there is none.
        several: Whether more than one model may be loaded, so that the cores are shared.
        cores: The number of physical cores.
        device_sizes: What each device with its own memory has, in bytes, by its pool; empty where there is none, or
            that isn't known.
    """

    config: LiveConfig
    probe: FlagProbe
    which: Callable[[str], str | None]
    several: Callable[[], bool]
    cores: Callable[[], int]
    device_sizes: Callable[[], Mapping[str, int]]

    @property
    def remedy(self) -> str:
        """What to install if there is no engine, as a sentence."""


class Kind(ABC):
    """One kind of engine.

    To add one, write a subclass in a new folder and list it in `kinds`; nothing else needs to change.

    Attributes:
        name: Its name in the registry and, if `word` is set, in a config's `engine = `.
        word: Whether a config may ask for it by name.
        own_table: Whether an [engines.NAME] table of its name may set the program to use, with arguments that come
            first. (A table with ${PORT}, ${SOCKET} or ${PATH} says how to start it, and so is the user's own command.)
        directories: Whether its models may be directories or files other than GGUF. The catalog then refuses nothing.
        tensors: Whether its models are directories of safetensors with a config.json, as on Hugging Face.
        saves_slots: Whether it is a llama-server, whose slots can be written to files and read back.
        remedy: What to install, following "Install ", on a machine without any engine.
    """

    name: ClassVar[str]
    word: ClassVar[bool] = True
    own_table: ClassVar[bool] = False
    directories: ClassVar[bool] = False
    tensors: ClassVar[bool] = False
    saves_slots: ClassVar[bool] = False
    remedy: ClassVar[str] = ""

    def __repr__(self) -> str:
        return f"<Kind {self.name}>"

    # Answers that don't depend on the machine...

    @abstractmethod
    def can_run(self, spec: ModelSpec, found: Found | None) -> bool:
        """Tell whether `engine = "auto"` may choose it for this model; asked for by name, it is used in any case."""

    def alone(self, found: Found) -> str:
        """Return why no other kind can run this file, as a clause; "" if others can, or if this one can't either."""
        return ""

    def refusal(self, spec: ModelSpec, found: Found) -> str:
        """Return why it can't serve this file on this machine, as a sentence; "" if it can. May read the disk."""
        return ""

    def estimate(self, spec: ModelSpec, found: Found) -> Context | None:
        """Return what it makes of the settings (context, batches, prompt cache), from which its memory is estimated.

        None if that is unknown.
        """
        return None

    # Answers that do...

    @abstractmethod
    def locate(self, wanted: Wanted, machine: Machine) -> tuple[str, ...] | None:
        """Find its program: the words that a command line begins with.

        None if it isn't installed and another kind may be tried. Reads the disk, so call it in a worker thread; starts
        no program.

        Raises:
            SetupError: It isn't installed, and no other kind will do.
        """

    @abstractmethod
    async def launch(self, wanted: Wanted, program: tuple[str, ...], socket: Path, machine: Machine) -> Launch:
        """Return how to start the model.

        Args:
            program: The words from `locate`.
            socket: The socket to listen on, if the engine can: a name ending in ".sock", in a private directory.

        Raises:
            SetupError: The model's file can't be found or is ambiguous, or the engine can't do what the config asks
                for.
        """

    async def load_modes(self, wanted: Wanted, program: tuple[str, ...], machine: Machine) -> tuple[LoadMode, ...]:
        """Return the ways to load the weights that this build can be asked for, its own default first.

        Empty if there is no choice: it has no flags for that, or the user's own words decide.

        Raises:
            SetupError: The program can't be asked.
        """
        return ()

    async def devices(self, wanted: Wanted, program: tuple[str, ...], machine: Machine) -> tuple[Device, ...] | None:
        """Return the devices that this build finds, in its own order, with the model's environment.

        None if it can't be asked.

        Raises:
            SetupError: It failed to answer.
        """
        return None

    def build_id(self, program: tuple[str, ...]) -> str:
        """Return a text that changes whenever the build does: by default the program's path, size and mtime.

        "" if that is unknown. Starts no program: even `--version` takes seconds with cold GPU libraries.
        """
        try:
            real = Path(program[0]).resolve(strict=True)
            state = real.stat()
        except OSError:
            return ""
        return f"{real} {state.st_size} {state.st_mtime_ns}"
