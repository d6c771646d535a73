"""Who waits for a model and who is served by it: the one place where requests are counted.

It does not know how a model gets ready: `model` opens and closes the desk.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Self

import trio

from ..errors import Error, QueueTimeout
from ..units import Seconds, format_seconds
from .life import Life


class Ticket:
    """One request's lease: it waits, is served, and keeps the model loaded from its first moment to its last.

    Leaving the `with` block gives the place up, wherever it is; that is synchronous, so it also works in a
    cancelled task.
    """

    def __init__(self, desk: Desk, ttl: Seconds) -> None:
        self.ttl = ttl
        self._desk = desk
        self._since = trio.current_time()
        self._decided = trio.Event()
        self._life: Life | None = None
        self._error: Error | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._desk.leave(self)

    @property
    def waited(self) -> Seconds:
        """Seconds since the request came."""
        return Seconds(trio.current_time() - self._since)

    async def life(self, timeout: Seconds) -> Life:
        """Wait until the model serves this request, for at most `timeout` seconds since the request came.

        May be cancelled and called again: the place in the queue stays.

        Raises:
            QueueTimeout: It took longer.
            Error: The model can't be had; the error says why.
        """
        with trio.move_on_at(self._since + timeout):
            await self._decided.wait()
        if self._error is not None:
            raise self._error.again()  # others who waited get the same one
        if self._life is None:
            raise QueueTimeout(
                f"The request waited {format_seconds(timeout)} for its model (queue_timeout).", retry_after=30
            )
        return self._life

    def _decide(self, outcome: Life | Error) -> None:
        if isinstance(outcome, Life):
            self._life = outcome
        else:
            self._error = outcome
        self._decided.set()


class Desk:
    """First come, first served, up to `limit` at a time.

    Attributes:
        limit: How many may be served at a time; 0 = no limit.
        last_used: When the last byte of the last answer was out (trio time), or None.
        kept_until: How long requests asked for the model to be kept, at least (trio time).
    """

    def __init__(self, limit: int, changed: Callable[[], None]) -> None:
        self.last_used: float | None = None
        self.kept_until = 0.0
        self.limit = limit
        self._changed = changed
        self._life: Life | None = None
        self._queue: deque[Ticket] = deque()
        self._served: set[Ticket] = set()

    @property
    def waiting(self) -> int:
        """How many requests wait."""
        return len(self._queue)

    @property
    def in_flight(self) -> int:
        """How many requests are being served."""
        return len(self._served)

    @property
    def busy(self) -> bool:
        """Whether anybody wants the model now: as long as this holds, it is not unloaded for being idle."""
        return bool(self._queue or self._served)

    def enter(self, ttl: Seconds = Seconds(0)) -> Ticket:
        """Take a place in the queue. `ttl`: seconds to keep the model after this request, at least."""
        ticket = Ticket(self, ttl)
        self._queue.append(ticket)
        self._serve()
        return ticket

    def leave(self, ticket: Ticket) -> None:
        """Give up a place. A ticket of a life that has ended is no longer counted."""
        if ticket in self._served:
            self._served.discard(ticket)
            self.last_used = trio.current_time()
            self.kept_until = max(self.kept_until, self.last_used + ticket.ttl)
        elif ticket in self._queue:
            self._queue.remove(ticket)
        self._serve()

    def set_limit(self, limit: int) -> None:
        """Serve up to so many at a time from now on."""
        self.limit = limit
        self._serve()

    def open(self, life: Life) -> None:
        """The model is ready: serve."""
        self._life = life
        self._serve()

    def close(self) -> None:
        """Serve nobody else; who comes now waits."""
        self._life = None

    def forget(self) -> None:
        """The engine is gone: those it served have been told, or will see their connection break."""
        self._served.clear()
        self._changed()

    def refuse(self, error: Error) -> None:
        """Send everybody who waits away."""
        while self._queue:
            self._queue.popleft()._decide(error)
        self._changed()

    def _serve(self) -> None:
        # A life that has its verdict is over, even if its end has not been seen to yet: nobody may enter it.
        while self._life and not self._life.verdict and self._queue and self._has_room:
            ticket = self._queue.popleft()
            self._served.add(ticket)
            ticket._decide(self._life)
        self._changed()

    @property
    def _has_room(self) -> bool:
        return not self.limit or len(self._served) < self.limit
