"""HTTP/1.1 with one client: requests in, answers out, one after the other, and when to end the connection.

Of all requests only `/health` is special here: it is answered even when there is no room for anything else.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from math import inf

import trio

from ..errors import BadRequest, Error, RequestTimeout, TooManyConnections
from ..gateway.message import ClientLeft
from ..process.clock import clock
from ..units import Seconds
from . import direct
from .handover import Handover
from .head import MAX_HEAD, Head, HeadReader
from .incoming import Incoming
from .outgoing import Outgoing
from .pipe import Ends
from .recollection import Recollection
from .roads import Roads
from .wire import Switched, Wire

log = logging.getLogger(__name__)

KEEP_ALIVE = Seconds(75)
"""Between two requests. Clients' pools drop idle connections after 5 to 60 s; the server
must not be the one to drop first."""

HEAD_TIME = Seconds(30)
"""From the connection to the end of its first request's head, and from the first byte of a later head to its end.
Browsers open connections in advance, and give up unused ones after 10 s."""

GRAIN = Seconds(1)
"""A deadline that is off by less than this isn't moved: moving it twice per request took 3% of the request's time."""


class Conversation:
    """All requests and answers on one connection.

    Attributes:
        idle_since: When the last request ended (trio's clock); None while there is one.
        answered: Whether at least one request has been answered.
        leaving: Whether the connection is about to end.
        lingering: Whether the last answer is sent and we only wait for the client to close, too.
        spare: Whether it exceeds the connection limit, so that it may only ask for `/health`.
    """

    def __init__(
        self,
        roads: Roads,
        wire: Wire,
        ends: Ends,
        *,
        closing: Callable[[], bool],
        place: Callable[[Conversation], Awaitable[bool]],
    ) -> None:
        """`closing`: whether the server is stopping. `place`: waits for room for a spare one (`Clients.place`)."""
        self._roads = roads
        self._wire = wire
        self._client = ends.client[0] if ends.client else "local"
        self._closing = closing
        self._place = place
        self._handover = Handover(roads.hypercorn, ends)
        self._waiting = trio.CancelScope()  # its deadline is the next request's: one for each would cost more
        self._due = inf  # that deadline: to ask the scope for it takes longer
        self._now = clock()
        self._reader = HeadReader()
        self._recollection = Recollection()
        self._watching: trio.CancelScope | None = None
        self._watched = trio.Event()
        self._left = False
        self._incoming: Incoming | None = None
        self.idle_since: float | None = trio.current_time()
        self._busy_since = 0.0
        self.answered = False
        self.leaving = False
        self.lingering = False
        self.spare = False
        self._turned_away = False

    async def run(self) -> None:
        """Answer requests until one side ends the connection."""
        try:
            async with trio.open_nursery() as self._nursery:
                try:
                    with self._waiting:
                        await self._talk()
                    if self._turned_away and (self._reader.began or not self._wire.secure):  # else no hands are shaken
                        await self._refuse(TooManyConnections())
                    elif self._waiting.cancelled_caught and self._reader.began and not self._closing():
                        await self._refuse(RequestTimeout(f"The request's head did not come within {HEAD_TIME:g} s."))
                finally:
                    self._handover.close()
                    self._nursery.cancel_scope.cancel()
        finally:
            self.leaving = True
            await self._wire.close()

    async def _talk(self) -> None:
        first = True
        while (head := await self._next(first=first)) is not None and await self._serve(head):
            first = False

    def give_up(self) -> None:
        """End the connection unless a request is in progress."""
        if self.idle_since is not None:
            self.leaving = True
            self._waiting.cancel()

    def _take_time(self) -> None:
        """Remove the deadline."""
        self._be_done_by(inf)

    def _be_done_by(self, due: float) -> None:
        self._due = self._waiting.deadline = due

    # When there is no room for all...

    @property
    def asks_nothing(self) -> bool:
        """Whether no request is in progress and no part of one has arrived."""
        return self.idle_since is not None and not self._reader.began and not self._wire.readable

    def turn_away(self) -> bool:
        """Refuse a spare connection without a complete request head; returns False if there is, or may soon be, one."""
        if self.idle_since is None or self.leaving or self._wire.readable:
            return False
        self._turned_away = self.leaving = True
        self._waiting.cancel()
        return True

    def cut(self) -> None:
        """End the lingering."""
        self.lingering = False
        self._nursery.cancel_scope.cancel()

    # A request...

    async def _next(self, *, first: bool) -> Head | None:
        """Return the next request, or None if there is none (the client has been told what was wrong, if anything)."""
        self.idle_since = began = self._now()
        self.answered = not first
        if self._reader.used:
            self._reader = HeadReader()
        reader = self._reader
        due = began + (HEAD_TIME if first else KEEP_ALIVE)
        if not -GRAIN < self._due - due < GRAIN:
            self._be_done_by(due)
        if self._closing():
            return None
        try:
            if first and not await self._wire.open():
                return None
            while data := await self._wire.receive():
                if (head := self._recollection.feed(reader, data)) is not None:
                    break
                if reader.began and not first:
                    first = True
                    self._be_done_by(self._now() + HEAD_TIME)
            else:
                if reader.began:
                    log.info("a client left in the middle of its request's head")
                return None
        except BadRequest as error:
            await self._refuse(error)
            return None
        self._busy_since = now = self._now()
        if self.leaving or self._due <= now:
            return None  # in this very moment
        if self._due < now + HEAD_TIME:
            self._take_time()  # else `watch` does so, long before
        self.idle_since = None
        self._wire.ahead = self._recollection.rest
        return head

    async def _serve(self, head: Head) -> bool:
        """Have one request answered; returns whether another one may follow."""
        health = head.target.partition(b"?")[0] == b"/health"
        if self.spare and not health and not await self._place(self):
            await self._refuse(TooManyConnections())
            return False
        incoming = self._incoming = Incoming(self._wire, head)
        closing = head.closing or self.spare or self._closing()
        outgoing = Outgoing(self._wire, old=head.old, bodiless=head.method == "HEAD", closing=closing)
        roads = self._roads
        roads.lookout.add(self, self._busy_since)
        try:
            request = roads.direct(head, self._client)
            if request is not None:
                await direct.answer(roads.gateway, request, incoming, outgoing, self._switch)
            else:
                await self._handover.answer(head, incoming, outgoing, self._nursery)
        except ClientLeft:
            self._left = True
        except BadRequest as error:  # in the body, for Hypercorn: the gateway's errors are answered
            if not outgoing.began:
                await self._refuse(error)
                return False
        finally:
            roads.lookout.remove(self)
            if self._watching is not None:
                await self._stop_watching()
        if self._left or self._wire.broken:
            return False
        if outgoing.complete and incoming.complete and not outgoing.closing and not self._closing():
            return True
        self.leaving = True
        await self._end(outgoing, incoming)
        return False

    async def _switch(self) -> Switched:
        self._roads.lookout.remove(self)
        self._take_time()
        await self._stop_watching()
        return Switched(self._wire)

    # Whether the client is still there...

    def watch(self) -> bool:
        """Start watching for the client to leave, which cancels its request.

        Returns False while the body is being read, as its reader notices that. The reader may also be pausing (when
        there is no room, for example), so this is tried again later.
        """
        self._take_time()
        if self._incoming is None or not self._incoming.complete:
            if self._wire.hung_up:
                self._leave()
            return False
        self._watching, self._watched = trio.CancelScope(), trio.Event()
        self._nursery.start_soon(self._watch, self._watching, self._watched)
        return True

    async def _watch(self, scope: trio.CancelScope, over: trio.Event) -> None:
        try:
            with scope:
                while len(self._wire.ahead) <= MAX_HEAD:  # beyond that, don't read ahead until this one is answered
                    data = await self._wire.read()
                    if not data:
                        self._leave()
                        return
                    self._wire.ahead += data
        finally:
            over.set()

    def _leave(self) -> None:
        self._left = True
        self._nursery.cancel_scope.cancel()

    async def _stop_watching(self) -> None:
        if self._watching is not None:
            self._watching.cancel()
            with trio.CancelScope(shield=True):  # a cancelled read ends at once
                await self._watched.wait()
            self._watching = None

    # The end...

    async def _refuse(self, error: Error) -> None:
        """Send an error as the last answer."""
        self._take_time()
        self.leaving = True
        outgoing = Outgoing(self._wire, closing=True)
        try:
            await outgoing.refuse(error, [])
        except ClientLeft:
            return
        self.lingering = True
        await self._wire.finish(unread=True)

    async def _end(self, outgoing: Outgoing, incoming: Incoming) -> None:
        """Close so that what was sent arrives, and so that the client notices a truncated answer."""
        self._take_time()
        if not outgoing.complete and not outgoing.framed:
            await self._wire.cut()
            return
        self.lingering = True
        await self._wire.finish(unread=not incoming.complete)
