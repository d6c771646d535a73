"""A bounded ring of numbered events that others can follow."""

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
        number: One more than the event before.
        at: Unix seconds.
        kind: "model", "load", "unload", "pressure", "decision" ...
        data: JSON values by name.
    """

    number: int
    at: float
    kind: str
    data: Mapping[str, Any]


class Events(Ring[Event]):
    """The last events; a reader that misses some can tell by their numbers."""

    def __init__(self, capacity: int = 1000) -> None:
        super().__init__(capacity)

    def write(self, kind: str, **data: Any) -> None:
        """Add an event."""
        self.add(Event(self.written + 1, round(time.time(), 3), kind, data))

    def since(self, seen: int) -> tuple[Event, ...]:
        """The kept events after number `seen`, oldest first."""
        return self.after(seen)[1]
