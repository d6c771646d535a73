"""How fast the available memory falls, by the looks so far.

It does not know how fast is too fast, nor who takes the memory.
"""

from __future__ import annotations

import math

from attrs import frozen

OVER = 1.0
"""Seconds that the mean is over, as a time constant: long enough for a burst to be no trend."""

REST = 0.75
"""Seconds; others take memory in bites, with pauses in between."""

AT_ONCE = 0.001
"""Seconds; two looks that are less apart are one, and say nothing about a rate."""


@frozen
class Trend:
    """The fall.

    Attributes:
        mean: In bytes a second; never negative.
        available: In bytes, at the last look.
        rested: For how many seconds it has not fallen.
    """

    mean: float
    available: int
    rested: float = 0.0

    @property
    def rate(self) -> float:
        """In bytes a second; 0 once it has come to rest: one large bite is no trend."""
        return self.mean if self.rested <= REST else 0.0

    @property
    def falls(self) -> bool:
        """It has fallen since the look before."""
        return self.mean > 0 and not self.rested


def sinking(available: int | None, before: Trend | None, seconds: float | None) -> Trend | None:
    """The mean after another look; None where nothing is known.

    Args:
        seconds: Since the look before; None: there was none. A clock that went back is no look before.
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
