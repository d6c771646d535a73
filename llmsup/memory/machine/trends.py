"""How fast the available memory falls, by the readings so far."""

from __future__ import annotations

import math

from attrs import frozen

OVER = 1.0
"""The time constant of the mean, in seconds: long enough that a burst isn't a trend."""

REST = 0.75
"""Seconds without a fall after which the trend is over; programs allocate in bursts, with pauses in between."""

AT_ONCE = 0.001
"""Seconds between two readings below which they count as one and say nothing about a rate."""


@frozen
class Trend:
    """The fall.

    Attributes:
        mean: In bytes a second; never negative.
        available: In bytes, at the last reading.
        rested: For how many seconds it has not fallen.
    """

    mean: float
    available: int
    rested: float = 0.0

    @property
    def rate(self) -> float:
        """In bytes a second; 0 once it has stopped falling: one large allocation isn't a trend."""
        return self.mean if self.rested <= REST else 0.0

    @property
    def falls(self) -> bool:
        """Whether it has fallen since the reading before."""
        return self.mean > 0 and not self.rested


def sinking(available: int | None, before: Trend | None, seconds: float | None) -> Trend | None:
    """The mean after another reading; None where nothing is known.

    Args:
        seconds: Since the last reading; None if there was none, or the clock went back.
    """
    if available is None:
        return None
    if before is None or seconds is None or seconds < 0:
        return Trend(0.0, available)
    if seconds < AT_ONCE:
        return before
    now = max((before.available - available) / seconds, 0.0)
    rested = 0.0 if now else before.rested + seconds
    return Trend(now + (before.mean - now) * math.exp(-seconds / OVER), available, rested)
