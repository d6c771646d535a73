"""The registry of engine kinds: which of them may run a model, as far as its settings and its file tell.

It does not know any particular kind (`kinds` lists them), nor what is installed (`selector`).
"""

from __future__ import annotations

from collections.abc import Mapping

from attrs import evolve, frozen

from ..catalog.found import Found
from ..config.engine_words import AUTO, EngineWord
from ..config.schema import EngineSpec, ModelSpec
from .finding import names_program
from .kind import Kind, Wanted


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
