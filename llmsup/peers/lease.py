"""One request's lease on a model that several servers have: it goes to the best of them, and once to another."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

import trio

from ..errors import Error, InsufficientMemory, QueueTimeout, ShuttingDown
from ..fleet.backend import BackendLease, BackendRun, Trail
from ..units import Seconds, format_seconds
from .peer import PeerState
from .run import PeerRun

if TYPE_CHECKING:
    from .backend import RoutedBackend

MOST_TRIES = 2
"""How many servers are tried for a request before its first byte."""


class RoutedLease:
    """One request's lease. A load here that fails, or a peer that doesn't wake, sends it on by itself.

    Attributes:
        served_by: What serves it; None while it waits, or if it was refused.
    """

    def __init__(self, backend: RoutedBackend, ttl: Seconds, client: str, trail: Trail) -> None:
        """Raises Error: nobody can serve it, for this reason."""
        self.served_by: BackendRun | None = None
        self._backend = backend
        self._ttl = ttl
        self._client = client
        self._trail = trail
        self._since = trio.current_time()
        self._began = self._since  # the present try
        self._local: BackendLease | None = None
        self._there: PeerRun | None = None
        self._error: Error | None = None
        self._begin()

    @property
    def waited(self) -> Seconds:
        """Seconds since the request came."""
        return Seconds(trio.current_time() - self._since)

    @property
    def awaits(self) -> str:
        """What it waits for, if that is not the model's load."""
        if self._there is None or self.served_by is not None:
            return ""
        return f"{'asking' if self._there.peer.state is PeerState.UNKNOWN else 'waking'} {self._there.where}"

    @property
    def others(self) -> bool:
        """Whether another server could have the request, if this one refuses it."""
        where = self._there.where if self._there is not None else ""
        return self._trail.tries < MOST_TRIES and self._backend.others(self._trail, where)

    def _begin(self) -> None:
        """Begin a try."""
        there = self._backend.choose(self._trail)
        self._trail.tries += 1
        self._began = trio.current_time()
        if there is not None:
            there.peer.began(there.name)
            self._there = there
            if there.peer.state is PeerState.UP:
                self.served_by = there
            return
        try:
            self._local = self._backend.enter_here(self._ttl, self._client)
        except ShuttingDown:
            raise
        except Error as error:
            self._go_on(error)
        else:
            self.served_by = self._local.served_by

    def _go_on(self, error: Error) -> None:
        """Begin the next try, as this one has failed. Raises that error if there is none."""
        where = self._there.where if self._there is not None else ""
        self._leave()
        self._trail.failed[where] = error
        if self._trail.tries >= MOST_TRIES or not self._backend.others(self._trail, where):
            self._error = error
            raise error
        self._begin()

    async def run(self, timeout: Seconds) -> BackendRun:
        """Wait until the request is served. See `fleet.backend.BackendLease`."""
        while self.served_by is None:
            if self._error is not None:
                raise self._error.again()
            try:
                if self._local is not None:
                    # Its own time began with this try, the request's before.
                    self.served_by = await self._local.run(Seconds(timeout - (self._began - self._since)))
                else:
                    await self._wake(timeout)
            except (QueueTimeout, InsufficientMemory, ShuttingDown):  # the time is over
                raise
            except Error as error:
                self._go_on(error)
        return self.served_by

    async def _wake(self, timeout: Seconds) -> None:
        assert self._there is not None
        with trio.move_on_at(self._since + timeout):
            await self._there.peer.woken()
            self.served_by = self._there
        if self.served_by is None:
            waited = f"The request waited {format_seconds(timeout)} (queue_timeout)"
            raise QueueTimeout(f"{waited} for the peer {self._there.where} to wake.", retry_after=30)

    def _leave(self) -> None:
        local, there = self._local, self._there
        self._local = self._there = self.served_by = None
        if local is not None:
            local.__exit__()
        if there is not None:
            there.peer.ended(there.name)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._leave()
