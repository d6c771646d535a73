"""How much of the time tasks have just waited for memory, from the kernel's running total.

The kernel's own mean over 10 s still shows pressure 15 s after it has ended, and models would be unloaded for nothing.
"""

from __future__ import annotations

import math

from attrs import frozen

from .reading import Stall

OVER = 1.0
"""The time constant of the mean, in seconds: 3 s after a stall of 50 % it is below 3 %."""


@frozen
class RecentStall:
    """The recent mean of one kind of stall.

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
