"""How much of the time tasks waited for memory just now, from the kernel's running total of it.

The kernel's own mean over 10 s says for a quarter of a minute after the end that there is pressure: models would go for
nothing. It does not know how much waiting is too much.
"""

from __future__ import annotations

import math

from attrs import frozen

from .reading import Stall

OVER = 1.0
"""Seconds that the mean is over, as a time constant: 3 s after a half of the time it is below 3 %."""


@frozen
class Recent:
    """Waiting of one kind.

    Attributes:
        share: In percent of the time.
        total_us: The kernel's total when it was looked at, in microseconds.
    """

    share: float
    total_us: int


def recent(stall: Stall | None, before: Recent | None, seconds: float | None) -> Recent | None:
    """The mean after another look; where there was none before, or the total is another file's, the kernel's own.

    Args:
        seconds: Since the look before; None: there was none. A clock that went back is no look before.
    """
    if stall is None:
        return None
    if before is None or seconds is None or seconds < 0 or stall.total_us < before.total_us:
        return Recent(stall.avg10, stall.total_us)
    if not seconds:
        return before
    share = min((stall.total_us - before.total_us) / (seconds * 1e6), 1.0) * 100
    return Recent(share + (before.share - share) * math.exp(-seconds / OVER), stall.total_us)
