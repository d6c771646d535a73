"""What a kind of engine is: how a model becomes a command line, a build and an estimate.

It does not know which kinds there are (`kinds`), nor which of them a model gets (`registry`, `selector`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import ClassVar, Protocol

from attrs import frozen

from ..catalog.found import Found
from ..config.live import LiveConfig
from ..config.schema import EngineSpec, ModelSpec
from .context import Context
from .launch import Launch
from .llama_server.probe import Probe


@frozen(kw_only=True)
class Wanted:
    """A model that is to be started.

    Attributes:
        spec: Its settings.
        tables: The [engines.NAME] tables that hold for it.
        found: Its file as the catalog knows it; None if the catalog doesn't.
    """

    spec: ModelSpec
    tables: Mapping[str, EngineSpec]
    found: Found | None = None


class Machine(Protocol):
    """What a kind may ask about where it runs.

    Attributes:
        config: The config in force.
        probe: Knows which flags a program understands.
        which: Finds a program on PATH; None: it isn't there.
        several: Whether more than one model may be loaded, so that the cores are shared out.
        cores: How many physical cores there are.
    """

    config: LiveConfig
    probe: Probe
    which: Callable[[str], str | None]
    several: Callable[[], bool]
    cores: Callable[[], int]

    @property
    def remedy(self) -> str:
        """What to install where there is no engine: a sentence."""


class Kind(ABC):
    """One kind of engine.

    A new one is a subclass in a folder of its own, and a line in `kinds`. Nothing else has to know it.

    Attributes:
        name: What it is called: in `engine = ` of a config, if `word`, and in the registry.
        word: A config may ask for it by name.
        own_table: An [engines.NAME] table of its name may say which program to use, with arguments that come first.
            (One that has ${PORT}, ${SOCKET} or ${PATH} says how to start it, and so is the user's own command.)
        directories: Its models may be directories, and files that are no GGUF. The catalog then refuses nothing.
        remedy: What would have to be installed, after "Install ": for whoever has no engine at all.
    """

    name: ClassVar[str]
    word: ClassVar[bool] = True
    own_table: ClassVar[bool] = False
    directories: ClassVar[bool] = False
    remedy: ClassVar[str] = ""

    def __repr__(self) -> str:
        return f"<Kind {self.name}>"

    # What can be told without a look at the machine...

    @abstractmethod
    def can_run(self, spec: ModelSpec, found: Found | None) -> bool:
        """Whether `engine = "auto"` may choose it for this model. Who asks for a kind by name gets it in any case."""

    def alone(self, found: Found) -> str:
        """Why no other kind can run this file, a clause; "" where others can, or where this one can't either."""
        return ""

    def refusal(self, spec: ModelSpec, found: Found) -> str:
        """Why it can never serve this file as things are, a sentence; "" if it can. May use the disk."""
        return ""

    def estimate(self, spec: ModelSpec, found: Found) -> Context | None:
        """What it makes of the settings: context, batches, and the prompts that it keeps. The estimate of its memory
        is made from that. None: it can't be told.
        """
        return None

    # What needs one...

    @abstractmethod
    def locate(self, wanted: Wanted, machine: Machine) -> tuple[str, ...] | None:
        """Find its program: the words that a command line begins with. None: it isn't installed, and another kind may
        be tried. Uses the disk, so it is for a worker thread, and starts nothing.

        Raises:
            SetupError: It isn't installed, and no other kind will do.
        """

    @abstractmethod
    async def launch(self, wanted: Wanted, program: tuple[str, ...], socket: Path, machine: Machine) -> Launch:
        """How to start the model.

        Args:
            program: As `locate` found it.
            socket: Where to answer, if it can listen on a Unix socket: a name that ends in ".sock", in a private
                directory.

        Raises:
            SetupError: The model's file can't be found or is ambiguous, or the engine can't do what the config asks
                for.
        """

    def build_id(self, program: tuple[str, ...]) -> str:
        """Which build it is, as a text that differs when the build does: by default the program's path, size and time
        of change. "" where that can't be told. Starts nothing: not even a `--version`, which with cold GPU libraries
        takes seconds.
        """
        try:
            real = Path(program[0]).resolve(strict=True)
            state = real.stat()
        except OSError:
            return ""
        return f"{real} {state.st_size} {state.st_mtime_ns}"
