"""One model as it is served: what was configured for it, and the file that was found for it.

It does not know whether it is loaded.
"""

from __future__ import annotations

from collections.abc import Mapping

from attrs import Factory, evolve, frozen

from ..config.schema import EngineSpec, ModelSpec
from .found import Found
from .resolver import Called

# What an engine is started with, besides its file; everything else about a model can change while its engine runs. (Its
# name as well, though llama-server is told it as an alias: that is only what it calls itself in its answers.)
_AT_LAUNCH = (
    "kind",
    "engine",
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
    def capabilities(self) -> list[str]:
        """What the file lets one hope for, in Ollama's words."""
        if self.found is None or self.spec.kind in ("embedding", "rerank"):
            return [str(self.spec.kind)] if self.spec.kind in ("embedding", "rerank") else []
        facts, projector = self.found.facts, self.found.projector_facts
        has = {
            "completion": self.spec.kind == "chat",
            "vision": (projector is not None and projector.numbers.get("has_vision_encoder") is not False)
            or (self.found.sees_with_itself and not self.found.unseeing),
            "audio": projector is not None and projector.numbers.get("has_audio_encoder") is True,
            "tools": facts.tools,
            "thinking": facts.thinking,
        }
        return [name for name, there in has.items() if there]

    @property
    def preloads(self) -> bool:
        """Whether it is loaded before anybody asks."""
        return self.spec.preload and not self.refusal

    def runs_like(self, other: Entry) -> bool:
        """Whether an engine that was started for one of them is right for the other."""
        mine, theirs = (each.found.files if each.found else () for each in (self, other))
        if len(mine) != len(theirs) or not all(one.same(another) for one, another in zip(mine, theirs, strict=True)):
            return False
        return self._around == other._around

    @property
    def launched(self) -> tuple[object, ...]:
        """All that its engine is started with. Its file is what it is, and not the way on which it was reached."""
        return (self.found.files if self.found else (), *self._around)

    @property
    def _around(self) -> tuple[object, ...]:
        """That, less its files."""
        settings = tuple(getattr(self.spec, field) for field in _AT_LAUNCH)
        found = self.found
        file = (found.projector is not None, len(found.adapters)) if found else self.spec.path
        seeing = ("without a projector",) if found and found.unseeing else ()
        return (settings, file, self.engine, self.refusal, self.name if self._tells_name else "", *seeing)

    @property
    def _tells_name(self) -> bool:
        """Whether its command is told the name, as a word that may mean anything to it."""
        words = (*self.spec.command, *(self.engine.command if self.engine else ()), *self.spec.args)
        return any("${NAME}" in word for word in words)
