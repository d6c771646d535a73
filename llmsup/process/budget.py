"""How often something may crash before it is given up on, and how long to wait in between."""

from __future__ import annotations

from collections import deque

import trio
from attrs import Factory, define

from ..units import Seconds


@define
class RestartBudget:
    """Erlang's restart intensity (`supervisor`: MaxR restarts in MaxT), with a backoff that OTP lacks.

    Loading a model is slow, so the window is longer than OTP's 5 s.

    Attributes:
        restarts: How many crashes within `window` are tolerated.
        window: In seconds.
    """

    restarts: int = 3
    window: Seconds = Seconds(60)
    _crashes: deque[float] = Factory(deque)

    def spend(self) -> Seconds | None:
        """Record a crash. Returns how long to wait before a restart (0.5 · 2ⁿ s, at most 30 s), or None when
        the budget is spent.
        """
        now = trio.current_time()
        while self._crashes and now - self._crashes[0] > self.window:
            self._crashes.popleft()
        self._crashes.append(now)
        if len(self._crashes) > self.restarts:
            return None
        return Seconds(min(30.0, 0.5 * 2 ** (len(self._crashes) - 1)))


@define
class Cooldown:
    """How long to wait before a failed model gets one trial load: 10 s · 2ⁿ, at most 5 minutes (LocalAI's figures)."""

    first: Seconds = Seconds(10)
    longest: Seconds = Seconds(300)
    _failures: int = 0

    def next(self) -> Seconds:
        """Record a failure; returns the wait that follows it, in seconds."""
        rest = min(float(self.longest), self.first * 2 ** min(self._failures, 30))
        self._failures += 1
        return Seconds(rest)

    def forget(self) -> None:
        """Record a success: the next failure counts as the first again."""
        self._failures = 0
