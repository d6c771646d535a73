"""What evicting a model would cost: the seconds that its reload takes, times the chance that it is wanted again."""

from __future__ import annotations

import math
from collections.abc import Iterable

from attrs import frozen

from .inputs import LoadedModel, Rules

HALF_LIFE = 30 * 60.0
"""Seconds after which a visit counts half: long enough to remember a coffee break, short enough to forget a job."""

VISIT_LOADS = 12.0
"""Reloads within which requests count as one: twenty in a row cost one reload between them, not twenty ..."""

VISIT = 120.0
"""... but at most this many seconds: someone who was away longer has come back."""

_MILLION = 1_000_000


@frozen
class Rate:
    """How often a model is visited: an exponentially weighted mean, one value for each model.

    Attributes:
        weight: Visits, each halved every `HALF_LIFE`, as of `at`.
        at: When the last one began.
    """

    weight: float = 0.0
    at: float = -math.inf

    def asked(self, now: float, reload_seconds: float | None = None) -> Rate:
        """Another request came; it begins a new visit unless the last one began a moment ago.

        Args:
            reload_seconds: How long the model's load takes; None if it has never been loaded.
        """
        visit = VISIT if reload_seconds is None else min(VISIT_LOADS * reload_seconds, VISIT)
        return self if now - self.at < visit else Rate(self._decayed(now) + 1, now)

    def per_second(self, now: float) -> float:
        """Visits a second: a steady λ keeps the weight at λ · HALF_LIFE / ln 2."""
        return self._decayed(now) * math.log(2) / HALF_LIFE

    def _decayed(self, now: float) -> float:
        return self.weight * math.exp2(-max(now - self.at, 0.0) / HALF_LIFE)


def chance(loaded: LoadedModel, now: float, rules: Rules) -> float:
    """How likely it is to be wanted within the horizon, 0 to 1: visits as a Poisson process.

    Where no rate is known, the silence stands in for it: one visit in the time since the last. The order is then
    that of LRU.
    """
    rate = 1 / max(now - loaded.last_used, 1.0) if loaded.rate is None else loaded.rate
    return -math.expm1(-rate * rules.horizon)


def loss(loaded: LoadedModel, now: float, rules: Rules) -> float:
    """Expected seconds of reload if it is evicted now; doubled if an eviction of it was recently a mistake."""
    return loaded.reload_seconds * chance(loaded, now, rules) * (2.0 if loaded.refaults else 1.0)


def eviction_cost(seconds: float) -> int:
    """A loss in whole microseconds, at least one, so that sums don't depend on their order and no eviction is free."""
    return max(round(seconds * _MILLION), 1)


def dearest_first(loaded_models: Iterable[LoadedModel], now: float, rules: Rules) -> list[LoadedModel]:
    """The order of `GET /running`: the last is the one to take first."""

    def key(loaded: LoadedModel) -> tuple[bool, bool, int, float, float, str]:
        busy = bool(loaded.in_flight or loaded.waiting or loaded.loading)
        worth = loss(loaded, now, rules)
        return (not loaded.pinned, not busy, -loaded.rank, -worth, -loaded.last_used, loaded.name)

    return sorted(loaded_models, key=key)
