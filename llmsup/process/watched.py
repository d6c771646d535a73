"""Values that one task owns and others wait on."""

from __future__ import annotations

from collections.abc import Callable

import trio


class Watched:
    """State whose changes its owner announces, and on which any task can wait by a predicate.

    Level-triggered: a waiter checks the current state, so nothing is missed between a check and a wait, and no lock is
    needed. A `trio.Event` can happen only once: each announcement uses one up.
    """

    def __init__(self) -> None:
        # None while no task waits: each request announces a few changes, which should cost nothing.
        self._changed: trio.Event | None = None

    def notify(self) -> None:
        """Wake all waiting tasks, so that they check again."""
        if self._changed is not None:
            self._changed.set()
            self._changed = None

    async def until(self, predicate: Callable[[], object]) -> None:
        """Wait until `predicate` holds.

        If it already does, this returns without a checkpoint, so it still holds on the next line.
        """
        while not predicate():
            await self.change()

    async def change(self) -> None:
        """Wait for the next announcement, whatever it is."""
        if self._changed is None:
            self._changed = trio.Event()
        await self._changed.wait()
