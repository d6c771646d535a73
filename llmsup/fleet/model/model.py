"""One model as the rest of llmsup sees it: what it is, what state it is in, and what can be asked of it.

Loading and unloading it is up to `supervisor`.
"""

from __future__ import annotations

import logging

import trio

from ...catalog.described import stated_context
from ...catalog.entry import Entry
from ...config.schema import ModelSpec
from ...engines.connection import Disconnected, Unreachable
from ...engines.kinds import KINDS
from ...engines.registry import Kinds
from ...errors import EngineBadAnswer, EngineDied, Error, ModelFailed, ModelNotLoaded
from ...memory.cost.estimate import Estimate, estimate
from ...memory.cost.load_mode import Measured
from ...process.clock import clock
from ...process.logbook import LogBook
from ...process.ring import Events
from ...process.watched import Watched
from ...units import NEVER, Bytes, Seconds
from ..backend import BackendRun, Trail
from .backoff import Backoff
from .demand import Demand
from .history import History
from .intent import Intent, StopRequest
from .outcome import SHUT_DOWN, Failure, Unloaded, as_error
from .queue import Lease, RequestQueue
from .run import Run
from .states import Cause, State

log = logging.getLogger(__name__)

SOCKET_GONE = "another program removed its socket, so it can't be reached any more"

OUTCOME_PATIENCE = 5.0
"""Seconds to wait for the reason when an engine hangs up: the broken connection is seen before the exit is, and up to
a second passes until its last lines are read."""


