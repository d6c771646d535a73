"""The open connections and their limit: idle ones are closed to make room for new ones."""

from __future__ import annotations

import logging

import trio

from ..process.watched import Watched
from .conversation import Conversation

log = logging.getLogger(__name__)

SPARE = 16
"""Connections beyond the limit while all others are busy: they get an answer to `/health`, or an error that says why,
which is more useful than a connection that is never accepted."""

SPARE_TIME = 0.1
"""Seconds that a spare connection has for its request's head if others wait for its place: a client normally sends the
head together with its connection, or right after it."""

LINGERING = 8
"""Connections beyond those, which have been answered and wait for the client to close. They don't count towards the
limit: each is one descriptor, without a second one to an engine."""

SILENT = 1.0
"""Seconds for which a new connection is not closed to make room: a client on a busy machine may need time between
connecting and sending. Connections that browsers open in advance stay unused for longer than this."""

LOOK = 0.1
"""Seconds between checks for a connection to close while even the spare ones are in use."""

AGAIN = 60.0
"""Seconds between log lines about too many connections."""


class Clients(Watched):
    """The open connections.

    Attributes:
        limit: The most connections.
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
        """Add a new connection.

        If there are too many, the one idle for the longest is closed; if none is idle, the new one is a spare.
        """
        if self._taken() >= self.limit and not self.evict():
            one.spare = True
            self._spare[one] = trio.current_time()
            self._say()
        self._all[one] = None

    def remove(self, one: Conversation) -> None:
        """Remove a closed connection."""
        self._all.pop(one, None)
        self._spare.pop(one, None)
        waiting = next((each for each in self._spare if not each.leaving), None)
        if waiting is not None and self._taken() < self.limit:
            del self._spare[waiting]
            waiting.spare = False
        self.notify()

    def evict(self) -> bool:
        """Close the connection that has been idle for the longest; returns False if none is.

        A connection without any answer yet counts as idle only after a while, and one with unread input never does.
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

    async def place(self, one: Conversation) -> bool:
        """Get a spare connection with a request a place among the others; returns False if none can be had.

        All places may be taken by connections that have only just come and said nothing. They don't keep them for
        long, so the request waits for that, but not for those that are at work.
        """
        while one.spare:
            if self._taken() < self.limit or self.evict():
                self._spare.pop(one, None)
                one.spare = False
            elif any(each.asks_nothing and not (each.leaving or each.spare) for each in self._all):
                with trio.move_on_after(LOOK):  # or until one ends
                    await self.change()
            else:
                return False
        return True

    def close_idle(self) -> None:
        """Close all idle connections."""
        for one in self._all:
            one.give_up()

    async def room(self) -> None:
        """Wait until another connection may be accepted."""
        while len(self._all) >= self.limit and not self._has_room():
            with trio.move_on_after(LOOK):  # or until one ends
                await self.change()

    def _taken(self) -> int:
        """Return how many connections are busy or may become so."""
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
        """Refuse a spare connection whose time is up; returns whether there was one."""
        due = trio.current_time() - SPARE_TIME
        return any(since <= due and one.turn_away() for one, since in self._spare.items())

    def _cut(self) -> None:
        """Close a connection that only lingers."""
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
