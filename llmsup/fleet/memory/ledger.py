"""Who has memory: the reservations of all models.

It does not know who gets one, nor who has to give it up.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

from ..model.model import Model
from .grant import Reservation


class Reserved:
    """The reservations, by model; a model has one at a time."""

    def __init__(self) -> None:
        self._by_model: dict[Model, Reservation] = {}

    def __iter__(self) -> Iterator[Reservation]:
        return iter(self._by_model.values())

    def __contains__(self, reservation: Reservation) -> bool:
        return self._by_model.get(reservation.model) is reservation

    def of(self, model: Model) -> Reservation | None:
        """A model's; None if it has none."""
        return self._by_model.get(model)

    def add(self, reservation: Reservation) -> None:
        """Count it from now on."""
        self._by_model[reservation.model] = reservation

    def remove(self, reservation: Reservation) -> None:
        """Its memory is back."""
        del self._by_model[reservation.model]

    def named(self, names: Collection[str]) -> tuple[Reservation, ...]:
        """Those of some models."""
        return tuple(each for each in self if each.model.spec.name in names)

    def hold(self, names: Collection[str]) -> None:
        """Let these models take no new request until another had its turn; everybody else's hold ends."""
        for each in self:
            (each.model.desk.hold if each.model.spec.name in names else each.model.desk.release)()
