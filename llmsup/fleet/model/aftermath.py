"""What the end of a run means for the model: another try, a pause, a failure, or nothing.

How the end is noticed is up to `watchdogs` and `hanging`.
"""

from __future__ import annotations

from ...engines import ports
from .model import Model
from .outcome import (
    Crash,
    Crashed,
    FailedToStart,
    FailedToWake,
    Failure,
    Outcome,
    OutOfMemory,
    OutOfResources,
    PortTaken,
    ProjectorRefused,
    ShutDown,
    TimedOut,
    TooLarge,
    Unloaded,
    as_error,
)
from .run import Run
from .states import Cause, State


def settle(model: Model, run: Run, outcome: Outcome) -> None:
    """Record how a run ended, and decide what that means for the next one."""
    stop, intent = model.intent.stop, model.intent.run_over()
    model.intent = intent
    model.backoff.ran(run.uptime)
    _note_end(model, run, outcome)
    match outcome:
        case Unloaded() | ShutDown():
            model.become(State.UNLOADED, str(outcome))
        case TooLarge():  # not a failure of the model, so no pause: the next request gets the same answer
            model.intent = intent.load_over()
            model.become(State.UNLOADED, outcome.message)
            model.history.note("refuse", str(outcome))
            model.queue.refuse(as_error(outcome))
        case _ if stop is not None and not isinstance(outcome, Crash):
            model.become(State.UNLOADED, str(outcome))  # what failed was the old definition of the model
        case PortTaken() if (tries := model.ports_tried + 1) < ports.TRIED:
            model.ports_tried, model.intent = tries, intent.once_more()
            model.become(State.UNLOADED, f"{outcome.message} Starting again on another port.")
        case FailedToStart() | TimedOut() | Crashed() | OutOfMemory() if (
            run.plan.tries and run.engine and run.loaded_at is None
        ):
            model.intent = intent.once_more()  # it was our idea, which isn't tried again (`memory.cost.load_mode`)
            again = f"Its weights were to be loaded by {run.plan.mode!r}, which was a try. Starting it as before."
            model.become(State.UNLOADED, f"{outcome.message} {again}")
        case FailedToWake():  # whoever wanted it
            model.intent = intent.once_more()
            model.become(State.UNLOADED, outcome.message)
        case OutOfResources():  # nothing is wrong with the model: no cool-down
            if not intent.no_eviction:  # an explicit load gets the error, and can be asked for again
                intent = intent.load_over()
            model.intent = intent.back(pinned=model.pinned)
            model.backoff.briefly()
            model.become(State.UNLOADED, str(outcome))
            model.queue.refuse(as_error(outcome))
        case OutOfMemory() if run.loaded_at is None:
            _starve(model, outcome)
        case ProjectorRefused():
            model.give_up_projector(outcome.message)
            model.intent = intent.once_more()
            model.become(State.UNLOADED, str(outcome))
        case Crashed() | OutOfMemory():
            _crash(model, outcome)
        case failure:
            _fail(model, failure)


def _starve(model: Model, death: OutOfMemory) -> None:
    """It ran out of memory while it was loaded, for the first or the second time."""
    model.oom_retry = not model.oom_retry
    if model.oom_retry:
        model.intent = model.intent.once_more()  # with more room
        model.become(State.UNLOADED, f"{death.message} Trying once more, with more room.")
    else:
        _fail(model, _given_up(death, "That was the second try."))


def _crash(model: Model, death: Crash) -> None:
    model.crashes += 1
    if not model.backoff.crashed():
        _fail(model, _given_up(death, "It crashed too often to be started again at once."))
    else:
        model.intent = model.intent.back(pinned=model.pinned)
        model.become(State.UNLOADED, death.message)


def _given_up(death: Crash, verdict: str) -> FailedToStart:
    """It died, and won't be tried for a while; the cause may go away by itself."""
    return FailedToStart(f"{death.message} {verdict}", log_tail=death.log_tail, lasting=False)


def _fail(model: Model, failure: Failure) -> None:
    model.failure, model.intent, model.ports_tried = failure, model.intent.load_over(), 0
    model.backoff.failed()
    model.become(State.FAILED, failure.message)
    model.history.note("fail", failure.message)
    model.queue.refuse(model.error_for(failure))


def _note_end(model: Model, run: Run, outcome: Outcome) -> None:
    if run.engine is None:
        return  # nothing was unloaded
    reason, cause = str(outcome), _cause(run, outcome)
    model.history.note("unload", reason, cause=cause, decision=run.decision, freed=run.freed)
    model.events.write("unload", model=model.spec.name, cause=str(cause), reason=reason, freed_bytes=run.freed)


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
