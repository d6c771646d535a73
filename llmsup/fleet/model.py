"""One model's supervisor: loads it when somebody wants it, restarts it when it crashes, unloads it when told or idle.

It does not know what an engine is made of (`engine`), who else there is (`fleet`), or what a request is (`gateway`).
"""

from __future__ import annotations

import enum
import logging

import trio
from attrs import define

from ..config.schema import ModelSpec
from ..errors import EngineDied, Error, LoadTimeout, ModelFailed, SetupError, ShuttingDown, Unloading
from ..memory.admission import Admission
from ..process.budget import Cooldown, RestartBudget
from ..process.child import describe_exit
from ..process.logbook import LogBook
from ..process.watched import Watched
from ..units import NEVER, Bytes, Seconds, format_seconds
from .desk import Desk, Ticket
from .life import Engine, Life, Start

log = logging.getLogger(__name__)

HEALTH_EVERY = 10.0
"""Seconds between questions to a ready engine."""

HEALTH_MISSES = 3
"""Missed answers in a row after which an engine counts as hung."""

LOG_TAIL = 20
"""Lines of the engine's log that an error carries."""


class State(enum.StrEnum):
    """unloaded → waiting → starting → ready → draining → stopping → unloaded; or failed, with a time to retry."""

    UNLOADED = "unloaded"
    WAITING = "waiting"  # for memory, or for the pause after a crash
    STARTING = "starting"
    READY = "ready"
    DRAINING = "draining"
    STOPPING = "stopping"
    FAILED = "failed"


@define
class Wish:
    """A wish to have the model unloaded."""

    reason: str
    force: bool


