"""Requests that take longer than a moment: from then on, llmsup watches whether their clients leave.

Most requests are answered at once. A task for each of them to watch its client would cost more than the answer.
"""

from __future__ import annotations

from typing import Protocol

import trio

from ..units import Seconds

MOMENT = Seconds(0.02)
"""How long a request goes unwatched, in seconds. A client that leaves must be noticed within 100 ms."""


class Watchable(Protocol):
    """A connection with a request in progress."""

    def watch(self) -> bool:
        """Start watching the client; returns False if that isn't possible yet."""


class Lookout:
    """The requests in progress that aren't watched yet: they are new, or can't be watched."""

    def __init__(self) -> None:
        self._served: dict[Watchable, float] = {}
        self._any = trio.Event()

    def add(self, one: Watchable, since: float) -> None:
        """Add a connection whose request has begun, `since` then (trio time)."""
        if not self._served:
            self._any.set()
        self._served[one] = since

    def remove(self, one: Watchable) -> None:
        """Remove a connection whose request is over."""
        self._served.pop(one, None)

    async def run(self) -> None:
        """Have each request watched once it has taken longer than a moment; runs until cancelled."""
        while True:
            await self._any.wait()
            await trio.sleep(MOMENT)
            before = trio.current_time() - MOMENT
            for one, since in list(self._served.items()):
                if since <= before and one.watch():
                    del self._served[one]
            if not self._served:
                self._any = trio.Event()
