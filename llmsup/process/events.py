"""A bounded ring of numbered events that others can follow."""

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
        number: One more than the event before.
        at: Unix seconds.
        kind: "model", "load", "unload", "pressure", "decision" ...
        data: JSON values by name.
    """

    number: int
    at: float
    kind: str
    data: Mapping[str, Any]


class Events(Watched):
    """The last events. Writers never wait; a reader that is too slow misses some, and can tell by the numbers."""

    def __init__(self, capacity: int = 1000) -> None:
        super().__init__()
        self._events: deque[Event] = deque(maxlen=capacity)
        self.written = 0
        """How many events there ever were, which is the number of the newest."""
        self.closed = False
        """No more events will come."""

    def write(self, kind: str, **data: Any) -> None:
        """Add an event."""
        self.written += 1
        self._events.append(Event(self.written, round(time.time(), 3), kind, data))
        self.notify()

    def close(self) -> None:
        """Let followers finish."""
        self.closed = True
        self.notify()

    def since(self, seen: int) -> tuple[Event, ...]:
        """The kept events after number `seen`, oldest first."""
        new = min(self.written - seen, len(self._events))
        return tuple(self._events)[len(self._events) - new :] if new > 0 else ()
