"""Who is connected, and how many may be: those that ask for nothing make way for those that do.

It does not know how a connection is spoken on (`conversation`).
"""

from __future__ import annotations

import trio

from ..process.watched import Watched
from .conversation import Conversation

SPARE = 16
"""Connections beyond the limit, when all others are at work: they get an answer to `/health`, or a refusal that says
why; waiting for a connection says nothing."""

LOOK = 0.5
"""Seconds between looks for an idle one, when even the spare ones are taken."""


class Clients(Watched):
    """The open connections.

    Attributes:
        limit: How many there may be.
    """

    def __init__(self, limit: int) -> None:
        super().__init__()
        self.limit = limit
        self._all: set[Conversation] = set()

    def __len__(self) -> int:
        return len(self._all)

    def add(self, one: Conversation) -> None:
        """Count a new one. If there are too many the one that has been idle for the longest goes; if none is idle, the
        new one is a spare.
        """
        if len(self._all) >= self.limit:
            one.spare = not self.evict()
        self._all.add(one)

    def remove(self, one: Conversation) -> None:
        """It is closed."""
        self._all.discard(one)
        self.notify()

    def evict(self) -> bool:
        """Close the connection that has been idle for the longest; False: none is."""
        idle = [one for one in self._all if one.idle_since is not None and not one.leaving]
        if not idle:
            return False
        min(idle, key=lambda one: one.idle_since or 0.0).give_up()
        return True

    def close_idle(self) -> None:
        """Close all that are idle."""
        for one in self._all:
            one.give_up()

    async def room(self) -> None:
        """Wait until another connection may be accepted."""
        while len(self._all) >= self.limit + SPARE:
            self.evict()
            with trio.move_on_after(LOOK):  # or one becomes idle
                await self.change()
