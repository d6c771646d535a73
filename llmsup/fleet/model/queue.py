"""The requests of a model, waiting and in flight: the one place where they are counted.

The supervisor opens the queue when the model is ready, and closes it before the engine is stopped.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Self

import trio

from ...errors import Error, InsufficientMemory, QueueTimeout
from ...process.clock import clock
from ...units import Seconds, format_seconds
from .run import Run
from .turns import Turns

_AT_ONCE = Seconds(0)


def _nobody(_waited: Seconds) -> None:
    pass


class Lease:
    """One request's hold on a model: it waits, is served, and keeps the model loaded for as long as it exists.

    Leaving the `with` block ends the lease, whether it was waiting or served; that is synchronous, so it also works in
    a cancelled task.

    Attributes:
        ttl: Seconds for which to keep the model afterwards, at least.
        client: Whose request it is.
        since: When it came (trio time).
        served_by: The run that serves it; None while it waits, or if it was refused.
    """

    awaits = ""
    others = False  # as `fleet.backend.BackendLease` has them

    def __init__(self, queue: RequestQueue, ttl: Seconds, client: str, since: float) -> None:
        self.ttl = ttl
        self.client = client
        self.since = since
        self.served_by: Run | None = None
        self._queue = queue
        self._decided: trio.Event | None = None  # made when `run` first has to wait
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

        May be cancelled and called again without losing the place in the queue.

        Raises:
            QueueTimeout: It took longer.
            InsufficientMemory: It took longer, because the model waits for memory.
            Error: The model can't be loaded; the error says why.
        """
        if self.served_by is None and self._error is None:
            if self._decided is None:
                self._decided = trio.Event()
            with trio.move_on_at(self.since + timeout):
                await self._decided.wait()
        if self._error is not None:
            raise self._error.again()  # other requests get the same one
        if self.served_by is None:
            waited = f"The request waited {format_seconds(timeout)} for its model (queue_timeout)"
            if self._queue.shortage:
                raise InsufficientMemory(f"{waited}: {self._queue.shortage}.", retry_after=30)
            raise QueueTimeout(f"{waited}.", retry_after=30)
        return self.served_by

    def serve(self, run: Run) -> None:
        """Let the request start; called by the queue."""
        self.served_by = run
        self._wake()

    def refuse(self, error: Error) -> None:
        """Fail the request; called by the queue."""
        self._error = error
        self._wake()

    def _wake(self) -> None:
        if self._decided is not None:
            self._decided.set()


