"""trio's time for those who look at it with each request."""

from __future__ import annotations

from collections.abc import Callable

import trio


def clock() -> Callable[[], float]:
    """Return what tells this run's time. `trio.current_time` finds out each time which run it is in, which is more work
    than looking at the clock.
    """
    return trio.lowlevel.current_clock().current_time
