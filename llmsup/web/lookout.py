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
    """Somebody who is being answered."""

    def watch(self) -> bool:
        """Begin to watch; False: that can't be done yet."""


class Lookout:
    """Those who have been answered for less than a moment, or can't be watched yet."""

    def __init__(self) -> None:
        self._served: dict[Watchable, float] = {}
        self._anybody = trio.Event()

    def add(self, one: Watchable, since: float) -> None:
        """Its answer begins; `since`: now, or a moment ago (trio time)."""
        self._served[one] = since
        self._anybody.set()

    def remove(self, one: Watchable) -> None:
        """It has its answer."""
        self._served.pop(one, None)

    async def run(self) -> None:
        """Look, as long as there is anybody; for ever."""
        while True:
            await self._anybody.wait()
            await trio.sleep(MOMENT)
            before = trio.current_time() - MOMENT
            for one, since in list(self._served.items()):
                if since <= before and one.watch():
                    del self._served[one]
            if not self._served:
                self._anybody = trio.Event()
