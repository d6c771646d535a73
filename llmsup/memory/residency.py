"""How long a model may stay at least: longer each time that its eviction turned out to be a mistake.

It does not know why a model was evicted, nor who asks for it.
"""

from __future__ import annotations

from attrs import evolve, frozen

REFAULT = 5 * 60.0
"""Seconds; a model that is loaded again this soon after its eviction should have stayed."""

QUIET = 10 * 60.0
"""Seconds without a refault after which the residency halves."""

LONGEST = 10 * 60.0


@frozen
class Residency:
    """A model's own min_residency. One value for each model, kept while it is away.

    The doubling is what keeps two models that don't fit together from chasing each other out; Linux' page cache does
    the same with its refault distance (mm/workingset.c).

    Attributes:
        refaults: Of late; one less for each quiet `QUIET`.
        evicted_at: When it was last evicted, or None once it is back.
        changed_at: When `refaults` was last counted.
    """

    refaults: int = 0
    evicted_at: float | None = None
    changed_at: float = 0.0

    def evicted(self, now: float) -> Residency:
        """It was unloaded to make room, or under pressure. (Not by its ttl, nor because somebody asked.)"""
        return evolve(self.quieter(now), evicted_at=now)

    def loaded(self, now: float) -> Residency:
        """It is wanted again."""
        calm = self.quieter(now)
        if calm.evicted_at is None or now - calm.evicted_at > REFAULT:
            return evolve(calm, evicted_at=None)
        return Residency(refaults=min(calm.refaults + 1, 30), changed_at=now)

    def quieter(self, now: float) -> Residency:
        """Itself, with the refaults that are long enough ago forgotten."""
        periods = int(max(now - self.changed_at, 0.0) // QUIET)
        if not periods or not self.refaults:
            return self
        return evolve(self, refaults=max(self.refaults - periods, 0), changed_at=self.changed_at + periods * QUIET)

    def seconds(self, now: float, least: float) -> float:
        """How long it may stay after its first answer: `least`, doubled by each refault, at most `LONGEST`."""
        return max(least, min(least * 2.0 ** self.quieter(now).refaults, LONGEST))
