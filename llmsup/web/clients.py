"""Who is connected, and how many may be: those that ask for nothing make way for those that do.

It does not know how a connection is spoken on (`conversation`).
"""

from __future__ import annotations

import logging

import trio

from ..process.watched import Watched
from .conversation import Conversation

log = logging.getLogger(__name__)

SPARE = 16
"""Connections beyond the limit, when all others are at work: they get an answer to `/health`, or a refusal that says
why; waiting for a connection says nothing."""

SPARE_TIME = 0.1
"""Seconds that a spare one has for its request's head, if others wait for its place: what a client has to say is here
with its connection, or right behind it."""

LINGERING = 8
"""Connections beyond those, which have had their answer and wait for the client to close. They hold no place: each is
one descriptor, without a second one to an engine."""

SILENT = 1.0
"""Seconds in which nobody who has just come is closed for another's sake: connecting and asking are two steps, and a
busy machine takes its time between them. Browsers connect ahead of need, and ask nothing for longer than this."""

LOOK = 0.1
"""Seconds between looks for one that may go, when even the spare ones are taken."""

AGAIN = 60.0
"""Seconds after which it is said again that there are too many."""


class Clients(Watched):
    """The open connections.

    Attributes:
        limit: How many there may be.
    """

    def __init__(self, limit: int) -> None:
        super().__init__()
        self.limit = limit
        self._all: dict[Conversation, None] = {}  # the oldest first
        self._spare: dict[Conversation, float] = {}  # ... and since when
        self._said = -AGAIN

    def __len__(self) -> int:
        return len(self._all)

    def add(self, one: Conversation) -> None:
        """Count a new one. If there are too many the one that has been idle for the longest goes; if none is idle, the
        new one is a spare.
        """
        if self._taken() >= self.limit and not self.evict():
            one.spare = True
            self._spare[one] = trio.current_time()
            self._say()
        self._all[one] = None

    def remove(self, one: Conversation) -> None:
        """It is closed."""
        self._all.pop(one, None)
        self._spare.pop(one, None)
        waiting = next((each for each in self._spare if not each.leaving), None)
        if waiting is not None and self._taken() < self.limit:
            del self._spare[waiting]
            waiting.spare = False
        self.notify()

    def evict(self) -> bool:
        """Close the connection that has been idle for the longest; False: none is. One that was never answered is idle
        only after a while, and one whose client has sent something never.
        """
        silent = trio.current_time() - SILENT
        idle = {
            one: since
            for one in self._all
            if (since := one.idle_since) is not None
            and not one.leaving
            and not one.spare
            and (one.answered or since <= silent)
        }
        while idle:
            oldest = min(idle, key=idle.__getitem__)
            if oldest.asks_nothing:
                oldest.give_up()
                return True
            del idle[oldest]
        return False

    def close_idle(self) -> None:
        """Close all that are idle."""
        for one in self._all:
            one.give_up()

    async def room(self) -> None:
        """Wait until another connection may be accepted."""
        while len(self._all) >= self.limit and not self._has_room():
            with trio.move_on_after(LOOK):  # or one ends
                await self.change()

    def _taken(self) -> int:
        """How many there are that are, or may come to be, at work."""
        if len(self._all) < self.limit:
            return len(self._all)
        return sum(not one.leaving and not one.spare for one in self._all)

    def _has_room(self) -> bool:
        if len(self._all) >= self.limit + SPARE + LINGERING:
            self._cut()
            return False
        spare = sum(not one.leaving for one in self._spare)
        return spare < SPARE or self._taken() < self.limit or self.evict() or self._turn_away()

    def _turn_away(self) -> bool:
        """Refuse a spare one that has had its time."""
        due = trio.current_time() - SPARE_TIME
        return any(since <= due and one.turn_away() for one, since in self._spare.items())

    def _cut(self) -> None:
        """Close one that only lingers."""
        for one in self._all:
            if one.lingering:
                one.cut()
                return

    def _say(self) -> None:
        if trio.current_time() - self._said < AGAIN:
            return
        self._said = trio.current_time()
        log.warning(
            "all %d connections that the limit on open files allows are at work: who comes now is refused, except for "
            "/health. Raise it: `ulimit -n` where llmsup is started, LimitNOFILE in a systemd unit",
            self.limit,
        )
