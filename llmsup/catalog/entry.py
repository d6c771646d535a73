"""One model as it is served: what was configured for it, and the file that was found for it.

It does not know whether it is loaded.
"""

from __future__ import annotations

from collections.abc import Mapping

from attrs import Factory, evolve, frozen

from ..config.schema import EngineSpec, ModelSpec
from .found import Found
from .names import Called

# What an engine is started with; everything else about a model can change while its engine runs.
_AT_LAUNCH = (
    "name",
    "kind",
    "engine",
    "path",
    "command",
    "health",
    "args",
    "env",
    "ctx_size",
    "parallel",
    "n_gpu_layers",
    "threads",
    "cache_ram",
    "sampling",
)


@frozen(kw_only=True)
class Entry:
    """One model.

    Attributes:
        spec: Its settings, with what its file says filled in where the config is silent.
        found: Its file; None if it has none, or if that is missing.
        engine: The [engines.NAME] table that it uses, if any.
        preset: The preset that its id itself stands for, or "".
        also: Other names that it answers to if no other model does, each with its preset or "".
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
        paths = self.found.paths if self.found and self.also else ()  # two tables on one file: the first has them
        return Called(self.spec.aliases, self.spec.presets, self.also, self.preset, paths)

    def without_projector(self, why: str) -> Entry:
        """The same with nothing to see or hear with; `why`: a clause."""
        if self.found is None:
            return self
        return evolve(self, found=evolve(self.found, projector=None, projector_facts=None, unseeing=why))

    @property
    def preloads(self) -> bool:
        """Whether it is loaded before anybody asks."""
        return self.spec.preload and not self.refusal

    def runs_like(self, other: Entry) -> bool:
        """Whether an engine that was started for one of them is right for the other."""
        return self.launched == other.launched

    @property
    def launched(self) -> tuple[object, ...]:
        """All that its engine is started with."""
        settings = tuple(getattr(self.spec, field) for field in _AT_LAUNCH)
        file = self.found and (self.found.path, self.found.files, self.found.projector, self.found.adapters)
        seeing = ("without a projector",) if self.found and self.found.unseeing else ()
        return (settings, file, self.engine, self.refusal, *seeing)
