"""The ledger of granted memory: which models have how much."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from ..model.model import Model
from .grant import Grant


class Ledger:
    """The grants, by model; a model has one at a time."""

    def __init__(self) -> None:
        self._by_model: dict[Model, Grant] = {}

    def __iter__(self) -> Iterator[Grant]:
        return iter(self._by_model.values())

    def __contains__(self, grant: Grant) -> bool:
        return self._by_model.get(grant.model) is grant

    def of(self, model: Model) -> Grant | None:
        """A model's grant; None if it has none."""
        return self._by_model.get(model)

    def add(self, grant: Grant) -> None:
        """Count it from now on."""
        self._by_model[grant.model] = grant

    def remove(self, grant: Grant) -> None:
        """Stop counting it: its memory has been returned."""
        del self._by_model[grant.model]

    def named(self, names: Collection[str]) -> tuple[Grant, ...]:
        """The grants of the models with these names."""
        return tuple(each for each in self if each.model.spec.name in names)

    def pause(self, names: Collection[str]) -> None:
        """Pause the queues of these models, so that another gets its turn; resume all others."""
        for each in self:
            (each.model.queue.pause if each.model.spec.name in names else each.model.queue.resume)()
