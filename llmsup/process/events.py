"""What happened, in order, for those who follow it: a bounded ring of numbered events.

It does not know what the events mean nor how they are told.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping
from typing import Any

from attrs import frozen

from .watched import Watched


@frozen
class Event:
    """One event.

    Attributes:
        number: Grows by one with each.
        at: Unix seconds.
        kind: "model", "load", "unload", "pressure", "decision" ...
        data: JSON values.
    """

    number: int
    at: float
    kind: str
    data: Mapping[str, Any]


class Events(Watched):
    """The last events. Who writes never waits; who reads too slowly misses some, and sees that by the numbers."""

    def __init__(self, capacity: int = 1000) -> None:
        super().__init__()
        self._events: deque[Event] = deque(maxlen=capacity)
        self.written = 0
        """How many there ever were, and the number of the newest."""
        self.closed = False
        """Nothing more will come."""

    def write(self, kind: str, **data: Any) -> None:
        """Add one."""
        self.written += 1
        self._events.append(Event(self.written, round(time.time(), 3), kind, data))
        self.notify()

    def close(self) -> None:
        """Let those who follow come to an end."""
        self.closed = True
        self.notify()

    def since(self, seen: int) -> tuple[Event, ...]:
        """Those after number `seen` that are kept, oldest first."""
        new = min(self.written - seen, len(self._events))
        return tuple(self._events)[len(self._events) - new :] if new > 0 else ()