class RequestQueue:
    """Up to `limit` at a time, clients taking turns; those of one client in their order.

    Attributes:
        limit: How many may be served at a time; 0 = no limit.
        last_used: When the last byte of the last answer was sent (trio time), or None.
        kept_until: Until when requests have asked for the model to be kept, at least (trio time).
        shortage: What memory the model waits for and which models have it, for requests that time out; "" if none.
        paused: This model's turn is over and another waits for its memory: new requests wait for its next turn.
    """

    def __init__(self, limit: int, changed: Callable[[], None], begun: Callable[[Seconds], None] = _nobody) -> None:
        """`changed` is called on every change; `begun`, when a request starts, with the seconds that it waited."""
        self.last_used: float | None = None
        self.shortage = ""
        self.paused = False
        self.begun = begun
        self.kept_until = 0.0
        self.limit = limit
        self._changed = changed
        self._now = clock()
        self._run: Run | None = None
        self._served: set[Lease] = set()
        self._queue: Turns[Lease] = Turns(lambda: self._served)
        self._later: Turns[Lease] = Turns()  # those that came while it was paused

    @property
    def waiting(self) -> int:
        """How many requests wait."""
        return len(self._queue) + len(self._later)

    @property
    def would_wait(self) -> bool:
        """Whether a request that comes now has to wait, even if only behind others."""
        run = self._run  # in one go: it is asked for each request
        if run is None or self.paused or run.outcome is not None or self._queue.all:
            return True
        return 0 < self.limit <= len(self._served)

    def waiting_of(self, client: str) -> int:
        """How many requests of one client wait."""
        return self._queue.of(client) + self._later.of(client)

    @property
    def due(self) -> int:
        """How many of the waiting requests belong to the model's current turn."""
        return len(self._queue)

    @property
    def since(self) -> float | None:
        """When the oldest waiting request came (trio time); None if none waits."""
        return min((queue.first.since for queue in (self._queue, self._later) if queue), default=None)

    @property
    def in_flight(self) -> int:
        """How many requests are being served."""
        return len(self._served)

    @property
    def occupied(self) -> bool:
        """Whether any request is being served, or belongs to the model's current turn."""
        return bool(self._queue or self._served)

    @property
    def busy(self) -> bool:
        """Whether any request waits or is being served: the model is not idle."""
        return bool(self._queue or self._later or self._served)

    def enter(self, ttl: Seconds = Seconds(0), client: str = "", now: float | None = None) -> Lease:
        """Take a place in the queue.

        Args:
            ttl: Seconds for which to keep the model after this request, at least.
            client: Whose request it is.
            now: The trio time, if the caller has just looked at it.
        """
        lease = Lease(self, ttl, client, self._now() if now is None else now)
        if self._run is not None and not self.would_wait:
            self._served.add(lease)
            lease.served_by = self._run
            self.begun(_AT_ONCE)
        else:
            (self._later if self.paused else self._queue).add(lease)
        self._changed()
        return lease

    def look(self) -> Lease | None:
        """A lease that isn't counted, for a read-only request; None if no engine is serving now."""
        if self._run is None or not self._serves:
            return None
        lease = Lease(self, Seconds(0), "", trio.current_time())
        lease.serve(self._run)
        return lease

    def leave(self, lease: Lease) -> None:
        """End a lease. One from a run that has ended is no longer counted."""
        if lease in self._served:
            self._served.discard(lease)
            now = self.last_used = self._now()
            if now + lease.ttl > self.kept_until:
                self.kept_until = now + lease.ttl
            run = self._run
            if run is not None and not run.first_served:
                run.first_served = now
        elif lease in self._queue:
            self._queue.remove(lease)
        elif lease in self._later:
            self._later.remove(lease)
        if self._queue.all:
            self._serve()
        else:
            self._changed()

    def set_limit(self, limit: int) -> None:
        """Serve up to `limit` requests at a time from now on."""
        self.limit = limit
        self._serve()

    def open(self, run: Run) -> None:
        """The model is ready: serve its requests."""
        self._run = run
        self._serve()

    def close(self) -> None:
        """Start no more requests; new ones wait."""
        self._run = None

    def pause(self) -> None:
        """Serve the requests that wait now, but let those that come later wait for the model's next turn."""
        self.paused = True

    def resume(self) -> None:
        """Serve all requests again."""
        if self.paused:
            self.paused = False
            for lease in self._later.take_all():
                self._queue.add(lease)
            self._serve()

    def forget(self) -> None:
        """The engine is gone: its requests in flight have an error, or will see their connection break."""
        self._served.clear()
        self.resume()
        self._changed()

    def refuse(self, error: Error) -> None:
        """Fail all waiting requests."""
        for queue in (self._queue, self._later):
            for lease in queue.take_all():
                lease.refuse(error)
        self._changed()

    def _serve(self) -> None:
        while self._queue and self._run is not None and self._serves and self._has_room:
            lease = self._queue.take()
            self._begin(lease, self._run, lease.waited)
        self._changed()

    def _begin(self, lease: Lease, run: Run, waited: Seconds) -> None:
        self._served.add(lease)
        lease.serve(run)
        self.begun(waited)

    @property
    def _serves(self) -> bool:
        # A run that has an outcome is over, even if the supervisor hasn't handled that yet: it takes no new request.
        return self._run is not None and not self._run.outcome

    @property
    def _has_room(self) -> bool:
        return not self.limit or len(self._served) < self.limit
