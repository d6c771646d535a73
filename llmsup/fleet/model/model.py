"""One model as others see it: what it is, where it is in its life, and what may be asked of it.

It does not know how it is loaded and unloaded (`supervisor`), who else there is (`fleet`), or what a request is.
"""

from __future__ import annotations

import logging

import trio

from ...catalog.entry import Entry
from ...config.schema import ModelSpec
from ...engines.kinds import KINDS
from ...engines.registry import Kinds
from ...errors import Error, ModelFailed, ModelNotLoaded
from ...memory.cost.estimate import Estimate, estimate
from ...process.events import Events
from ...process.logbook import LogBook
from ...process.watched import Watched
from ...units import NEVER, Bytes, Seconds
from .backoff import Backoff
from .demand import Demand
from .history import History
from .intent import Intent, StopRequest
from .outcome import SHUT_DOWN, Failure, Unloaded, as_error
from .queue import Lease, RequestQueue
from .run import Run
from .states import Cause, State

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
        intent: What is wanted of it besides, and why.
        backoff: When it may be started again after something went wrong.
        starved: Its last load died for want of memory, and is being tried once more.
        ports_tried: How many ports other programs took from its engine while it was being started.
        demand: How it is asked for.
        history: What became of it so far.
    """

    def __init__(self, entry: Entry, book: LogBook, events: Events | None = None, kinds: Kinds = KINDS) -> None:
        """`events` gets its loads, unloads and transitions; `kinds` are those that its engine may be of."""
        super().__init__()
        self.entry = self.served = entry
        self.book = book
        self.events = events or Events()
        self._kinds = kinds
        self.history = History()
        self.demand = Demand()
        self.queue = RequestQueue(entry.spec.max_in_flight, self._requests_changed, self.history.began)
        self.state = State.UNLOADED
        self.reason = "nobody asked for it yet"
        self.since = trio.current_time()
        self.run: Run | None = None
        self.load_seconds: float | None = None
        self.crashes = 0
        self.failure: Failure | None = None
        self.backoff = Backoff()
        self._needs: tuple[Entry | None, Estimate | None] = (None, None)  # computed once for an entry
        self.intent = Intent.of_new(preload=entry.preloads)
        self.starved = False
        self.ports_tried = 0

    def _requests_changed(self) -> None:
        """One more or one less among several who are served is nothing that anybody decides about memory anew for."""
        self.notify(minor=self.queue.in_flight > 1 and not self.queue.waiting)

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
        if self._failed_lately is not None:
            raise self.told_of(self._failed_lately)
        now = trio.current_time()
        self.demand.asked(now, self.load_seconds)
        return self.queue.enter(Seconds(min(ttl, self.spec.max_ttl)), client, now)

    def look(self) -> Lease:
        """Take a ticket for one who only looks: nothing is loaded for it, nor kept loaded.

        Raises:
            ModelNotLoaded: There is no engine that could be asked.
        """
        lease = self.queue.look()
        if lease is None:
            raise ModelNotLoaded(
                f"{self.spec.name} is not loaded (it is {self.state}), and nothing is loaded for a look.",
                hint="Ask with autoload=true in the query, or load it: POST /models/load.",
                retry_after=1 if self.state in (State.STARTING, State.WAITING) else None,
                lasting=self.state not in (State.STARTING, State.WAITING),
            )
        return lease

    @property
    def would_wait(self) -> bool:
        """Whether a request that comes now has to wait, rather than being served or refused at once."""
        return self.queue.would_wait and not self.entry.refusal and self._failed_lately is None

    def load(self, *, no_eviction: bool = False) -> None:
        """Ask for the model to be loaded, whatever happened before; `no_eviction`: only if nobody has to go for it. Who
        wants to wait for it enters.

        Raises:
            ModelFailed: It can't be served as it is.
        """
        self._check()
        if self.run is None and not self.intent.load and not no_eviction:
            self.served = self.entry  # what an engine refused once, another may take
        self.intent = self.intent.load_asked(no_eviction=no_eviction, loaded=self.stays_loaded)
        self.backoff.forgo()
        self.notify()

    async def unload(self, reason: str, *, force: bool = False) -> Bytes:
        """Have the model unloaded; returns when its engine is gone, with the bytes that it used.

        Requests that wait are refused; those in flight may finish for `drain_timeout`, unless `force`.

        Raises:
            StillRunning: The engine is gone, but not all that it started.
        """
        self.intent = self.intent.load_over()
        run = self.run
        if run is None:
            return Bytes(0)
        if self.state is State.READY:
            await run.measure()
        self.queue.refuse(as_error(self.unloaded(reason, Cause.ASKED)))
        if self.run is run:  # not over while it was measured
            self.intent = self.intent.unload_asked(reason, force=force)
            self.notify()
            self._end_if_not_ready(reason, Cause.ASKED)
        await run.over.wait()
        run.check_nothing_is_left(self.spec.name)
        return run.gives_back(self.spec.memory) or Bytes(0)

    def stop(self, stop: StopRequest) -> None:
        """Have the run end, which there must be. Nobody else is served by it, from now on rather than from when the
        supervisor's turn comes.
        """
        self.intent = self.intent.stopping(stop)
        self.queue.close()
        self.notify()
        self._end_if_not_ready(stop.reason, stop.cause)

    def _end_if_not_ready(self, reason: str, cause: Cause) -> None:
        if self.run is not None and self.state in (State.WAITING, State.STARTING):
            self.run.end(self.unloaded(reason, cause))

    def give_up_projector(self, why: str) -> None:
        """Be served without its projector, which an engine has refused, until its file or its settings change or
        somebody asks for a load. `why`: a sentence.
        """
        self.served = self.entry.without_projector(why)

    def replace(self, run: Run, reason: str) -> None:
        """Have a new engine serve who comes from now on; this one ends once those it serves are done."""
        if self.run is run and run.outcome is None:
            self.intent = self.intent.back(pinned=self.spec.pinned)
            self.stop(StopRequest(reason, Cause.CHANGED, patient=True))

    def turn_away(self) -> None:
        """Tell those who wait why it can't be served."""
        self.intent = self.intent.load_over()
        self.queue.refuse(self._refused())

    def give_up(self) -> None:
        """End the engine at once, because llmsup stops: those who wait and those in flight are told so."""
        self.intent = self.intent.load_over()
        self.queue.refuse(as_error(SHUT_DOWN))
        if self.run is not None:
            self.run.end(SHUT_DOWN)

    @property
    def wanted(self) -> bool:
        """Somebody wants it loaded, and it isn't: who asked for that, or requests that wait."""
        return bool(self.intent.load or self.queue.waiting)

    @property
    def stays_loaded(self) -> bool:
        """It is loaded, and nobody has decided that it shall go."""
        run = self.run
        return run is not None and run.loaded_at is not None and self.intent.stop is None and run.outcome is None

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
        return self.backoff.left

    def become(self, state: State, reason: str) -> None:
        """Write a transition: for the supervisor. `reason`: words that a person understands without any others."""
        level = {State.FAILED: logging.WARNING, State.WAITING: logging.DEBUG}.get(state, logging.INFO)
        log.log(level, "%s: %s -> %s: %s", self.spec.name, self.state, state, reason)
        self.events.write("model", model=self.spec.name, before=str(self.state), state=str(state), reason=reason)
        self.state, self.reason, self.since = state, reason, trio.current_time()
        self.notify()

    # Its errors...

    @property
    def _failed_lately(self) -> Failure | None:
        return self.failure if self.state is State.FAILED and self.retry_in > 0 else None

    def _check(self) -> None:
        if self.entry.refusal:
            raise self._refused()

    def _refused(self) -> ModelFailed:
        return ModelFailed(f"model {self.spec.name} can't be served: {self.entry.refusal}")

    def told_of(self, failure: Failure) -> Error:
        """A failure as a client is told of it now: it may ask again after what is left of the cool-down."""
        return as_error(failure, retry_in=max(1.0, self.retry_in))

    def unloaded(self, reason: str, cause: Cause) -> Unloaded:
        """How a run ends that is wanted gone."""
        return Unloaded(f"{self.spec.name} was unloaded: {reason}.", cause=cause)