class Model(Watched):
    """One model.

    Its supervisor owns the state and writes every transition. Everyone else reads it, waits for it (`until`), takes a
    lease, or asks for a load or an unload.

    Attributes:
        entry: Which model it is, and with what settings.
        served: The entry as engines get it: without a projector that one of them has refused.
        book: The log of its engines, this one and earlier ones.
        queue: Its requests.
        state: Its state; `reason` says how it got there, `since` when (trio time).
        run: The current run, from the moment a load is wanted until the engine is gone; None if there is none.
        load_seconds: How long its last load took, in seconds, in this run of llmsup or an earlier one, without what was
            prepared after it (`hooks.after_ready`); None if it was never loaded with this file, these settings and this
            engine.
        last_load: How fast that was and how it was done; None if there was none since llmsup started, or if the size of
            its file isn't known.
        crashes: How often one of its engines died or hung since llmsup started.
        failure: Why it is `failed`.
        intent: What is wanted of it apart from serving requests, and why.
        backoff: When it may be started again after something went wrong.
        oom_retry: Its last load ran out of memory, and is being retried once.
        ports_tried: How many ports other programs took from its engine while it was being started.
        demand: How often it is asked for.
        history: What has happened to it so far.
        wake_seconds: How long it last took to be woken; None if it never was since llmsup started.
        sleepless: Its engine failed to fall asleep or to wake, so it isn't put to sleep until it is redefined.
        held: No load may begin, though one may be wanted: llmsup is paused.
        wanted_context: The most context that a client has asked for, in tokens; 0 if none has.
    """

    def __init__(self, entry: Entry, book: LogBook, events: Events | None = None, kinds: Kinds = KINDS) -> None:
        """`events` receives its loads, unloads and transitions; `kinds` are the kinds of engine it may run on."""
        super().__init__()
        self.entry = self.served = entry
        self._now = clock()
        self.book = book
        self.events = events or Events()
        self._kinds = kinds
        self.history = History()
        self.held = False
        self.wanted_context = 0
        self.demand = Demand()
        self.queue = RequestQueue(entry.spec.max_in_flight, self._requests_changed, self.history.began)
        self.state = State.UNLOADED
        self.reason = "not requested yet"
        self.since = trio.current_time()
        self.run: Run | None = None
        self.load_seconds: float | None = None
        self.last_load: Measured | None = None
        self.wake_seconds: float | None = None
        self.sleepless = False
        self.crashes = 0
        self.failure: Failure | None = None
        self.backoff = Backoff()
        self._estimate: tuple[Entry | None, Estimate | None] = (None, None)  # computed once for an entry
        self.intent = Intent.of_new(preload=entry.preloads)
        self.oom_retry = False
        self.ports_tried = 0

    def _requests_changed(self) -> None:
        """One request more or less among several in flight doesn't change any decision about memory."""
        if self._changed is not None or self._lent:  # most often nobody waits, and each request calls this twice
            self.notify(minor=self.queue.in_flight > 1 and not self.queue.waiting)

    @property
    def estimate(self) -> Estimate | None:
        """Its estimated size in memory; None if it has no file, or one whose header doesn't say."""
        entry, estimated = self._estimate
        if entry is not self.served:
            estimated = estimate(self.spec, self.served.found, self._kinds) if self.served.found else None
            self._estimate = (self.served, estimated)
        return estimated

    @property
    def context(self) -> int | None:
        """What one request can have, in tokens; None if that isn't known."""
        estimated = self.estimate
        return (estimated.context.n_ctx_seq if estimated else stated_context(self.spec)) or None

    def note_wanted_context(self, tokens: int) -> None:
        """A client asked for so much context. Nothing is loaded anew for that: it is remembered for `llmsup why`, and
        logged once where it is more than requests can have.
        """
        if tokens <= self.wanted_context:
            return
        self.wanted_context = tokens
        if self.context is not None and tokens > self.context:
            text = "%s: a client asked for a context of %d tokens, and a request can have %d: `ctx_size` sets that"
            log.info(text, self.spec.name, tokens, self.context)

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

    # Requests and operators...

    places = ""
    spreads = False  # as `Backend` has them

    def enter(self, ttl: Seconds = Seconds(0), client: str = "", trail: Trail | None = None) -> Lease:  # noqa: ARG002 -- `trail`: it is in one place
        """Take a lease for one request of a client. `ttl`: seconds for which to keep the model afterwards, at least.

        Raises:
            ModelFailed: It can't be served as configured.
            Error: Its last start failed, for this reason; it will be tried again after a cool-down.
        """
        self.check()
        if self.state is State.FAILED and (failure := self._failed_lately) is not None:
            raise self.error_for(failure)
        now = self._now()
        self.demand.asked(now, self.load_seconds)
        if ttl:
            ttl = Seconds(min(ttl, self.spec.max_ttl))
        return self.queue.enter(ttl, client, now)

    def keep(self, seconds: Seconds, *, by_hand: bool = False) -> None:
        """Have this run unloaded after it has been idle for so long instead of its `ttl`; 0 is as soon as it is idle.
        A client can't ask for more than `max_ttl`, an operator can (`by_hand`). Counts until the run ends or the next
        call; `pinned` stays, and so does what other requests have asked for with `enter`.
        """
        if self.run is not None:
            self.run.kept = seconds if by_hand else Seconds(min(seconds, self.spec.max_ttl))
            self.run.kept_by_hand = by_hand
            self.notify()

    def pin(self, pin: bool | None) -> None:
        """Pin it or unpin it, whatever the config says, until an operator unloads it; None: as the config says."""
        self.intent = self.intent.pinned(None if pin is self.spec.pinned else pin)
        self.notify()

    @property
    def pinned(self) -> bool:
        """Whether it is neither evicted nor unloaded for being idle: by an operator's word, else by the config's."""
        return self.spec.pinned if self.intent.pin is None else self.intent.pin

    def look(self) -> Lease:
        """Take a lease for a read-only request: nothing is loaded for it, nor kept loaded.

        Raises:
            ModelNotLoaded: There is no engine to ask.
        """
        lease = self.queue.look()
        if lease is None:
            raise ModelNotLoaded(
                f"{self.spec.name} is not loaded (it is {self.state}), and this request doesn't load it.",
                hint="Ask with autoload=true in the query, or load it: POST /models/load.",
                retry_after=1 if self.state in (State.STARTING, State.WAITING) else None,
                lasting=self.state not in (State.STARTING, State.WAITING),
            )
        return lease

    @property
    def would_wait(self) -> bool:
        """Whether a request that comes now would have to wait, rather than be served or refused at once."""
        return self.queue.would_wait and not self.entry.refusal and self._failed_lately is None

    def load(self, *, no_eviction: bool = False) -> None:
        """Ask for the model to be loaded, even if it has just failed; doesn't wait (`enter` does).

        Args:
            no_eviction: Load it only if no other model has to be evicted for it.

        Raises:
            ModelFailed: It can't be served as configured.
        """
        self.check()
        if self.run is None and not self.intent.load and not no_eviction:
            self.served = self.entry  # a projector that one engine refused may be fine with the next
        self.intent = self.intent.load_asked(no_eviction=no_eviction, loaded=self.stays_loaded)
        self.backoff.forgo()
        self.notify()

    async def unload(self, reason: str, *, force: bool = False) -> Bytes:
        """Have the model unloaded; returns, once its engine is gone, the bytes that it used.

        Waiting requests are refused; those in flight get `drain_timeout` to finish, unless `force`. What an
        operator has pinned is not pinned any more.

        Raises:
            StillRunning: The engine is gone, but some process that it started is not.
        """
        self.intent = self.intent.load_over().pinned(None)
        run = self.run
        if run is None:
            return Bytes(0)
        if self.state is State.READY:
            await run.measure()
        self.queue.refuse(as_error(self.unloaded(reason, Cause.ASKED)))
        if self.run is run:  # it didn't end while it was being measured
            self.intent = self.intent.unload_asked(reason, force=force)
            self.notify()
            self._end_if_not_ready(reason, Cause.ASKED)
        await run.over.wait()
        run.check_nothing_is_left(self.spec.name)
        return run.gives_back(self.spec.memory) or Bytes(0)

    def stop(self, stop: StopRequest) -> None:
        """End the current run, of which there must be one. It takes no new request from this moment on, not only from
        when the supervisor gets its turn.
        """
        self.intent = self.intent.stopping(stop)
        self.queue.close()
        self.notify()
        self._end_if_not_ready(stop.reason, stop.cause)

    def _end_if_not_ready(self, reason: str, cause: Cause) -> None:
        if self.run is not None and self.state in (State.WAITING, State.STARTING):
            self.run.end(self.unloaded(reason, cause))

    def give_up_projector(self, reason: str) -> None:
        """Serve it without its projector, which an engine has refused, until its file or its settings change or a load
        is asked for. `reason`: a sentence.
        """
        self.served = self.entry.without_projector(reason)

    def replace(self, run: Run, reason: str) -> None:
        """Serve new requests with a new engine; this one ends once its requests in flight are done."""
        if self.run is run and run.outcome is None:
            self.intent = self.intent.back(pinned=self.pinned)
            self.stop(StopRequest(reason, Cause.CHANGED, patient=True))

    async def explain(self, run: BackendRun, gone: Disconnected) -> Error:
        """Why its engine closed a connection: see `Backend.explain`."""
        if isinstance(gone, Unreachable):
            if self.run is not None and self.run is run:
                self.replace(self.run, SOCKET_GONE)  # so that the next one to serve is another
            return EngineDied(f"The engine of {self.spec.name} can't be reached: its socket was removed.")
        return await run.ended_because(OUTCOME_PATIENCE) or EngineBadAnswer(
            f"The engine of {self.spec.name} lives, but hung up {gone}."
        )

    def hold(self, error: Error) -> None:
        """Begin no load until `let_go`; waiting requests get this error. What is loaded stays: see `unload`."""
        self.held = True
        self.intent = self.intent.load_over()
        self.queue.refuse(error)

    def let_go(self) -> None:
        """Load it again if it is wanted."""
        self.held = False
        self.notify()

    def turn_away(self) -> None:
        """Refuse the waiting requests, with the reason why it can't be served."""
        self.intent = self.intent.load_over()
        self.queue.refuse(self._refused())

    def give_up(self) -> None:
        """End the engine at once, because llmsup stops; requests that wait or are in flight get that as their error."""
        self.intent = self.intent.load_over()
        self.queue.refuse(as_error(SHUT_DOWN))
        if self.run is not None:
            self.run.end(SHUT_DOWN)

    @property
    def wanted(self) -> bool:
        """Whether it should be loaded: a load was asked for, or requests wait."""
        return not self.held and bool(self.intent.load or self.queue.waiting)

    @property
    def stays_loaded(self) -> bool:
        """It is loaded, and is not about to be unloaded."""
        run = self.run
        return (
            run is not None
            and run.loaded_at is not None
            and not run.asleep
            and self.intent.stop is None
            and run.outcome is None
        )

    @property
    def expires_at(self) -> float:
        """When it will be unloaded or put to sleep if it isn't used, or unloaded if it sleeps (trio time); `inf` for
        never.
        """
        if self.pinned or self.ttl == NEVER or self.run is None or self.run.loaded_at is None:
            return float("inf")
        last = max(self.run.loaded_at, self.run.turned_at, self.queue.last_used or 0.0)
        return max(last + self.ttl, self.queue.kept_until)

    @property
    def ttl(self) -> Seconds:
        """For how many seconds it may be idle: what clients asked for with `keep`, else as configured."""
        kept = self.run.kept if self.run is not None else None
        return self.spec.ttl if kept is None else kept

    @property
    def retry_in(self) -> Seconds:
        """Seconds until it may be started again; 0 if it may be now."""
        return self.backoff.left

    def become(self, state: State, reason: str) -> None:
        """Enter a state; only the supervisor may. `reason`: words that a person understands without context."""
        level = {State.FAILED: logging.WARNING, State.WAITING: logging.DEBUG}.get(state, logging.INFO)
        log.log(level, "%s: %s -> %s: %s", self.spec.name, self.state, state, reason)
        self.events.write("model", model=self.spec.name, before=str(self.state), state=str(state), reason=reason)
        self.state, self.reason, self.since = state, reason, trio.current_time()
        self.notify()

    # Errors...

    @property
    def _failed_lately(self) -> Failure | None:
        return self.failure if self.state is State.FAILED and self.retry_in > 0 else None

    def check(self) -> None:
        """Raises ModelFailed: it can't be served as configured."""
        if self.entry.refusal:
            raise self._refused()

    def _refused(self) -> ModelFailed:
        return ModelFailed(f"model {self.spec.name} can't be served: {self.entry.refusal}")

    def error_for(self, failure: Failure) -> Error:
        """A failure as a client gets it now: with the rest of the cool-down as the time to retry after."""
        return as_error(failure, retry_in=max(1.0, self.retry_in))

    def unloaded(self, reason: str, cause: Cause) -> Unloaded:
        """The outcome of a run that was ended on purpose."""
        return Unloaded(f"{self.spec.name} was unloaded: {reason}.", cause=cause)
