"""One model's supervisor: loads it when it is wanted, restarts it when it crashes, unloads it when told or idle.

It does not know what an engine is made of (`engine`), who else there is (`fleet`), or what a request is (`gateway`).
"""

from __future__ import annotations

import trio

from ...engines import ports
from ...errors import (
    EngineDied,
    Error,
    ModelFailed,
    ModelTooLarge,
    OutOfMemory,
    OutOfResources,
    PortTaken,
    ProjectorRefused,
    SetupError,
    ShuttingDown,
    Unloading,
)
from ...process.shortage import explain, is_ours
from ...units import NEVER, format_seconds
from .admission import Admission
from .hanging import watch_health
from .hooks import after_ready, before_stop
from .model import Model, stopping
from .run import Engine, Run, Start
from .states import Cause, State, StopRequest
from .watchdogs import until_ready, watch_exit, watch_footprint, watch_socket


class Supervisor:
    """The one task that owns a model's state."""

    def __init__(self, model: Model, start: Start, admission: Admission) -> None:
        self._model = model
        self._start = start
        self._admission = admission

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Supervise the model until cancelled; one turn is one life of its engine."""
        task_status.started()
        try:
            while True:
                await self._model.until(lambda: self._model.load_wanted or self._model.queue.waiting)
                if self._model.entry.refusal:  # it came while they waited for the end of the last life
                    self._model.turn_away()
                else:
                    await self._live()
        finally:
            self._model.queue.refuse(stopping())

    async def _live(self) -> None:
        run = self._model.run = Run(self._model.book.written)
        self._model.become(State.WAITING, self._wanted())
        try:
            with run.scope:
                try:
                    await self._pause()
                    async with self._admission.admit(self._model):
                        self._model.become(State.STARTING, f"there is room for it, and {self._wanted()}")
                        async with self._start(self._model.served, self._model.book) as engine:
                            await self._run(run, engine)
                except SetupError as error:  # there is no engine; a running one's errors are verdicts
                    run.end(ModelFailed(error.message, hint=error.hint, lasting=error.lasting))
                except OSError as error:
                    if is_ours(error):
                        run.end(explain(error, f"start the engine of {self._model.spec.name}"))
                    why = f"model {self._model.spec.name}: its engine can't be started: {error}."
                    run.end(ModelFailed(why, lasting=True))
                except Error as error:  # not admitted
                    run.end(error)
        finally:
            self._model.run = None
            self._model.queue.forget()
            self._settle(run)
            run.over.set()

    def _wanted(self) -> str:
        """Why it is loaded."""
        model = self._model
        if waiting := model.queue.waiting:
            return "a request waits for it" if waiting == 1 else f"{waiting} requests wait for it"
        if model.no_eviction:
            return "it is to be loaded at the start (preload)"
        if model.starved or model.ports_tried:
            return "it is tried again"
        return "it is pinned" if model.spec.pinned else "its load was asked for"

    async def _pause(self) -> None:
        if self._model.retry_in:
            pause, why = format_seconds(self._model.retry_in), self._model.rest.why
            self._model.become(State.WAITING, f"starting again in {pause} after {why}")
        with trio.move_on_after(self._model.retry_in):
            await self._model.until(lambda: not self._model.retry_in)  # an operator's `load` cuts it short

    async def _run(self, run: Run, engine: Engine) -> None:
        run.engine, model = engine, self._model
        async with trio.open_nursery() as nursery:
            nursery.start_soon(engine.pump)
            nursery.start_soon(engine.pool.run)
            nursery.start_soon(watch_exit, run, engine, model.spec, model.book, self._out_of_memory)
            nursery.start_soon(watch_footprint, run, model)
            try:
                began = trio.current_time()
                await until_ready(run, engine, model.spec, model.book)
                await after_ready(engine, model.spec.name)
                run.loaded_at = trio.current_time()
                model.load_seconds = run.loaded_at - began
                model.failure, model.load_wanted, model.starved, model.ports_tried = None, False, False, 0
                loaded = f"loaded in {format_seconds(model.load_seconds)}, pid {engine.pid}"
                model.become(State.READY, loaded)
                model.history.note("load", loaded)
                model.events.write("load", model=model.spec.name, seconds=round(model.load_seconds, 3))
                nursery.start_soon(watch_health, run, engine, model.spec, model.book)
                nursery.start_soon(watch_socket, run, engine, model)
                model.queue.open(run)
                stop_request = await self._until_unwanted(run)
                model.queue.close()
                await self._drain(run, stop_request)
                run.stop_request = run.stop_request or stop_request
                await before_stop(model, run, engine)
                run.end(model.unloading(run.stop_request.reason))
            finally:
                model.queue.close()
                run.end(stopping())  # unless there is a verdict already
                model.become(State.STOPPING, str(run.verdict))
                await engine.pool.close()  # no request outlives the engine; that is how those in flight learn of it

    async def _until_unwanted(self, run: Run) -> StopRequest:
        """Stay until somebody wants the model unloaded, or nobody has used it for its ttl."""
        while True:
            await self._model.until(lambda: self._due(run) or not self._model.queue.busy)
            if stop_request := self._due(run):
                return stop_request
            await self._while_idle(run, self._model.expires_at)
            if not self._model.queue.busy and not run.stop_request and trio.current_time() >= self._model.expires_at:
                return StopRequest(f"idle for {format_seconds(self._model.spec.ttl)} (its ttl)", Cause.IDLE)

    def _due(self, run: Run) -> StopRequest | None:
        """The wish to have it unloaded, unless there is somebody to be served first."""
        return (
            None if run.stop_request is None or (run.stop_request.last and self._model.queue.busy) else run.stop_request
        )

    async def _while_idle(self, run: Run, expires_at: float) -> None:
        with trio.move_on_at(expires_at):  # which a reload may change
            await self._model.until(
                lambda: run.stop_request or self._model.queue.busy or self._model.expires_at != expires_at
            )

    async def _drain(self, run: Run, stop_request: StopRequest) -> None:
        while self._model.queue.in_flight and not stop_request.force:
            self._model.become(
                State.DRAINING, f"{stop_request.reason}; {self._model.queue.in_flight} in flight may finish"
            )
            with trio.move_on_after(NEVER if stop_request.patient else self._model.spec.drain_timeout) as patience:
                await self._until_drained(run, run.stop_request)
            if patience.cancelled_caught:
                return
            stop_request = run.stop_request or stop_request  # somebody may be less patient than the first who asked

    async def _until_drained(self, run: Run, asked: StopRequest | None) -> None:
        await self._model.until(lambda: not self._model.queue.in_flight or run.stop_request is not asked)

    def _settle(self, run: Run) -> None:
        """Take note of how a life ended, and decide what that means for the next one."""
        self._model.rest.lived(run.uptime)
        self._note_end(run)
        match run.verdict:
            case Unloading() | ShuttingDown() | None:
                self._model.become(State.UNLOADED, str(run.verdict or stopping()))
            case ModelTooLarge() as refusal:  # no failure of the model, so no pause: the next one is told the same
                self._model.load_wanted = False
                self._model.become(State.UNLOADED, refusal.message)
                self._model.history.note("refuse", str(refusal))
                self._model.queue.refuse(refusal)
            case _ if run.stop_request is not None and not isinstance(run.verdict, EngineDied):
                self._model.become(State.UNLOADED, str(run.verdict))  # it failed as what it no longer is
            case PortTaken() as loss if (tries := self._model.ports_tried + 1) < ports.TRIED:
                self._model.ports_tried, self._model.load_wanted = tries, True
                self._model.become(State.UNLOADED, f"{loss.message} It is started on another one.")
            case OutOfResources() as shortage:  # nothing is wrong with the model: no cool-down
                self._model.load_wanted = self._model.spec.pinned or (
                    self._model.load_wanted and self._model.no_eviction
                )
                self._model.rest.briefly()
                self._model.become(State.UNLOADED, str(shortage))
                self._model.queue.refuse(shortage)
            case OutOfMemory() as death if run.loaded_at is None and not self._model.starved:
                self._model.starved = self._model.load_wanted = True  # once more, with more room
                self._model.become(State.UNLOADED, f"{death.message} It is tried once more, with more room.")
            case OutOfMemory() as death if run.loaded_at is None:
                self._model.starved = False
                self._fail(
                    ModelFailed(f"{death.message} So did the second try.", log_tail=death.log_tail, lasting=False)
                )
            case ProjectorRefused() as refusal:
                self._model.give_up_projector(refusal.message)
                self._model.load_wanted = True
                self._model.become(State.UNLOADED, str(refusal))
            case EngineDied() as death:
                self._model.crashes += 1
                if not self._model.rest.crashed():
                    why = f"{death.message} It crashed too often to be started again at once."
                    self._fail(ModelFailed(why, log_tail=death.log_tail, lasting=False))
                else:
                    self._model.load_wanted = self._model.load_wanted or self._model.spec.pinned
                    self._model.become(State.UNLOADED, death.message)
            case failure:
                self._fail(failure)

    def _note_end(self, run: Run) -> None:
        engine, name, why = run.engine, self._model.spec.name, str(run.verdict or stopping())
        if engine is None:
            return  # nothing was unloaded
        cause = _cause(run)
        self._model.history.note("unload", why, cause=cause, decision=run.decision, freed=run.freed)
        self._model.events.write("unload", model=name, cause=str(cause), reason=why, freed_bytes=run.freed)

    def _out_of_memory(self) -> bool:
        return self._admission.out_of_memory(self._model)

    def _fail(self, failure: Error) -> None:
        self._model.failure, self._model.load_wanted, self._model.ports_tried = failure, False, 0
        self._model.rest.failed()
        self._model.become(State.FAILED, failure.message)
        self._model.history.note("fail", failure.message)
        self._model.queue.refuse(self._model.with_retry(failure))


def _cause(run: Run) -> Cause:
    match run.verdict:
        case EngineDied() if run.loaded_at is not None:
            return Cause.CRASHED
        case ShuttingDown() | None:
            return Cause.STOPPED
        case Unloading() if run.stop_request is not None:
            return run.stop_request.cause
        case _:
            return Cause.FAILED
