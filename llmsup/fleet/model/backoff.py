"""When a model may be started again after something went wrong.

It does not know what went wrong.
"""

from __future__ import annotations

import trio

from ...process.budget import Cooldown, RestartBudget
from ...units import Seconds

SHORT = Seconds(1)
"""The pause before it is tried again what the system didn't let us do."""


class Backoff:
    """The pause after a crash, and the longer one after a failure.

    Attributes:
        why: What it follows.
    """

    def __init__(self) -> None:
        self.why = ""
        self._budget = RestartBudget()
        self._cooldown = Cooldown()
        self._until = 0.0  # trio time

    @property
    def left(self) -> Seconds:
        """Seconds until it may be started again; 0 if it may now."""
        return Seconds(max(0.0, self._until - trio.current_time()))

    def ran(self, uptime: float) -> None:
        """It was ready for so many seconds: long enough, and the next failure is a first one again."""
        if uptime > self._budget.window:
            self._cooldown.forget()

    def crashed(self) -> bool:
        """It crashed. False: too often to be started again at once."""
        pause = self._budget.spend()
        if pause is not None:
            self._until, self.why = trio.current_time() + pause, "a crash"
        return pause is not None

    def failed(self) -> None:
        """It can't be started, or shall not be for a while."""
        self._until, self.why = trio.current_time() + self._cooldown.next(), "a failure"

    def briefly(self) -> None:
        """It could not be started, and that is not its fault."""
        self._until, self.why = trio.current_time() + SHORT, "a shortage of our own"

    def forgo(self) -> None:
        """Do without what is left of the pause."""
        self._until = 0.0
