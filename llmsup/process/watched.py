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
        self._lent: set[trio.Event] = set()  # of tasks that wait for several things at once

    def notify(self, *, minor: bool = False) -> None:
        """Wake the waiting tasks, so that they check again. `minor`: except those that wait by `wakes`."""
        if self._changed is not None:
            self._changed.set()
            self._changed = None
        if self._lent and not minor:
            for event in self._lent:
                event.set()
            self._lent.clear()

    @property
    def awaited(self) -> bool:
        """Whether any task waits for an announcement."""
        return self._changed is not None or bool(self._lent)

    def wakes(self, event: trio.Event) -> None:
        """Set an event at the next announcement: for a task that waits for several things and has checked them all."""
        self._lent = {each for each in self._lent if not each.is_set()} | {event}

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
