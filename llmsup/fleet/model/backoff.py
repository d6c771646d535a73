"""When a model may be started again after something went wrong."""

from __future__ import annotations

import trio

from ...process.budget import Cooldown, RestartBudget
from ...units import Seconds

SHORT = Seconds(1)
"""The pause before retrying something that the system didn't allow us to do."""


class Backoff:
    """The pause after a crash, and the longer one after a failure.

    Attributes:
        after: What the pause follows, as in "after a crash".
    """

    def __init__(self) -> None:
        self.after = ""
        self._budget = RestartBudget()
        self._cooldown = Cooldown()
        self._until = 0.0  # trio time

    @property
    def left(self) -> Seconds:
        """Seconds until it may be started again; 0 if it may now."""
        return Seconds(max(0.0, self._until - trio.current_time()))

    def ran(self, uptime: float) -> None:
        """It was ready for `uptime` seconds; if that is long enough, the next failure counts as a first one again."""
        if uptime > self._budget.window:
            self._cooldown.forget()

    def crashed(self) -> bool:
        """It crashed. Returns False if it has crashed too often to be restarted right away."""
        pause = self._budget.spend()
        if pause is not None:
            self._until, self.after = trio.current_time() + pause, "a crash"
        return pause is not None

    def failed(self) -> None:
        """It can't be started, or shouldn't be for a while."""
        self._until, self.after = trio.current_time() + self._cooldown.next(), "a failure"

    def briefly(self) -> None:
        """It could not be started, through no fault of its own."""
        self._until, self.after = trio.current_time() + SHORT, "llmsup ran short of a system resource"

    def forgo(self) -> None:
        """Skip what is left of the pause."""
        self._until = 0.0
