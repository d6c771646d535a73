"""Requests that take longer than a moment: from then on their clients are watched for leaving.

Most requests are answered at once; a task for each of them that waits for its client to leave would cost more than the
answer.
"""

from __future__ import annotations

from typing import Protocol

import trio

from ..units import Seconds

MOMENT = Seconds(0.02)
"""Seconds. A client that leaves is to be noticed within 100 ms."""


class Watchable(Protocol):
    """A client that is being answered."""

    def watch(self) -> bool:
        """Begin to watch; False: that can't be done yet."""


class Lookout:
    """Clients whose answer began less than a moment ago, or that can't be watched yet."""

    def __init__(self) -> None:
        self._served: dict[Watchable, float] = {}
        self._some = trio.Event()

    def add(self, one: Watchable, since: float) -> None:
        """Its answer begins; `since`: now, or a moment ago (trio time)."""
        self._served[one] = since
        self._some.set()

    def remove(self, one: Watchable) -> None:
        """It has its answer."""
        self._served.pop(one, None)

    async def run(self) -> None:
        """Look for clients to watch, for ever; sleeps while there are none."""
        while True:
            await self._some.wait()
            await trio.sleep(MOMENT)
            before = trio.current_time() - MOMENT
            for one, since in list(self._served.items()):
                if since <= before and one.watch():
                    del self._served[one]
            if not self._served:
                self._some = trio.Event()
