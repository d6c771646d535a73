"""A bounded ring of numbered things, readable by many at their own pace, and the one of llmsup's events."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping
from typing import Any, Generic, TypeVar

from attrs import frozen

from .watched import Watched

T = TypeVar("T")


class Ring(Watched, Generic[T]):
    """A bounded ring of numbered things. Writers never wait; a reader that is too slow misses some, and can tell
    (a slow reader of logs must not stall an engine: llama-swap's #875).

    Attributes:
        written: How many there ever were, which is the number of the newest.
        closed: Nothing more will come, so readers may finish.
    """

    def __init__(self, capacity: int) -> None:
        super().__init__()
        self._kept: deque[T] = deque(maxlen=capacity)
        self.written = 0
        self.closed = False

    def add(self, thing: T) -> None:
        """Add one, in place of the oldest if there is no room."""
        self.written += 1
        self._kept.append(thing)
        self.notify()

    def close(self) -> None:
        """Let readers finish."""
        self.closed = True
        self.notify()

    def tail(self, count: int | None = None) -> tuple[T, ...]:
        """The newest `count`, oldest first; all that are kept if None."""
        kept = tuple(self._kept)
        return kept if count is None else kept[max(0, len(kept) - count) :]

    def after(self, seen: int) -> tuple[int, tuple[T, ...]]:
        """What was written after number `seen`: how many of these are lost, and the others, oldest first."""
        new = max(self.written - seen, 0)
        kept = min(new, len(self._kept))
        return new - kept, self.tail(kept) if kept else ()

    async def news(self, seen: int) -> bool:
        """Wait for something after number `seen`. Returns False once nothing more will come."""
        await self.until(lambda: self.written > seen or self.closed)
        return self.written > seen


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
