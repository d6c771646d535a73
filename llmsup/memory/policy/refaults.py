"""How often, recently, a model's eviction turned out to be a mistake because it was wanted again soon."""

from __future__ import annotations

from attrs import evolve, frozen

SOON = 30.0
"""Reloads; a model that is loaded again this soon after its eviction should have stayed."""

QUIET = 60.0
"""Reloads without a refault after which one is forgotten."""


@frozen
class Refaults:
    """One value for each model, kept while it is away. Linux' page cache counts the same (mm/workingset.c).

    Attributes:
        count: Recent refaults; one less for each quiet period.
        evicted_at: When it was last evicted, or None once it is back.
        changed_at: When `count` last changed.
    """

    count: int = 0
    evicted_at: float | None = None
    changed_at: float = 0.0

    def evicted(self, now: float, reload_seconds: float) -> Refaults:
        """It was unloaded to make room or under pressure; not for its ttl, nor on request."""
        return evolve(self.by(now, reload_seconds), evicted_at=now)

    def loaded(self, now: float, reload_seconds: float) -> Refaults:
        """It is wanted again."""
        calm = self.by(now, reload_seconds)
        if calm.evicted_at is None or now - calm.evicted_at > SOON * reload_seconds:
            return evolve(calm, evicted_at=None)
        return Refaults(count=min(calm.count + 1, 30), changed_at=now)

    def by(self, now: float, reload_seconds: float) -> Refaults:
        """Forget the refaults that are long enough ago."""
        quiet = QUIET * reload_seconds
        periods = int(max(now - self.changed_at, 0.0) // quiet) if quiet > 0 else self.count
        if not periods or not self.count:
            return self
        return evolve(self, count=max(self.count - periods, 0), changed_at=self.changed_at + periods * quiet)
