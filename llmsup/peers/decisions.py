"""Which servers requests were sent to, and why, of each model: for `llmsup why` and the events."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Iterable

from attrs import Factory, define, frozen

from ..process.ring import Events
from .choice import Candidate, Choice

KEPT = 20
"""Decisions of each model that are remembered."""

REASONS = 8
"""Reasons for each server that are counted one by one: some name models, of which there may be many."""


@frozen
class Decided:
    """One decision among several servers.

    Attributes:
        at: Unix seconds.
    """

    at: float
    choice: Choice


@define(eq=False)
class Tally:
    """What one server has had of a model's requests.

    Attributes:
        requests: How many.
        reasons: How many for which reason: for the last `REASONS` that there were.
    """

    requests: int = 0
    reasons: Counter[str] = Factory(Counter)

    def count(self, reason: str) -> None:
        """Count one."""
        self.requests += 1
        times = self.reasons.pop(reason, 0)  # so that the newest is last
        self.reasons[reason] = times + 1
        if len(self.reasons) > REASONS:
            del self.reasons[next(iter(self.reasons))]


@define(eq=False)
class Routed:
    """One model's requests.

    Attributes:
        last: The last decisions, the oldest first.
        tallies: By server; "" is here.
    """

    last: deque[Decided] = Factory(lambda: deque(maxlen=KEPT))
    tallies: dict[str, Tally] = Factory(dict)
    _where: str | None = None

    def went(self, where: str) -> bool:
        """Note where the newest goes; returns whether the one before went elsewhere."""
        before, self._where = self._where, where
        return before != where


class Routes:
    """Those of all models, by name."""

    def __init__(self, events: Events) -> None:
        self._events = events
        self._models: dict[str, Routed] = {}

    def of(self, name: str) -> Routed:
        """One model's."""
        return self._models.setdefault(name, Routed())

    def keep(self, names: Iterable[str]) -> None:
        """Forget all others."""
        known = set(names)
        self._models = {name: routed for name, routed in self._models.items() if name in known}

    def decided(self, name: str, choice: Choice, candidates: list[Candidate]) -> None:
        """Remember a decision; tell of it if it isn't the same as for the request before."""
        routed = self.of(name)
        tally = routed.tallies.get(choice.where)
        if tally is None:
            tally = routed.tallies[choice.where] = Tally()
        tally.count(choice.reason)
        if len(candidates) > 1:
            routed.last.append(Decided(round(time.time(), 3), choice))
        if routed.went(choice.where):
            self._events.write("route", model=name, peer=choice.where or None, reason=choice.reason)
