"""One model as others see it: what it is, where it is in its life, and what may be asked of it.

It does not know how it is loaded and unloaded (`supervisor`), who else there is (`fleet`), or what a request is.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable

import trio

from ...catalog.entry import Entry
from ...config.schema import ModelSpec
from ...engines.kinds import KINDS
from ...engines.registry import Kinds
from ...errors import Error, ModelFailed, ShuttingDown, StillRunning, Unloading
from ...memory.cost.estimate import Estimate, estimate
from ...memory.policy.decision import Decision
from ...memory.policy.eviction_cost import Rate
from ...memory.policy.refaults import Refaults
from ...process.events import Events
from ...process.logbook import LogBook
from ...process.watched import Watched
from ...units import NEVER, Bytes, Seconds
from .backoff import Backoff
from .history import History
from .queue import Lease, RequestQueue
from .run import Run
from .states import Cause, State, StopRequest

log = logging.getLogger(__name__)


class Model(Watched):
    """One model.

    Its supervisor owns the state and writes every transition. Everybody else reads it, waits for it (`until`), takes a
    ticket, or asks for a load or an unload.

    Attributes:
        entry: Which model it is, and with what settings.
        served: That as engines get it: without a projector that one has refused.
        book: What its engines wrote, this one and those before.
        queue: Its requests.
        state: Where it is in its life; `reason` says how it came there, `since` when (trio time).
        run: The current life, from the wish to load it until the engine is gone.
        load_seconds: How long the last load took, in seconds, in this run or an earlier one; None: it was never loaded,
            or never as it is (with this file, these settings, this engine).
        crashes: How often an engine of it died or hung since llmsup started.
        failure: Why it is `failed`.
        load_wanted: It shall be loaded though no request waits, and isn't yet: a load that was asked for stays asked
            for until the model is ready, can't be had, or somebody unloads it.
        rest: When it may be started again after something went wrong.
        retiring: Why it goes for good once nobody needs it any more; "" if it stays.
        no_eviction: That is only for its `preload`: nobody else goes for it, as long as no request waits.
        starved: Its last load died for want of memory, and is being tried once more.
        ports_tried: How many ports other programs took from its engine while it was being started.
        rate: How often it is asked for.
        last_asked: When the last request for it came (trio time), or minus infinity.
        refaults: How often lately it was wanted again soon after an eviction.
        history: What became of it so far.
    """

    def __init__(
        self,
        entry: Entry,
        book: LogBook,
        events: Events | None = None,
        told: Callable[[Model], None] | None = None,
        kinds: Kinds = KINDS,
    ) -> None:
        """`events` gets its loads, unloads and transitions; `told` is called at every change that memory depends on;
        `kinds` are those that its engine may be of.
        """
        super().__init__()
        self.entry = self.served = entry
        self.book = book
        self.events = events or Events()
        self._told = told
        self._kinds = kinds
        self.history = History()
        self.rate = Rate()
        self.last_asked = -math.inf
        self.refaults = Refaults()
        self.queue = RequestQueue(entry.spec.max_in_flight, self._requests_changed, self.history.began)
        self.state = State.UNLOADED
        self.reason = "nobody asked for it yet"
        self.since = trio.current_time()
        self.run: Run | None = None
        self.load_seconds: float | None = None
        self.crashes = 0
        self.failure: Error | None = None
        self.rest = Backoff()
        self.retiring = ""
        self._needs: tuple[Entry | None, Estimate | None] = (None, None)  # computed once for an entry
        self.no_eviction = self.load_wanted = entry.preloads
        self.starved = False
        self.ports_tried = 0

    def notify(self) -> None:
        super().notify()
        if self._told is not None:
            self._told(self)

    def _requests_changed(self) -> None:
        """One more or one less among several who are served is nothing that anybody decides anew for."""
        if self.queue.in_flight > 1 and not self.queue.waiting:
            super().notify()
        else:
            self.notify()

    @property
    def needs(self) -> Estimate | None:
        """What it would take in memory; None where that can't be told from a file."""
        entry, needs = self._needs
        if entry is not self.served:
            needs = estimate(self.spec, self.served.found, self._kinds) if self.served.found else None
            self._needs = (self.served, needs)
        return needs

    @property
    def spec(self) -> ModelSpec:
        """Its settings."""
        return self.entry.spec

    def __repr__(self) -> str:
        parts = [f"{self.spec.name} {self.state}"]
        if self.queue.in_flight:
            parts.append(f"{self.queue.in_flight} in flight")
        if self.queue.waiting:
            parts.append(f"{self.queue.waiting} waiting")
        if self.run and self.run.engine:
            parts.append(f"pid {self.run.engine.pid}")
        return f"<Model {', '.join(parts)}>"

    # What others may ask...

    def enter(self, ttl: Seconds = Seconds(0), client: str = "") -> Lease:
        """Take a ticket for one request of a client. `ttl`: keep the model for at least so many seconds after it.

        Raises:
            ModelFailed: It can't be served as it is.
            Error: It could not be started lately, for this reason; it is tried again after a cool-down.
        """
        self._check()
        if self.state is State.FAILED and self.failure is not None and self.retry_in > 0:
            raise self.with_retry(self.failure)
        self.last_asked = trio.current_time()
        self.rate = self.rate.asked(self.last_asked, self.load_seconds)
        return self.queue.enter(Seconds(min(ttl, self.spec.max_ttl)), client, self.last_asked)

    @property
    def would_wait(self) -> bool:
        """Whether a request that comes now has to wait, rather than being served or refused at once."""
        refused = self.entry.refusal or (self.state is State.FAILED and self.failure is not None and self.retry_in > 0)
        return not refused and self.queue.would_wait

    def load(self, *, no_eviction: bool = False) -> None:
        """Ask for the model to be loaded, whatever happened before. Take a ticket to wait for it.

        Args:
            no_eviction: Only if nobody has to go for it. Who has asked for it outright is not made modest by that.

        Raises:
            ModelFailed: It can't be served as it is.
        """
        self._check()
        if self.run is None and not self.load_wanted and not no_eviction:
            self.served = self.entry  # what an engine refused once, another may take
        self.no_eviction = no_eviction and (self.no_eviction or not self.load_wanted)
        self.load_wanted = not self.stays_loaded
        self.rest.forgo()
        self.notify()

    async def unload(self, reason: str, *, force: bool = False) -> Bytes:
        """Have the model unloaded; returns when its engine is gone, with the bytes that it used.

        Requests that wait are refused; those in flight may finish for `drain_timeout`, unless `force`.

        Raises:
            StillRunning: The engine is gone, but not all that it started.
        """
        self.load_wanted = False
        run = self.run
        if run is None:
            return Bytes(0)
        if self.state is State.READY:
            await run.measure()
        self.queue.refuse(self.unloading(reason))
        run.stop_request = StopRequest(reason, force=force or (run.stop_request is not None and run.stop_request.force))
        self.notify()
        if self.state in (State.WAITING, State.STARTING):
            run.end(self.unloading(reason))
        await run.over.wait()
        if run.engine is not None and run.engine.left:
            left = ", ".join(run.engine.left)
            raise StillRunning(
                f"{self.spec.name} was unloaded, but its engine left something that llmsup could not end: {left}.",
                hint="Look for it with ps or lsof, and end it by hand.",
            )
        return run.gives_back(self.spec.memory) or Bytes(0)

    def evict(self, decision: Decision, *, force: bool = False) -> None:
        """Begin to unload it for want of memory; who comes from now on gets the next engine. The caller has seen in
        this very moment that nobody is served or was let through; `force` is for one that is worked with all the same.
        """
        run = self.run
        if (
            run is None
            or self.state is not State.READY
            or run.stop_request is not None
            or (self.queue.occupied and not force)
        ):
            raise RuntimeError(f"{self!r} can't be evicted")
        for_whom = f"to make room for {decision.model}" if decision.model else "under memory pressure"
        cause = Cause.ROOM if decision.model else Cause.PRESSURE
        run.decision = decision
        run.stop_request = StopRequest(f"{for_whom}: {decision.because}", cause, force=force, patient=not force)
        self.refaults = self.refaults.evicted(trio.current_time(), self.load_seconds or 0.0)
        self.queue.close()
        self.notify()

    def redefine(self, entry: Entry) -> None:
        """Be this from now on. An engine that is wrong for it ends once those it serves are done, however long that
        takes; who waits, and who comes meanwhile, gets the next one.
        """
        self.retiring = ""
        same = self.entry.runs_like(entry)
        unseeing = self.served.found.unseeing if same and self.served.found else ""
        self.entry, self.served = entry, entry.without_projector(unseeing) if unseeing else entry
        if not same:
            self._start_afresh("its settings or its file changed")
        self.queue.set_limit(entry.spec.max_in_flight)
        self.notify()

    def give_up_projector(self, why: str) -> None:
        """Be served without its projector, which an engine has refused, until its file or its settings change or
        somebody asks for a load. `why`: a sentence.
        """
        self.served = self.entry.without_projector(why)

    def _start_afresh(self, reason: str) -> None:
        self.rest, self.failure = Backoff(), None  # what failed before may be what was mended
        if self.entry.refusal:
            self._stop_serving(reason)
            return
        if self.run is None:
            if self.state is State.FAILED:
                self.become(State.UNLOADED, reason)
            return
        self.load_wanted = self.load_wanted or self.spec.pinned
        self.run.stop_request = self.run.stop_request or StopRequest(reason, Cause.CHANGED, patient=True)
        self.queue.close()  # now, not when the supervisor's turn comes: nobody else is served as it was
        if self.state in (State.WAITING, State.STARTING):
            self.run.end(self.unloading(reason))

    def _stop_serving(self, reason: str) -> None:
        """It can't be loaded again; an engine that is ready serves those who are in, also those who wait."""
        self.load_wanted = False
        if self.run is not None and self.state in (State.READY, State.DRAINING):
            self.run.stop_request = self.run.stop_request or StopRequest(reason, Cause.CHANGED, patient=True, last=True)
            return
        self.turn_away()
        if self.run is not None:
            self.run.end(self.unloading(reason))
        elif self.state is State.FAILED:
            self.become(State.UNLOADED, reason)

    def replace(self, run: Run, reason: str) -> None:
        """Have a new engine serve who comes from now on; this one ends once those it serves are done."""
        if self.run is not run or run.verdict is not None:
            return
        self.load_wanted = self.load_wanted or self.spec.pinned
        run.stop_request = run.stop_request or StopRequest(reason, Cause.CHANGED, patient=True)
        self.queue.close()
        self.notify()

    def turn_away(self) -> None:
        """Tell those who wait why it can't be served."""
        self.load_wanted = False
        self.queue.refuse(self._refused())

    async def retire(self, reason: str) -> None:
        """Be unloaded for good once nobody is served or waits, however long that takes."""
        self.load_wanted, self.retiring = False, reason
        await self.until(lambda: not self.queue.busy)
        if (run := self.run) is None:
            return
        run.stop_request = run.stop_request or StopRequest(reason, Cause.CHANGED, patient=True)
        self.queue.close()
        self.notify()
        if self.state in (State.WAITING, State.STARTING):
            run.end(self.unloading(reason))
        await run.over.wait()

    def give_up(self) -> None:
        """End the engine at once, because llmsup stops: those who wait and those in flight are told so."""
        self.load_wanted = False
        self.queue.refuse(stopping())
        if self.run is not None:
            self.run.end(stopping())

    @property
    def stays_loaded(self) -> bool:
        """It is loaded, and nobody has decided that it shall go."""
        run = self.run
        return run is not None and run.loaded_at is not None and run.stop_request is None and run.verdict is None

    @property
    def expires_at(self) -> float:
        """When it will be unloaded if nobody uses it (trio time); `inf` for never."""
        if self.spec.pinned or self.spec.ttl == NEVER or self.run is None or self.run.loaded_at is None:
            return float("inf")
        last = max(self.run.loaded_at, self.queue.last_used or 0.0)
        return max(last + self.spec.ttl, self.queue.kept_until)

    @property
    def retry_in(self) -> Seconds:
        """Seconds until it may be started again; 0 if it may now."""
        return self.rest.left

    def become(self, state: State, reason: str) -> None:
        """Write a transition: for the supervisor. `reason`: words that a person understands without any others."""
        level = {State.FAILED: logging.WARNING, State.WAITING: logging.DEBUG}.get(state, logging.INFO)
        log.log(level, "%s: %s -> %s: %s", self.spec.name, self.state, state, reason)
        self.events.write("model", model=self.spec.name, before=str(self.state), state=str(state), reason=reason)
        self.state, self.reason, self.since = state, reason, trio.current_time()
        self.notify()

    # Its errors...

    def _check(self) -> None:
        if self.entry.refusal:
            raise self._refused()

    def _refused(self) -> ModelFailed:
        return ModelFailed(f"model {self.spec.name} can't be served: {self.entry.refusal}")

    def unloading(self, reason: str) -> Unloading:
        """What those are told who are cut off by an unload."""
        return Unloading(f"{self.spec.name} was unloaded: {reason}.", retry_after=1)

    def with_retry(self, failure: Error) -> Error:
        """The failure as told now: one that waiting may cure has the seconds that are left of the cool-down."""
        return failure.again() if failure.lasting else failure.again(retry_after=max(1.0, self.retry_in))


def stopping() -> ShuttingDown:
    """What those are told who are in when llmsup stops."""
    return ShuttingDown("llmsup is shutting down.")
