"""The models on their way out: gone from the config or the disk, but still in use."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import trio
from attrs import Factory, frozen

from .model.model import Model
from .model.redefinition import retire


@frozen(eq=False)
class _Departure:
    """A model on its way out; cancelling the scope keeps it."""

    model: Model
    scope: trio.CancelScope = Factory(trio.CancelScope)


class Departures:
    """The departing models, by name."""

    def __init__(self, gone: Callable[[Model], None]) -> None:
        """`gone` is called with each model that is no longer in use and has been unloaded for good."""
        self._gone = gone
        self._by_name: dict[str, _Departure] = {}

    def __iter__(self) -> Iterator[Model]:
        return (departure.model for departure in self._by_name.values())

    def __contains__(self, name: str) -> bool:
        return name in self._by_name

    def find(self, name: str) -> Model | None:
        """The departing model of that name, if there is one."""
        departure = self._by_name.get(name)
        return None if departure is None else departure.model

    def keep(self, name: str) -> Model | None:
        """Let the model of that name stay after all; returns it, or None if there is none."""
        if departure := self._by_name.pop(name, None):
            departure.scope.cancel()
            return departure.model
        return None

    def see_off(self, model: Model, nursery: trio.Nursery | None) -> None:
        """Retire a model once it is no longer in use. Without a nursery, everything is shutting down anyway."""
        departure = self._by_name[model.spec.name] = _Departure(model)
        if nursery is not None:
            nursery.start_soon(self._see_off, departure)

    async def _see_off(self, departure: _Departure) -> None:
        with departure.scope:
            await retire(departure.model, "it is no longer in the config or on the disk")
            if self._by_name.get(departure.model.spec.name) is departure:  # it may be kept at the very last moment
                del self._by_name[departure.model.spec.name]
                self._gone(departure.model)
