"""One model's supervisor: loads it when it is wanted, restarts it when it crashes, unloads it when told or idle.

It does not know what an engine is made of (`engine`), who else there is (`fleet`), or what a request is (`gateway`).
"""

from __future__ import annotations

import logging

import trio

from ..config.schema import ModelSpec
from ..errors import EngineDied, Error, ModelFailed, SetupError, ShuttingDown, Unloading
from ..memory.admission import Admission
from ..process.budget import Cooldown, RestartBudget
from ..process.logbook import LogBook
from ..process.watched import Watched
from ..units import NEVER, Bytes, Seconds, format_seconds
from .desk import Desk, Ticket
from .life import Engine, Life, Start
from .state import State, Wish
from .watch import until_ready, watch_exit, watch_health

log = logging.getLogger(__name__)


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
        load_seconds: How long the last load took, in seconds.
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
        self.load_seconds: float | None = None
        self.crashes = 0
        self.failure: Error | None = None
        self._start = start
        self._admission = admission
        self._budget = RestartBudget()
        self._cooldown = Cooldown()
        self._not_before = 0.0  # no start before this (trio time): the pause after a crash or a failure
        self._load_wanted = spec.preload

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
            Error: It could not be started lately, for this reason; it is tried again after a cool-down.
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
        self._load_wanted = False
        life = self.life
        if life is None:
            return Bytes(0)
        if self.state is State.READY:
            await life.measure()
        self.desk.refuse(self._unloading(reason))
        life.wish = Wish(reason, force or (life.wish is not None and life.wish.force))
        self.notify()
        if self.state in (State.WAITING, State.STARTING):
            life.end(self._unloading(reason))
        await life.over.wait()
        return life.footprint or Bytes(0)

    def give_up(self) -> None:
        """End the engine at once, because llmsup stops: those who wait and those in flight are told so."""
        self._load_wanted = False
        self.desk.refuse(_stopping())
        if self.life is not None:
            self.life.end(_stopping())

    @property
    def expires_at(self) -> float:
        """When it will be unloaded if nobody uses it (trio time); `inf` for never."""
        if self.spec.pinned or self.spec.ttl == NEVER or self.life is None or self.life.loaded_at is None:
            return float("inf")
        last = max(self.life.loaded_at, self.desk.last_used or 0.0)
        return max(last + self.spec.ttl, self.desk.kept_until)

    @property
    def retry_in(self) -> Seconds:
        """Seconds until it may be started again; 0 if it may now."""
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
            self.desk.refuse(_stopping())

    async def _live(self) -> None:
        life = self.life = Life()
        self._become(State.WAITING, "wanted")
        try:
            with life.scope:
                try:
                    await self._pause()
                    async with self._admission.admit(self.spec):
                        self._become(State.STARTING, "wanted")
                        async with self._start(self.spec, self.book) as engine:
                            await self._run(life, engine)
                except SetupError as error:  # there is no engine; a running one's errors are verdicts
                    life.end(ModelFailed(error.message, hint=error.hint))
                except OSError as error:
                    life.end(ModelFailed(f"model {self.spec.name}: its engine can't be started: {error}."))
                except Error as error:  # not admitted
                    life.end(error)
        finally:
            self.life = None
            self.desk.forget()
            self._settle(life)
            life.over.set()

    async def _pause(self) -> None:
        if self.retry_in:
            self._become(State.WAITING, f"starting again in {format_seconds(self.retry_in)} after a crash")
        with trio.move_on_after(self.retry_in):
            await self.until(lambda: not self.retry_in)  # an operator's `load` cuts it short

    async def _run(self, life: Life, engine: Engine) -> None:
        life.engine = engine
        async with trio.open_nursery() as nursery:
            nursery.start_soon(engine.pump)
            nursery.start_soon(watch_exit, life, engine, self.spec, self.book)
            try:
                began = trio.current_time()
                await until_ready(life, engine, self.spec, self.book)
                life.loaded_at = trio.current_time()
                self.load_seconds = life.loaded_at - began
                self.failure, self._load_wanted = None, False
                self._become(State.READY, f"loaded in {format_seconds(self.load_seconds)}, pid {engine.pid}")
                nursery.start_soon(watch_health, life, engine, self.spec, self.book)
                self.desk.open(life)
                wish = await self._until_unwanted(life)
                self.desk.close()
                await self._drain(life, wish)
                life.end(self._unloading(wish.reason))
            finally:
                self.desk.close()
                life.end(_stopping())  # unless there is a verdict already
                self._become(State.STOPPING, str(life.verdict))
                await engine.pool.close()  # no request outlives the engine; that is how those in flight learn of it

    async def _until_unwanted(self, life: Life) -> Wish:
        """Stay until somebody wants the model unloaded, or nobody has used it for its ttl."""
        while True:
            await self.until(lambda: life.wish or not self.desk.busy)
            if life.wish:
                return life.wish
            with trio.move_on_at(self.expires_at):
                await self.until(lambda: life.wish or self.desk.busy)
            if not self.desk.busy and not life.wish and trio.current_time() >= self.expires_at:
                return Wish(f"idle for {format_seconds(self.spec.ttl)} (its ttl)", force=False)

    async def _drain(self, life: Life, wish: Wish) -> None:
        if self.desk.in_flight and not wish.force:
            self._become(State.DRAINING, f"{wish.reason}; {self.desk.in_flight} in flight may finish")
            with trio.move_on_after(self.spec.drain_timeout):
                await self.until(lambda: not self.desk.in_flight or (life.wish and life.wish.force))

    def _settle(self, life: Life) -> None:
        """Take note of how a life ended, and decide what that means for the next one."""
        if life.uptime > self._budget.window:
            self._cooldown.forget()
        match life.verdict:
            case Unloading() | ShuttingDown() | None:
                self._become(State.UNLOADED, str(life.verdict or "cancelled"))
            case EngineDied() as death:
                self.crashes += 1
                pause = self._budget.spend()
                if pause is None:
                    why = f"{death.message} It crashed too often to be started again at once."
                    self._fail(ModelFailed(why, log_tail=death.log_tail))
                else:
                    self._not_before = trio.current_time() + pause
                    self._load_wanted = self.spec.pinned
                    self._become(State.UNLOADED, death.message)
            case failure:
                self._fail(failure)

    def _fail(self, failure: Error) -> None:
        self.failure, self._load_wanted = failure, False
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

    def _with_retry(self, failure: Error) -> Error:
        """The failure as told now, with the seconds that are left of the cool-down."""
        return failure.again(retry_after=max(1.0, self.retry_in))


def _stopping() -> ShuttingDown:
    return ShuttingDown("llmsup is shutting down.")
