"""Who waits for a model and who is served by it: the one place where requests are counted.

It does not know how a model gets ready: `model` opens and closes the desk.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Self

import trio

from ...errors import Error, InsufficientMemory, QueueTimeout
from ...units import Seconds, format_seconds
from .run import Run


def _nobody(_waited: Seconds) -> None:
    pass


class Lease:
    """One request's lease: it waits, is served, and keeps the model loaded from its first moment to its last.

    Leaving the `with` block gives the place up, wherever it is; that is synchronous, so it also works in a
    cancelled task.

    Attributes:
        ttl: Seconds to keep the model after it, at least.
        client: Whose request it is.
        since: When it came (trio time).
        served_by: The life of the model that serves it; None: it waits, or was refused.
    """

    def __init__(self, queue: RequestQueue, ttl: Seconds, client: str, since: float) -> None:
        self.ttl = ttl
        self.client = client
        self.since = since
        self.served_by: Run | None = None
        self._queue = queue
        self._decided: trio.Event | None = None  # none as long as nobody waits for it
        self._error: Error | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._queue.leave(self)

    @property
    def waited(self) -> Seconds:
        """Seconds since the request came."""
        return Seconds(trio.current_time() - self.since)

    async def run(self, timeout: Seconds) -> Run:
        """Wait until the model serves this request, for at most `timeout` seconds since the request came.

        May be cancelled and called again: the place in the queue stays.

        Raises:
            QueueTimeout: It took longer.
            Error: The model can't be had; the error says why.
        """
        if self.served_by is None and self._error is None:
            if self._decided is None:
                self._decided = trio.Event()
            with trio.move_on_at(self.since + timeout):
                await self._decided.wait()
        if self._error is not None:
            raise self._error.again()  # others who waited get the same one
        if self.served_by is None:
            waited = f"The request waited {format_seconds(timeout)} for its model (queue_timeout)"
            if self._queue.shortage:
                raise InsufficientMemory(f"{waited}: {self._queue.shortage}.", retry_after=30)
            raise QueueTimeout(f"{waited}.", retry_after=30)
        return self.served_by

    def serve(self, run: Run) -> None:
        """Its turn has come: for the queue."""
        self.served_by = run
        self._wake()

    def refuse(self, error: Error) -> None:
        """Its turn won't come: for the queue."""
        self._error = error
        self._wake()

    def _wake(self) -> None:
        if self._decided is not None:
            self._decided.set()


class RequestQueue:
    """First come, first served, up to `limit` at a time.

    Attributes:
        limit: How many may be served at a time; 0 = no limit.
        last_used: When the last byte of the last answer was out (trio time), or None.
        kept_until: How long requests asked for the model to be kept, at least (trio time).
        shortage: What memory the model waits for and who has it, or "": for those who wait too long.
        paused: Another model waits for the memory of this one, whose turn is over: who comes now waits for its next.
    """

    def __init__(self, limit: int, changed: Callable[[], None], begun: Callable[[Seconds], None] = _nobody) -> None:
        """`changed` is called at every change; `begun` with the seconds that a request waited, when it is served."""
        self.last_used: float | None = None
        self.shortage = ""
        self.paused = False
        self.begun = begun
        self.kept_until = 0.0
        self.limit = limit
        self._changed = changed
        self._run: Run | None = None
        self._queue: deque[Lease] = deque()
        self._later: deque[Lease] = deque()  # those who came while it was held
        self._served: set[Lease] = set()

    @property
    def waiting(self) -> int:
        """How many requests wait."""
        return len(self._queue) + len(self._later)

    @property
    def would_wait(self) -> bool:
        """Whether who comes now has to wait, be it only behind others."""
        return self.paused or not self._serves or bool(self._queue) or not self._has_room

    def waiting_of(self, client: str) -> int:
        """How many requests of one client wait."""
        return sum(lease.client == client for queue in (self._queue, self._later) for lease in queue)

    @property
    def due(self) -> int:
        """How many of them were let through to this life of the model, and have yet to begin."""
        return len(self._queue)

    @property
    def since(self) -> float | None:
        """When the first of those came who wait (trio time); None if nobody does."""
        return min((queue[0].since for queue in (self._queue, self._later) if queue), default=None)

    @property
    def in_flight(self) -> int:
        """How many requests are being served."""
        return len(self._served)

    @property
    def occupied(self) -> bool:
        """Whether anybody is served, or was let through to this life of the model."""
        return bool(self._queue or self._served)

    @property
    def busy(self) -> bool:
        """Whether anybody wants the model now: as long as this holds, it is not unloaded for being idle."""
        return bool(self._queue or self._later or self._served)

    def enter(self, ttl: Seconds = Seconds(0), client: str = "", now: float | None = None) -> Lease:
        """Take a place in the queue. `ttl`: seconds to keep the model after this request, at least; `client`: whose
        request it is; `now`: trio time, if the caller knows it.
        """
        lease = Lease(self, ttl, client, trio.current_time() if now is None else now)
        if self._run is not None and not self.would_wait:
            self._begin(lease, self._run, Seconds(0))
        else:
            (self._later if self.paused else self._queue).append(lease)
        self._changed()
        return lease

    def look(self) -> Lease | None:
        """A lease that isn't counted, for one who only looks; None: nobody could be served now."""
        if self._run is None or not self._serves:
            return None
        lease = Lease(self, Seconds(0), "", trio.current_time())
        lease.serve(self._run)
        return lease

    def leave(self, lease: Lease) -> None:
        """Give up a place. A ticket of a life that has ended is no longer counted."""
        if lease in self._served:
            self._served.discard(lease)
            self.last_used = trio.current_time()
            self.kept_until = max(self.kept_until, self.last_used + lease.ttl)
            if self._run is not None:
                self._run.first_served = self._run.first_served or self.last_used
        elif lease in self._queue:
            self._queue.remove(lease)
        elif lease in self._later:
            self._later.remove(lease)
        self._serve()

    def set_limit(self, limit: int) -> None:
        """Serve up to so many at a time from now on."""
        self.limit = limit
        self._serve()

    def open(self, run: Run) -> None:
        """The model is ready: serve."""
        self._run = run
        self._serve()

    def close(self) -> None:
        """Serve nobody else; who comes now waits."""
        self._run = None

    def pause(self) -> None:
        """Serve those who wait, and nobody who comes from now on."""
        self.paused = True

    def resume(self) -> None:
        """Serve everybody again."""
        if self.paused:
            self.paused = False
            self._queue.extend(self._later)
            self._later.clear()
            self._serve()

    def forget(self) -> None:
        """The engine is gone: those it served have been told, or will see their connection break."""
        self._served.clear()
        self.resume()
        self._changed()

    def refuse(self, error: Error) -> None:
        """Send everybody who waits away."""
        for queue in (self._queue, self._later):
            while queue:
                queue.popleft().refuse(error)
        self._changed()

    def _serve(self) -> None:
        while self._queue and self._run is not None and self._serves and self._has_room:
            lease = self._queue.popleft()
            self._begin(lease, self._run, lease.waited)
        self._changed()

    def _begin(self, lease: Lease, run: Run, waited: Seconds) -> None:
        self._served.add(lease)
        lease.serve(run)
        self.begun(waited)

    @property
    def _serves(self) -> bool:
        # A life that has its outcome is over, even if its end has not been seen to yet: nobody may enter it.
        return self._run is not None and not self._run.outcome

    @property
    def _has_room(self) -> bool:
        return not self.limit or len(self._served) < self.limit
