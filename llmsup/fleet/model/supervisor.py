"""One model's supervisor: loads it when it is wanted, restarts it when it crashes, unloads it when told or idle.

It does not know what an engine is made of (`engine`), who else there is (`fleet`), or what a request is (`gateway`).
"""

from __future__ import annotations

from pathlib import Path

import trio

from ...engines import ports
from ...engines.llama_server.model_file import projector_of
from ...errors import Error
from ...process.shortage import explain, is_ours
from ...units import NEVER, format_seconds
from .admission import Admission
from .hanging import watch_health
from .model import Model
from .outcome import (
    SHUT_DOWN,
    Crash,
    Crashed,
    FailedToStart,
    Failure,
    Outcome,
    OutOfMemory,
    OutOfResources,
    PortTaken,
    ProjectorRefused,
    ShutDown,
    TooLarge,
    Unloaded,
    as_error,
    not_started,
)
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
            self._model.queue.refuse(as_error(SHUT_DOWN))

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
                except Error as error:  # not admitted, or there is no engine: a running one doesn't raise, it ends
                    run.end(not_started(error))
                except OSError as error:
                    run.end(self._not_let(error))
        finally:
            self._model.run = None
            self._model.queue.forget()
            run.end(SHUT_DOWN)  # unless it has ended already
            self._settle(run)
            run.over.set()

    def _not_let(self, error: OSError) -> Outcome:
        name = self._model.spec.name
        if is_ours(error):
            return not_started(explain(error, f"start the engine of {name}"))
        return FailedToStart(f"model {name}: its engine can't be started: {error}.")

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
            nursery.start_soon(watch_exit, run, engine, model.spec, model.book, self._out_of_memory, self._projector())
            nursery.start_soon(watch_footprint, run, model)
            try:
                began = trio.current_time()
                await until_ready(run, engine, model.spec, model.book)
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
                stop_request = run.stop_request = run.stop_request or stop_request
                run.end(model.unloaded(stop_request.reason, stop_request.cause))
            finally:
                model.queue.close()
                run.end(SHUT_DOWN)  # unless it has ended already
                model.become(State.STOPPING, str(run.outcome))
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
        model, outcome = self._model, run.outcome
        assert outcome is not None
        model.rest.lived(run.uptime)
        self._note_end(run, outcome)
        match outcome:
            case Unloaded() | ShutDown():
                model.become(State.UNLOADED, str(outcome))
            case TooLarge():  # no failure of the model, so no pause: the next one is told the same
                model.load_wanted = False
                model.become(State.UNLOADED, outcome.message)
                model.history.note("refuse", str(outcome))
                model.queue.refuse(as_error(outcome))
            case _ if run.stop_request is not None and not isinstance(outcome, Crash):
                model.become(State.UNLOADED, str(outcome))  # it failed as what it no longer is
            case PortTaken() if (tries := model.ports_tried + 1) < ports.TRIED:
                model.ports_tried, model.load_wanted = tries, True
                model.become(State.UNLOADED, f"{outcome.message} It is started on another one.")
            case OutOfResources():  # nothing is wrong with the model: no cool-down
                model.load_wanted = model.spec.pinned or (model.load_wanted and model.no_eviction)
                model.rest.briefly()
                model.become(State.UNLOADED, str(outcome))
                model.queue.refuse(as_error(outcome))
            case OutOfMemory() if run.loaded_at is None and not model.starved:
                model.starved = model.load_wanted = True  # once more, with more room
                model.become(State.UNLOADED, f"{outcome.message} It is tried once more, with more room.")
            case OutOfMemory() if run.loaded_at is None:
                model.starved = False
                self._fail(_given_up(outcome, "So did the second try."))
            case ProjectorRefused():
                model.give_up_projector(outcome.message)
                model.load_wanted = True
                model.become(State.UNLOADED, str(outcome))
            case Crashed() | OutOfMemory():
                model.crashes += 1
                if not model.rest.crashed():
                    self._fail(_given_up(outcome, "It crashed too often to be started again at once."))
                else:
                    model.load_wanted = model.load_wanted or model.spec.pinned
                    model.become(State.UNLOADED, outcome.message)
            case failure:
                self._fail(failure)

    def _note_end(self, run: Run, outcome: Outcome) -> None:
        if run.engine is None:
            return  # nothing was unloaded
        name, why, cause = self._model.spec.name, str(outcome), _cause(run, outcome)
        self._model.history.note("unload", why, cause=cause, decision=run.decision, freed=run.freed)
        self._model.events.write("unload", model=name, cause=str(cause), reason=why, freed_bytes=run.freed)

    def _projector(self) -> Path | None:
        """What its engine has to see or hear with, as far as that is llmsup's doing."""
        served = self._model.served
        return projector_of(served.spec, served.found) if served.found else None

    def _out_of_memory(self) -> bool:
        return self._admission.out_of_memory(self._model)

    def _fail(self, failure: Failure) -> None:
        self._model.failure, self._model.load_wanted, self._model.ports_tried = failure, False, 0
        self._model.rest.failed()
        self._model.become(State.FAILED, failure.message)
        self._model.history.note("fail", failure.message)
        self._model.queue.refuse(self._model.told_of(failure))


def _given_up(death: Crash, why: str) -> FailedToStart:
    """It died, and is left alone for a while; time may cure it."""
    return FailedToStart(f"{death.message} {why}", log_tail=death.log_tail, lasting=False)


def _cause(run: Run, outcome: Outcome) -> Cause:
    match outcome:
        case Unloaded():
            return outcome.cause
        case ShutDown():
            return Cause.STOPPED
        case Crashed() | OutOfMemory() if run.loaded_at is not None:
            return Cause.CRASHED
        case _:
            return Cause.FAILED
