"""What a kind of engine is, and the registry of those there are: which of them may run a model.

It does not know any particular kind: `kinds` lists them, and each has a folder of its own.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import ClassVar, Protocol

import trio
from attrs import evolve, frozen

from ..catalog.disk.lmstudio import model_roots
from ..catalog.disk.paths import resolve_path
from ..catalog.found import Found
from ..config.engine_words import AUTO, EngineWord
from ..config.schema import Config, EngineSpec, ModelSpec
from ..errors import SetupError
from .context import Context
from .launch import Launch, mentions
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

    config: Config
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


@frozen
class Kinds:
    """The registry.

    Attributes:
        built_in: In the order in which "auto" tries them.
        command: For a user's own command: a model's, or an [engines.NAME] table's.
    """

    built_in: tuple[Kind, ...]
    command: Kind

    def having(self, kind: Kind) -> Kinds:
        """These and one more, which "auto" tries last."""
        return evolve(self, built_in=(*self.built_in, kind))

    @property
    def words(self) -> tuple[EngineWord, ...]:
        """What a config may say."""
        return tuple(EngineWord(kind.name, kind.own_table) for kind in self.built_in if kind.word)

    @property
    def remedy(self) -> str:
        """What to install where there is no engine: a sentence."""
        return f"Install {', or '.join(kind.remedy for kind in self.built_in if kind.remedy)}."

    def of(self, spec: ModelSpec, found: Found | None) -> tuple[Kind, ...]:
        """The kinds that a model may be served by, as far as its settings and its file tell: the first one that is
        installed gets it. [engines.NAME] tables are not looked at.
        """
        if spec.command:
            return (self.command,)
        if spec.engine == AUTO:
            alone = tuple(kind for kind in self.built_in if found is not None and kind.alone(found))
            return alone or tuple(kind for kind in self.built_in if kind.can_run(spec, found))
        return tuple(kind for kind in self.built_in if kind.word and kind.name == spec.engine) or (self.command,)

    def starting(self, wanted: Wanted) -> tuple[Kind, ...]:
        """The same where the tables count: one that says how to start a server makes that a command. None, where the
        model names an engine that there isn't.
        """
        kinds, table = self.of(wanted.spec, wanted.found), wanted.tables.get(wanted.spec.engine)
        if wanted.spec.command or wanted.spec.engine == AUTO:
            return kinds
        if table is not None:
            return kinds if kinds[0].own_table and names_program(table) else (self.command,)
        return () if kinds == (self.command,) else kinds

    # What the catalog asks (`catalog.merge.Engines`)...

    def table_of(self, spec: ModelSpec, tables: Mapping[str, EngineSpec]) -> EngineSpec | None:
        """The [engines.NAME] table that a model uses. Where it says "auto", that is the one of the first kind that can
        run it.
        """
        if spec.engine != AUTO:
            return tables.get(spec.engine)
        first = next((kind for kind in self.built_in if kind.can_run(spec, None)), None)
        return tables.get(first.name) if first is not None and first.own_table else None

    def takes_directories(self, spec: ModelSpec) -> bool:
        """Whether a model's path may be anything: it isn't for the catalog to say what its engine reads."""
        return any(kind.directories for kind in self.of(spec, None)[:1])

    def word_for(self, spec: ModelSpec, found: Found) -> str:
        """The `engine` that a model is served with: [defaults] don't hold for a file that only one kind can run. An
        engine that was chosen for this very model does.
        """
        alone = "engine" not in spec.given and self.alone(found)
        return AUTO if alone else spec.engine

    def refusal(self, spec: ModelSpec, found: Found) -> str:
        """Why a model's file can't be served, a sentence; "" if it can."""
        return next((kind.refusal(spec, found) for kind in self.of(spec, found)[:1]), "")

    def alone(self, found: Found) -> str:
        """Why only one of the kinds can run a file, a clause; "" if there is no such reason."""
        return next(filter(None, (kind.alone(found) for kind in self.built_in)), "")


def names_program(table: EngineSpec) -> bool:
    """Whether an [engines.NAME] table says only which program to use, and not how to start it."""
    return not any(mentions(table.command, used) for used in ("PORT", "SOCKET", "PATH"))


def find_program(spec: ModelSpec, words: tuple[str, ...], machine: Machine, hint: str = "") -> tuple[str, ...]:
    """A command with its program found; one that is the model itself (a llamafile) is left as it is.

    Args:
        hint: What to do where it isn't there.

    Raises:
        SetupError: It isn't there.
    """
    if "${" in words[0]:
        return words
    found = machine.which(os.path.expanduser(words[0]))
    if not found:
        raise SetupError(f"model {spec.name}: {words[0]} is not on PATH, or can't be run.", hint=hint)
    return (found, *words[1:])


async def model_path(spec: ModelSpec, machine: Machine, *, directories: bool = False) -> Path:
    """The file that a model's `path` means, or, if that may be, the directory.

    Raises:
        SetupError: There is none, or there are several.
    """

    def resolve() -> Path:
        return resolve_path(spec, model_roots(machine.config.catalog), directories=directories)

    return await trio.to_thread.run_sync(resolve)
