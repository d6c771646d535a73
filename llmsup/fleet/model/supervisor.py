"""One model's supervisor: loads it when it is wanted, restarts it after a crash, unloads it when told to or when idle.

It knows one model only: what has to make room for it is decided behind `Admission`.
"""

from __future__ import annotations

import trio

from ...errors import Error
from ...process.shortage import explain, is_ours
from ...units import NEVER, format_seconds
from .aftermath import settle
from .hanging import watch_health
from .hooks import after_ready, before_stop, while_idle
from .intent import StopRequest
from .model import Model
from .outcome import SHUT_DOWN, FailedToStart, Outcome, as_error, not_started
from .permission import Admission, Grant
from .run import Engine, Run, Start
from .sleeping import Sleeper
from .states import Cause, State
from .watchdogs import until_ready, watch_exit, watch_footprint, watch_socket


class Supervisor:
    """The one task that owns a model's state."""

    def __init__(self, model: Model, start: Start, admission: Admission) -> None:
        self._model = model
        self._start = start
        self._admission = admission

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Supervise the model until cancelled; each turn of the loop is one run."""
        task_status.started()
        try:
            while True:
                await self._model.until(lambda: self._model.wanted)
                if self._model.entry.refusal:  # a redefinition brought it while requests waited for the last run to end
                    self._model.turn_away()
                else:
                    await self._run_once()
        finally:
            self._model.queue.refuse(as_error(SHUT_DOWN))

    async def _run_once(self) -> None:
        run = self._model.run = Run(self._model.book.written)
        self._model.become(State.WAITING, self._wanted())
        try:
            with run.scope:
                try:
                    await self._pause()
                    async with self._admission.admit(self._model) as grant:
                        self._model.become(State.STARTING, f"there is memory for it, and {self._wanted()}")
                        async with self._start(self._model.served.loaded_by(run.plan.mode), self._model.book) as engine:
                            await self._run(run, engine, grant)
                except Error as error:  # not admitted, or not started: a running engine doesn't raise, it ends
                    run.end(not_started(error))
                except OSError as error:
                    run.end(self._not_spawned(error))
        finally:
            self._model.run = None
            self._model.queue.forget()
            settle(self._model, run, run.outcome or SHUT_DOWN)
            run.over.set()

    def _not_spawned(self, error: OSError) -> Outcome:
        name = self._model.spec.name
        if is_ours(error):
            return not_started(explain(error, f"start the engine of {name}"))
        return FailedToStart(f"model {name}: its engine can't be started: {error}.")

    def _wanted(self) -> str:
        """Why it is loaded."""
        model = self._model
        if waiting := model.queue.waiting:
            return "a request waits for it" if waiting == 1 else f"{waiting} requests wait for it"
        if model.intent.no_eviction:
            return "it is preloaded (preload)"
        if model.oom_retry or model.ports_tried:
            return "this is another try"
        return "it is pinned" if model.pinned else "its load was asked for"

    async def _pause(self) -> None:
        if self._model.retry_in:
            pause, after = format_seconds(self._model.retry_in), self._model.backoff.after
            self._model.become(State.WAITING, f"starting again in {pause} after {after}")
        with trio.move_on_after(self._model.retry_in):
            await self._model.until(lambda: not self._model.retry_in)  # an operator's `load` cuts it short

    async def _run(self, run: Run, engine: Engine, grant: Grant) -> None:
        run.engine, model = engine, self._model
        engine.meter.file, engine.meter.private = run.plan.mapped, run.plan.private
        async with trio.open_nursery() as nursery:
            nursery.start_soon(engine.pump)
            nursery.start_soon(engine.pool.run)
            nursery.start_soon(watch_exit, run, engine, model.spec, model.book, grant.out_of_memory)
            nursery.start_soon(watch_footprint, run, model, grant)
            try:
                began = trio.current_time()
                await until_ready(run, engine, model.spec, model.book)
                model.load_seconds = trio.current_time() - began  # what is prepared then says nothing about the disk
                await after_ready(engine, model.spec.name)
                run.loaded_at = trio.current_time()
                model.failure, model.oom_retry, model.ports_tried = None, False, 0
                model.intent = model.intent.load_over()
                grant.ready()
                model.last_load = run.load
                rate = f" at {run.load}" if run.load else ""
                loaded = f"loaded in {format_seconds(model.load_seconds)}{rate}, pid {engine.pid}"
                model.become(State.READY, loaded)
                model.history.note("load", loaded)
                model.events.write("load", model=model.spec.name, seconds=round(model.load_seconds, 3))
                nursery.start_soon(watch_health, run, engine, model.spec, model.book)
                nursery.start_soon(watch_socket, run, engine, model)
                nursery.start_soon(while_idle, model, engine)
                model.queue.open(run)
                stop = await self._until_over(Sleeper(model, run, engine, grant, self._admission))
                if not run.asleep:
                    await before_stop(model, run, engine)
                stop = model.intent.stop or stop  # an unload may have been asked for in the meantime
                run.end(model.unloaded(stop.reason, stop.cause))
            finally:
                model.queue.close()
                run.end(SHUT_DOWN)  # unless it has ended already
                model.become(State.STOPPING, str(run.outcome))
                grant.stopping()
                await engine.pool.close()  # no request outlives the engine; those in flight learn of it this way

    async def _until_over(self, sleeper: Sleeper) -> StopRequest:
        """Serve until the engine is to be stopped, and not only put to sleep; its queue is closed then."""
        model = self._model
        while True:
            stop = await self._until_unwanted()
            model.queue.close()
            stop = await self._drain(stop)
            model.intent = model.intent.stopping(stop)
            if asked := await sleeper.instead(model.intent.stop or stop):
                model.intent = model.intent.stopping(asked)
                return asked

    async def _until_unwanted(self) -> StopRequest:
        """Wait until the model is to be unloaded, or has been idle for its ttl."""
        model = self._model
        while True:
            await model.until(lambda: self._due or not model.queue.busy)
            if stop := self._due:
                return stop
            await self._while_idle(model.expires_at)
            if not model.queue.busy and not model.intent.stop and trio.current_time() >= model.expires_at:
                return StopRequest(_idle(model), Cause.IDLE)

    @property
    def _due(self) -> StopRequest | None:
        """The request to stop, unless waiting requests are to be served first."""
        stop = self._model.intent.stop
        return None if stop is None or (stop.last and self._model.queue.busy) else stop

    async def _while_idle(self, expires_at: float) -> None:
        model = self._model
        with trio.move_on_at(expires_at):  # which a reload may change
            await model.until(lambda: model.intent.stop or model.queue.busy or model.expires_at != expires_at)

    async def _drain(self, stop: StopRequest) -> StopRequest:
        """Let the requests in flight finish, unless the stop is forced; returns the stop that applies in the end."""
        model = self._model
        while model.queue.in_flight and not stop.force:
            model.become(State.DRAINING, f"{stop.reason}; {model.queue.in_flight} in flight may finish")
            with trio.move_on_after(NEVER if stop.patient else model.spec.drain_timeout) as patience:
                await self._until_drained(model.intent.stop)
            stop = model.intent.stop or stop  # a later request to stop may be less patient
            if patience.cancelled_caught:
                break
        return stop

    async def _until_drained(self, asked: StopRequest | None) -> None:
        await self._model.until(lambda: not self._model.queue.in_flight or self._model.intent.stop is not asked)


def _idle(model: Model) -> str:
    """Word the end of an idle model's time."""
    if model.run is None or model.run.kept is None:
        return f"idle for {format_seconds(model.ttl)} (its ttl)"
    if model.run.kept_by_hand:
        return f"idle for {format_seconds(model.ttl)} (the ttl that was asked for)"
    if not model.ttl:
        return "idle, and a client's last word was not to keep it (keep_alive 0)"
    return f"idle for {format_seconds(model.ttl)} (keep_alive of a client)"
