"""Values that one task owns and others wait on.

It does not know what the values mean; see `fleet` for that.
"""

from __future__ import annotations

from collections.abc import Callable

import trio


class Watched:
    """State that its owner announces and anybody can wait for, by a predicate.

    Level-triggered: a waiter looks at what *is*, so nothing is missed between a look and a wait, and nobody
    needs a lock. Compare `trio.Event`, which can happen only once: each announcement uses up one of those.
    """

    def __init__(self) -> None:
        self._changed: trio.Event | None = None  # none as long as nobody waits: each request announces a few changes
        self._lent: set[trio.Event] = set()  # of those who wait for several at once

    def notify(self, *, minor: bool = False) -> None:
        """Wake everybody who waits, so that they look again. `minor`: it is nothing to those who wait for several."""
        if self._changed is not None:
            self._changed.set()
            self._changed = None
        if self._lent and not minor:
            for event in self._lent:
                event.set()
            self._lent.clear()

    def wakes(self, event: trio.Event) -> None:
        """Have the next announcement set an event of one who waits for several things, and has looked at them all."""
        self._lent = {each for each in self._lent if not each.is_set()} | {event}

    async def until(self, predicate: Callable[[], object]) -> None:
        """Wait until `predicate` holds. When it holds already, this returns at once and is no checkpoint:
        what was seen true is still true in the next line.
        """
        while not predicate():
            await self.change()

    async def change(self) -> None:
        """Wait for the next announcement, whatever it is."""
        if self._changed is None:
            self._changed = trio.Event()
        await self._changed.wait()
