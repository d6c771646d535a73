"""What happens to a model and its engine when its settings or its file change, or when it is removed.

Changes are noticed by the `reconciler` and passed on by the `fleet`.
"""

from __future__ import annotations

from ...catalog.entry import Entry
from .backoff import Backoff
from .intent import StopRequest
from .model import Model
from .states import Cause, State


def redefine(model: Model, entry: Entry) -> None:
    """Give a model a new definition. If that needs a different engine, the present one ends once its requests in flight
    are done, however long that takes; waiting and new requests get the next one.
    """
    model.intent = model.intent.kept()
    same = model.entry.runs_like(entry)
    unseeing = model.served.found.unseeing if same and model.served.found else ""
    model.entry, model.served = entry, entry.without_projector(unseeing) if unseeing else entry
    if not same:
        _start_afresh(model, "its settings or its file changed")
    model.queue.set_limit(entry.spec.max_in_flight)
    model.notify()


def _start_afresh(model: Model, reason: str) -> None:
    model.sleepless = False
    model.backoff, model.failure = Backoff(), None  # the change may have fixed what failed before
    if model.entry.refusal:
        _stop_serving(model, reason)
    elif model.run is not None:
        model.intent = model.intent.back(pinned=model.pinned)
        model.stop(StopRequest(reason, Cause.CHANGED, patient=True))
    elif model.state is State.FAILED:
        model.become(State.UNLOADED, reason)


def _stop_serving(model: Model, reason: str) -> None:
    """It can't be loaded again; an engine that is ready still serves the requests in flight and those that wait."""
    model.intent = model.intent.load_over()
    if model.run is not None and model.state in (State.READY, State.DRAINING):
        model.intent = model.intent.stopping(StopRequest(reason, Cause.CHANGED, patient=True, last=True))
        return
    model.turn_away()
    if model.run is not None:
        model.run.end(model.unloaded(reason, Cause.CHANGED))
    elif model.state is State.FAILED:
        model.become(State.UNLOADED, reason)


async def retire(model: Model, reason: str) -> None:
    """Unload the model for good once no request is in flight or waits, however long that takes."""
    model.intent = model.intent.retired(reason)
    await model.until(lambda: not model.queue.busy)
    if (run := model.run) is not None:
        model.stop(StopRequest(reason, Cause.CHANGED, patient=True))
        await run.over.wait()