class Model(Watched):
    """One model.

    `run` owns the state and writes every transition. Everybody else reads it, waits for it (`until`), takes a
    ticket, or asks for a load or an unload.

    Attributes:
        spec: What was configured.
        book: What its engines wrote, this one and those before.
        desk: Its requests.
        state: Where it is in its life; `reason` says how it came there, `since` when (trio time).
        life: The current life, from the wish to load it until the engine is gone.
        loaded_at: When it became ready (trio time), while it is loaded.
        load_seconds: How long the last load took, in seconds.
        footprint: What it costs now, in bytes, as last measured.
        crashes: How often an engine of it died or hung since llmsup started.
        failure: Why it is `failed`.
    """

    def __init__(self, spec: ModelSpec, start: Start, admission: Admission, book: LogBook) -> None:
        super().__init__()
        self.spec = spec
        self.book = book
        self.desk = Desk(spec.max_in_flight, self.notify)
        self.state = State.UNLOADED
        self.reason = "nobody asked for it yet"
        self.since = trio.current_time()
        self.life: Life | None = None
        self.loaded_at: float | None = None
        self.load_seconds: float | None = None
        self.footprint: Bytes | None = None
        self.crashes = 0
        self.failure: Error | None = None
        self._start = start
        self._admission = admission
        self._budget = RestartBudget()
        self._cooldown = Cooldown()
        self._not_before = 0.0  # no start before this (trio time): the pause after a crash or a failure
        self._load_wanted = spec.preload
        self._wish: Wish | None = None

    def __repr__(self) -> str:
        parts = [f"{self.spec.name} {self.state}"]
        if self.desk.in_flight:
            parts.append(f"{self.desk.in_flight} in flight")
        if self.desk.waiting:
            parts.append(f"{self.desk.waiting} waiting")
        if self.life and self.life.engine:
            parts.append(f"pid {self.life.engine.pid}")
        return f"<Model {', '.join(parts)}>"

    # What others may ask...

    def enter(self, ttl: Seconds = Seconds(0)) -> Ticket:
        """Take a ticket for one request. `ttl`: keep the model for at least so many seconds after it.

        Raises:
            ModelFailed, LoadTimeout: It could not be started lately; it is tried again after a cool-down.
        """
        if self.state is State.FAILED and self.failure is not None and self.retry_in > 0:
            raise self._with_retry(self.failure)
        return self.desk.enter(Seconds(min(ttl, self.spec.max_ttl)))

    def load(self) -> None:
        """Ask for the model to be loaded, whatever happened before. Take a ticket to wait for it."""
        self._load_wanted = self.state not in (State.WAITING, State.STARTING, State.READY)
        self._not_before = 0.0
        self.notify()

    async def unload(self, reason: str, *, force: bool = False) -> Bytes:
        """Have the model unloaded; returns when its engine is gone, with the bytes that it used.

        Requests that wait are refused; those in flight may finish for `drain_timeout`, unless `force`.
        """
        life = self.life
        self._load_wanted = False
        if life is None:
            return Bytes(0)
        if life.engine is not None and self.state is State.READY:
            self.footprint = await life.engine.footprint() or self.footprint
        self._wish = Wish(reason, force or (self._wish is not None and self._wish.force))
        self.desk.refuse(self._unloading(reason))
        if self.state not in (State.READY, State.DRAINING, State.STOPPING):
            life.end(self._unloading(reason))
        self.notify()
        freed = self.footprint
        await life.over.wait()
        return freed or Bytes(0)

    @property
    def expires_at(self) -> float:
        """When it will be unloaded if nobody uses it (trio time); `inf` for never."""
        if self.spec.pinned or self.spec.ttl == NEVER or self.loaded_at is None:
            return float("inf")
        last = max(self.loaded_at, self.desk.last_used or 0.0)
        return max(last + self.spec.ttl, self.desk.kept_until)

    @property
    def retry_in(self) -> Seconds:
        """Seconds until a request may try to load it again; 0 if one may now."""
        return Seconds(max(0.0, self._not_before - trio.current_time()))

    # Its life...

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Supervise the model until cancelled; one turn is one life of its engine."""
        task_status.started()
        try:
            while True:
                await self.until(lambda: self._load_wanted or self.desk.waiting)
                await self._live()
        finally:
            self.desk.refuse(ShuttingDown("llmsup is shutting down."))

    async def _live(self) -> None:
        life = self.life = Life()
        try:
            with life.scope:
                try:
                    self._become(State.WAITING, "wanted")
                    await self._pause()
                    async with self._admission.admit(self.spec):
                        self._become(State.STARTING, "wanted")
                        async with self._start(self.spec, self.book) as engine:
                            await self._run(life, engine)
                except (
                    SetupError,
                    OSError,
                ) as error:  # there is no engine; errors of a running one are verdicts
                    hint = error.hint if isinstance(error, SetupError) else ""
                    life.end(
                        ModelFailed(f"{self.spec.name} can't be loaded: {error.args[0] if hint else error}", hint=hint)
                    )
                except Error as error:  # not admitted
                    life.end(error)
        finally:
            if isinstance(life.verdict, Unloading) or self._uptime > self._budget.window:
                self._cooldown.forget()
            self.life = self.loaded_at = self.footprint = self._wish = None
            self.desk.forget()
            self._settle(life.verdict)
            life.over.set()

    @property
    def _uptime(self) -> float:
        return 0.0 if self.loaded_at is None else trio.current_time() - self.loaded_at

    async def _pause(self) -> None:
        if self.retry_in:
            self._become(State.WAITING, f"starting again in {format_seconds(self.retry_in)} after a crash")
        with trio.move_on_after(self.retry_in):
            await self.until(lambda: not self.retry_in)  # an operator's `load` cuts it short

    async def _run(self, life: Life, engine: Engine) -> None:
        life.engine = engine
        async with trio.open_nursery() as nursery:
            nursery.start_soon(engine.pump)
            nursery.start_soon(self._watch_exit, life, engine)
            try:
                await self._load(life, engine)
                nursery.start_soon(self._watch_health, life, engine)
                await self._serve(life)
            finally:
                self.desk.close()
                life.end(ShuttingDown("llmsup is shutting down."))  # unless there is a verdict already
                self._become(State.STOPPING, str(life.verdict))
                await engine.pool.close()  # no request outlives the engine; that is how those in flight learn of it

    async def _load(self, life: Life, engine: Engine) -> None:
        """Wait until the engine is ready, and open the desk."""
        began = trio.current_time()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._watch_stall, life, engine)
            with trio.move_on_after(self.spec.start_timeout) as limit:
                await engine.ready()
            if limit.cancelled_caught:
                life.end(self._too_slow(f"not ready after {format_seconds(self.spec.start_timeout)}", engine))
                await trio.sleep_forever()  # until the cancellation that this life's end is
            nursery.cancel_scope.cancel()
        self.load_seconds = trio.current_time() - began
        self.loaded_at = trio.current_time()
        self._load_wanted = False
        self.failure = None
        self._become(State.READY, f"loaded in {format_seconds(self.load_seconds)}, pid {engine.pid}")
        self.desk.open(life)

    async def _serve(self, life: Life) -> None:
        """Stay until somebody wants the model unloaded, or nobody has used it for its ttl; then drain."""
        while self._wish is None:
            await self.until(lambda: self._wish or not self.desk.busy)
            with trio.move_on_at(self.expires_at):
                await self.until(lambda: self._wish or self.desk.busy)
                continue
            if self._idle_too_long:
                self._wish = Wish(f"idle for {format_seconds(self.spec.ttl)} (its ttl)", force=False)
        wish = self._wish
        self.desk.close()
        if self.desk.in_flight and not wish.force:
            self._become(State.DRAINING, f"{wish.reason}; {self.desk.in_flight} in flight may finish")
            with trio.move_on_after(self.spec.drain_timeout):
                await self.until(lambda: not self.desk.in_flight or (self._wish or wish).force)
        life.end(self._unloading(wish.reason))

    @property
    def _idle_too_long(self) -> bool:
        return not self.desk.busy and self._wish is None and trio.current_time() >= self.expires_at

    async def _watch_exit(self, life: Life, engine: Engine) -> None:
        code = await engine.wait()
        how, tail = describe_exit(code), self.book.tail(LOG_TAIL)
        if self.state is State.STARTING and code >= 0:  # its own decision, and it will decide the same again
            words = next((line for line in reversed(tail) if line.strip()), "")
            life.end(
                ModelFailed(
                    f"{self.spec.name} can't be loaded: its engine {how} before it was ready. Its last words: {words}",
                    log_tail=tail,
                )
            )
        else:
            life.end(EngineDied(f"The engine of {self.spec.name} {how}.", log_tail=tail, retry_after=1))

    async def _watch_stall(self, life: Life, engine: Engine) -> None:
        last, quiet = engine.sign_of_life(), trio.current_time()
        while trio.current_time() - quiet < self.spec.stall_timeout:
            await trio.sleep(min(1.0, self.spec.stall_timeout / 4))
            if (sign := engine.sign_of_life()) != last:
                last, quiet = sign, trio.current_time()
        life.end(self._too_slow(f"no sign of progress for {format_seconds(self.spec.stall_timeout)}", engine))

    async def _watch_health(self, life: Life, engine: Engine) -> None:
        misses = 0
        while misses < HEALTH_MISSES:
            self.footprint = await engine.footprint() or self.footprint
            self.notify()
            await trio.sleep(HEALTH_EVERY)
            misses = 0 if await engine.healthy() else misses + 1
        what = f"The engine of {self.spec.name} hangs: {misses} questions about its health in a row got no answer."
        life.end(EngineDied(what, log_tail=self.book.tail(LOG_TAIL), retry_after=1))

    def _settle(self, verdict: Error | None) -> None:
        """Take note of how a life ended, and decide what that means for the next one."""
        match verdict:
            case Unloading() | ShuttingDown() | None:
                self._become(State.UNLOADED, str(verdict or "cancelled"))
            case EngineDied() as death:
                self.crashes += 1
                pause = self._budget.spend()
                if pause is None:
                    why = f"{death.message} It crashed too often to be started again at once."
                    self._fail(ModelFailed(why, log_tail=death.log_tail))
                else:
                    self._not_before = trio.current_time() + pause
                    self._load_wanted = self._load_wanted or self.spec.pinned
                    self._become(State.UNLOADED, death.message)
            case failure:
                self._fail(failure)

    def _fail(self, failure: Error) -> None:
        self.failure = failure
        self._load_wanted = False
        self._not_before = trio.current_time() + self._cooldown.next()
        self._become(State.FAILED, failure.message)
        self.desk.refuse(self._with_retry(failure))

    def _become(self, state: State, reason: str) -> None:
        level = {State.FAILED: logging.WARNING, State.WAITING: logging.DEBUG}.get(state, logging.INFO)
        log.log(level, "%s: %s -> %s: %s", self.spec.name, self.state, state, reason)
        self.state, self.reason, self.since = state, reason, trio.current_time()
        self.notify()

    # Its errors...

    def _unloading(self, reason: str) -> Unloading:
        return Unloading(f"{self.spec.name} was unloaded: {reason}.", retry_after=1)

    def _too_slow(self, what: str, engine: Engine) -> LoadTimeout:
        message = f"{self.spec.name} was given up: {what}; {engine.unready_because}."
        return LoadTimeout(message, log_tail=self.book.tail(LOG_TAIL))

    def _with_retry(self, failure: Error) -> Error:
        """The failure as told now, with the seconds that are left of the cool-down. Each client gets its own:
        an exception that is raised twice collects two tracebacks.
        """
        return type(failure)(
            failure.message, hint=failure.hint, retry_after=max(1.0, self.retry_in), log_tail=failure.log_tail
        )
