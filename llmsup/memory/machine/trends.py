"""What several readings show together: how fast the available memory falls, and how much of the time tasks have just
waited for memory.
"""

from __future__ import annotations

import math

from attrs import frozen

from .reading import Stall

OVER = 1.0
"""The time constant of both means, in seconds: long enough that a burst isn't a trend, and 3 s after a stall of 50 % it
is below 3 %.
"""

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


def trend(available: int | None, before: Trend | None, seconds: float | None) -> Trend | None:
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


@frozen
class RecentStall:
    """The recent mean of one kind of stall. (The kernel's own, over 10 s, still shows pressure 15 s after it has ended:
    models would be unloaded for nothing.)

    Attributes:
        share: In percent of the time.
        total_us: The kernel's total at the last reading, in microseconds.
    """

    share: float
    total_us: int


def recent(stall: Stall | None, before: RecentStall | None, seconds: float | None) -> RecentStall | None:
    """The mean after another reading; the kernel's own mean where there was none before, or the total is another
    file's.

    Args:
        seconds: Since the last reading; None if there was none, or the clock went back.
    """
    if stall is None:
        return None
    if before is None or seconds is None or seconds < 0 or stall.total_us < before.total_us:
        return RecentStall(stall.avg10, stall.total_us)
    if not seconds:
        return before
    share = min((stall.total_us - before.total_us) / (seconds * 1e6), 1.0) * 100
    return RecentStall(share + (before.share - share) * math.exp(-seconds / OVER), stall.total_us)
