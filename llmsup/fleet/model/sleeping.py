"""Sleep instead of a stop: the engine gives its device's memory back, keeps its process, and is woken when wanted.

Whether it may sleep, and how deeply, is decided behind `permission.Grant`; how it is done, behind `run.Engine`.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable

import trio

from ...engines.connection import Disconnected
from ...errors import Error
from ...units import Seconds, format_seconds
from .intent import SLEEP_WILL_DO, StopRequest
from .model import Model
from .outcome import FailedToWake, not_started
from .permission import Admission, Grant
from .run import Engine, Run
from .states import Cause, State

log = logging.getLogger(__name__)

FALLING_ASLEEP = Seconds(60)
"""How long an engine may take to fall asleep: it copies its weights into the machine's memory."""


class Sleeper:
    """Puts one run's engine to sleep, and wakes it."""

    def __init__(self, model: Model, run: Run, engine: Engine, grant: Grant, admission: Admission) -> None:
        self._model = model
        self._run = run
        self._engine = engine
        self._grant = grant
        self._admission = admission

    async def instead(self, stop: StopRequest) -> StopRequest | None:
        """Have the engine sleep instead of stopping it, if it can and may; its queue is closed, and it is idle.

        Returns:
            Why it is to be stopped now; None: it has slept, and is awake again.
        """
        model = self._model
        level = self._grant.sleep_level() if self._may(stop) else 0
        if not level or not await self._fall_asleep(level, stop):
            return model.intent.stop or stop
        if model.intent.stop is not stop:  # somebody has asked for an unload meanwhile
            return model.intent.stop or stop
        model.intent = model.intent.run_over()
        self._sleeps(f"{stop.reason}; asleep at level {level}")
        while not (asked := await self._until_wanted()):
            if await self._wake(level):
                return None
            self._sleeps("no request waits for it any more")
        return asked

    def _may(self, stop: StopRequest) -> bool:
        model = self._model
        able = self._engine.sleeps and not model.sleepless and model.ttl > 0
        return able and stop.cause in SLEEP_WILL_DO and not stop.force and not model.queue.in_flight

    def _sleeps(self, why: str) -> None:
        self._model.become(State.SLEEPING, why)

    async def _fall_asleep(self, level: int, stop: StopRequest) -> bool:
        model, run = self._model, self._run
        model.become(State.STOPPING, f"{stop.reason}; it is put to sleep")
        if problem := await _failed(self._engine.sleep(level), FALLING_ASLEEP):
            log.warning("%s: its engine could not be put to sleep, and is stopped: %s", model.spec.name, problem)
            model.sleepless = True
            return False
        run.turn(level)
        await self._grant.asleep(level)
        model.history.note("sleep", stop.reason, cause=stop.cause, decision=run.decision)
        model.events.write("sleep", model=model.spec.name, level=level, cause=str(stop.cause), reason=stop.reason)
        run.decision = None
        return True

    async def _until_wanted(self) -> StopRequest | None:
        """Wait until it is to be woken, or (what is returned) stopped after all."""
        model = self._model
        while True:
            expires_at = model.expires_at
            with trio.move_on_at(expires_at):
                await model.until(lambda: model.intent.stop or model.wanted or model.expires_at != expires_at)  # noqa: B023 -- awaited at once
            if model.intent.stop or model.wanted:
                return model.intent.stop
            if trio.current_time() >= model.expires_at:
                return StopRequest(f"asleep for {format_seconds(model.ttl)} (its ttl)", Cause.IDLE)

    async def _wake(self, level: int) -> bool:
        """Wake it once there is room; False if it isn't wanted any more by then. What fails ends the run."""
        model, run = self._model, self._run
        wanted = f"{model.queue.waiting} waiting for it" if model.queue.waiting else "its load was asked for"
        model.become(State.WAITING, f"it sleeps, and is to be woken: {wanted}")
        try:
            if not await self._admission.readmit(model):
                return False
        except Error as error:
            run.end(not_started(error))
            await trio.sleep_forever()  # ending the run cancels this
        model.become(State.STARTING, f"it is woken: {wanted}")
        began = trio.current_time()
        if problem := await _failed(self._engine.wake(level), model.spec.start_timeout):
            model.sleepless = True
            run.end(FailedToWake(f"The engine of {model.spec.name} could not be woken: {problem}. Loading it afresh."))
            await trio.sleep_forever()
        run.turn(0)
        self._grant.awake()
        model.wake_seconds = trio.current_time() - began
        model.intent = model.intent.load_over()
        woken = f"woken in {format_seconds(Seconds(model.wake_seconds))}"
        model.become(State.READY, woken)
        model.history.note("wake", woken)
        model.events.write("wake", model=model.spec.name, seconds=round(model.wake_seconds, 3))
        model.queue.open(run)
        return True


async def _failed(call: Awaitable[None], patience: Seconds) -> str:
    """Why a call failed or was given up, a clause; "" if it didn't."""
    with trio.move_on_after(patience) as limit:
        try:
            await call
        except (Error, Disconnected, OSError) as error:
            return str(error).rstrip(".") or type(error).__name__
    return f"it took more than {format_seconds(patience)}" if limit.cancelled_caught else ""
