"""What happened, in order, for those who follow it.

It does not know what the events mean nor how they are told.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from attrs import frozen

from .ring import Ring


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


class Events(Ring[Event]):
    """The last events; who misses some sees that by their numbers."""

    def __init__(self, capacity: int = 1000) -> None:
        super().__init__(capacity)

    def write(self, kind: str, **data: Any) -> None:
        """Add one."""
        self.add(Event(self.written + 1, round(time.time(), 3), kind, data))

    def since(self, seen: int) -> tuple[Event, ...]:
        """Those after number `seen` that are kept, oldest first."""
        return self.after(seen)[1]
