"""One model as it is served: its settings, and the file that was found for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from attrs import Factory, evolve, frozen

from ..config.load_modes import LoadMode
from ..config.schema import EngineSpec, ModelSpec
from .found import Found
from .resolver import Called

AT_LAUNCH = (
    "kind",
    "engine",
    "command",
    "health",
    "args",
    "env",
    "ctx_size",
    "parallel",
    "n_gpu_layers",
    "devices",
    "threads",
    "cache_ram",
    "load_mode",
    "sampling",
)
"""The settings that an engine is started with: a reload that changes one of them replaces it. All others can change
while it runs. That includes the name, though llama-server gets it as an alias: it only labels its answers with it."""


@frozen(kw_only=True)
class Entry:
    """One model.

    Attributes:
        spec: Its settings, completed from its file where the config says nothing.
        found: Its file; None if it has none, or if that is missing.
        engine: The [engines.NAME] table that it uses, if any.
        preset: The preset that its id itself implies, or "".
        also: Other names that it answers to unless another model has them too, each with its preset or "".
        refusal: Why it can't be served: a sentence; "" if it can.
    """

    spec: ModelSpec
    found: Found | None = None
    engine: EngineSpec | None = None
    preset: str = ""
    also: Mapping[str, str] = Factory(dict)
    refusal: str = ""

    @property
    def name(self) -> str:
        """Its id."""
        return self.spec.name

    @property
    def called(self) -> Called:
        """All its names."""
        paths = self.found.paths if self.found and self.also else ()  # of two tables for one file, the first gets them
        listed = not self.spec.unlisted
        return Called(self.spec.aliases, self.spec.presets, self.also, self.preset, paths, listed)

    def without_projector(self, why: str) -> Entry:
        """The same entry without its projector, so that it can't see or hear; `why`: a clause."""
        if self.found is None:
            return self
        return evolve(self, found=evolve(self.found, projector=None, projector_facts=None, unseeing=why))

    def loaded_by(self, mode: LoadMode | Literal[""]) -> Entry:
        """The same entry with its weights loaded this way; "" changes nothing."""
        return evolve(self, spec=evolve(self.spec, load_mode=mode)) if mode else self

    @property
    def preloads(self) -> bool:
        """Whether it is loaded before the first request for it."""
        return self.spec.preload and not self.refusal

    def runs_like(self, other: Entry) -> bool:
        """Whether an engine started for one of them can serve the other."""
        mine, theirs = (each.found.files if each.found else () for each in (self, other))
        if len(mine) != len(theirs) or not all(one.same(another) for one, another in zip(mine, theirs, strict=True)):
            return False
        return self._around == other._around

    @property
    def launched(self) -> tuple[object, ...]:
        """Everything that its engine is started with. A file counts by identity, not by the path to it."""
        return (self.found.files if self.found else (), *self._around)

    @property
    def _around(self) -> tuple[object, ...]:
        """The same without its files."""
        settings = tuple(getattr(self.spec, field) for field in AT_LAUNCH)
        found = self.found
        file = (found.projector is not None, len(found.adapters)) if found else self.spec.path
        seeing = ("without a projector",) if found and found.unseeing else ()
        # at the end, and only where there are any, so that what earlier versions measured still counts for the others
        workers = (("rpc", *self.spec.rpc),) if self.spec.rpc else ()
        return (settings, file, self.engine, self.refusal, self.name if self._tells_name else "", *seeing, *workers)

    @property
    def _tells_name(self) -> bool:
        """Whether its command line contains the model's name, which may then mean anything to the program."""
        words = (*self.spec.command, *(self.engine.command if self.engine else ()), *self.spec.args)
        return any("${NAME}" in word for word in words)
