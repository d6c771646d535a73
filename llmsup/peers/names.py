"""What the models here are called, and those of peers that have tables in the config."""

from __future__ import annotations

from collections.abc import Iterable

from ..catalog.described import preset_name
from ..config.schema import ModelSpec
from ..fleet.model.model import Model


class NamesHere:
    """What models are called here, where a peer's model of that name is another place of the same one: models that are
    here, and those of peers for which the config has tables.

    Attributes:
        told: The names that these tables give, and the presets, by theirs.
        called: What peers may call the models of these tables, by their names here, those with presets included.
    """

    def __init__(self, models: Iterable[Model], tables: Iterable[ModelSpec] = ()) -> None:
        self._given: dict[str, Model] = {}
        self._found: dict[str, Model | None] = {}  # None: several are called so
        self._presets: set[str] = set()
        for model in models:
            spec, also = model.spec, model.entry.called.also
            for name in (spec.name, *spec.aliases):
                self._given.setdefault(name, model)
                self._presets.update(f"{name}:{preset}" for preset in spec.presets)
            for name, preset in also.items():
                self._found[name] = None if name in self._found or preset else model
        self._tables: dict[str, ModelSpec] = {}
        self.told: dict[str, object] = {}
        self.called: dict[str, tuple[str, ...]] = {}
        for table in tables:
            self.told[table.name] = (table.aliases, tuple(table.presets))
            names = (table.name, *table.aliases)
            self.called |= {preset_name(table.name, preset): names for preset in ("", *table.presets)}
            for name in (table.name, *table.aliases):
                self._tables.setdefault(name, table)
                self._presets.update(f"{name}:{preset}" for preset in table.presets)

    def meant(self, name: str) -> Model | None:
        """The model that just this name means; None if it means none, or several."""
        return self._given.get(name) or (None if name in self._tables else self._found.get(name))

    def table(self, name: str) -> ModelSpec | None:
        """The table of a model of peers to which this name is given, before all names that come from files."""
        return None if name in self._given else self._tables.get(name)

    def owner(self, name: str) -> str:
        """The id of the model, or of the table, that just this name means; "" if there is none."""
        if (model := self.meant(name)) is not None:
            return model.spec.name
        table = self.table(name)
        return "" if table is None else table.name

    def has_preset(self, name: str) -> bool:
        """Whether it is a model here with one of its presets."""
        return name in self._presets or name in self._found
