"""The registry of engine kinds: which of them may run a model, going by its settings and its file."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import frozen

from ..catalog.found import Found
from ..config.engine_words import AUTO, EngineWord
from ..config.schema import EngineSpec, ModelSpec
from .finding import names_program
from .kind import Kind, Wanted


@frozen
class Kinds:
    """The registry of engine kinds.

    Attributes:
        built_in: The kinds that "auto" tries, in this order.
        command: The kind for a user's own command: a model's, or that of an [engines.NAME] table.
    """

    built_in: tuple[Kind, ...]
    command: Kind

    @property
    def words(self) -> tuple[EngineWord, ...]:
        """The words that a config's `engine = ` may use."""
        return tuple(EngineWord(kind.name, kind.own_table) for kind in self.built_in if kind.word)

    @property
    def remedy(self) -> str:
        """What to install if there is no engine, as a sentence."""
        return f"Install {', or '.join(kind.remedy for kind in self.built_in if kind.remedy)}."

    def of(self, spec: ModelSpec, found: Found | None) -> tuple[Kind, ...]:
        """Return the kinds that may serve a model, going by its settings and its file; the first one installed does.

        [engines.NAME] tables are not considered.
        """
        if spec.command:
            return (self.command,)
        if spec.engine == AUTO:
            alone = tuple(kind for kind in self.built_in if found is not None and kind.alone(found))
            return alone or tuple(kind for kind in self.built_in if kind.can_run(spec, found))
        return tuple(kind for kind in self.built_in if kind.word and kind.name == spec.engine) or (self.command,)

    def starting(self, wanted: Wanted) -> tuple[Kind, ...]:
        """Like `of`, but consider [engines.NAME] tables: one that says how to start a server makes that a command.

        Empty if the model names an engine that doesn't exist.
        """
        kinds, table = self.of(wanted.spec, wanted.found), wanted.tables.get(wanted.spec.engine)
        if wanted.spec.command or wanted.spec.engine == AUTO:
            return kinds
        if table is not None:
            return kinds if kinds[0].own_table and names_program(table) else (self.command,)
        return () if kinds == (self.command,) else kinds

    # The catalog's questions (`catalog.merge.Engines`)...

    def table_of(self, spec: ModelSpec, tables: Mapping[str, EngineSpec]) -> EngineSpec | None:
        """Return the [engines.NAME] table that a model uses; for "auto", that of the first kind that can run it."""
        if spec.engine != AUTO:
            return tables.get(spec.engine)
        first = next((kind for kind in self.built_in if kind.can_run(spec, None)), None)
        return tables.get(first.name) if first is not None and first.own_table else None

    def takes_directories(self, spec: ModelSpec) -> bool:
        """Tell whether a model's path may be anything, because only its engine knows what it can read."""
        return any(kind.directories for kind in self.of(spec, None)[:1])

    def reads_tensors(self, spec: ModelSpec) -> bool:
        """Tell whether a model's path is a directory of safetensors."""
        return any(kind.tensors for kind in self.of(spec, None)[:1])

    def word_for(self, spec: ModelSpec, found: Found) -> str:
        """Return the `engine` that a model is served with.

        [defaults] don't apply to a file that only one kind can run; an engine set for this very model does.
        """
        alone = "engine" not in spec.given and self.alone(found)
        return AUTO if alone else spec.engine

    def refusal(self, spec: ModelSpec, found: Found) -> str:
        """Return why a model's file can't be served, as a sentence; "" if it can."""
        return next((kind.refusal(spec, found) for kind in self.of(spec, found)[:1]), "")

    def alone(self, found: Found) -> str:
        """Return why only one of the kinds can run a file, as a clause; "" if several can."""
        return next(filter(None, (kind.alone(found) for kind in self.built_in)), "")
