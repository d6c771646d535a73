"""What becomes of a model, and of its engine, when its settings or its file change, or it goes for good.

It does not know how changes are found out: see `reconciler`.
"""

from __future__ import annotations

from ...catalog.entry import Entry
from .backoff import Backoff
from .intent import StopRequest
from .model import Model
from .states import Cause, State


def redefine(model: Model, entry: Entry) -> None:
    """Have the model be this from now on. An engine that is wrong for it ends once those it serves are done, however
    long that takes; who waits, and who comes meanwhile, gets the next one.
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
    model.backoff, model.failure = Backoff(), None  # what failed before may be what was mended
    if model.entry.refusal:
        _stop_serving(model, reason)
    elif model.run is not None:
        model.intent = model.intent.back(pinned=model.spec.pinned)
        model.stop(StopRequest(reason, Cause.CHANGED, patient=True))
    elif model.state is State.FAILED:
        model.become(State.UNLOADED, reason)


def _stop_serving(model: Model, reason: str) -> None:
    """It can't be loaded again; an engine that is ready serves those who are in, also those who wait."""
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
    """Have the model unloaded for good once nobody is served or waits, however long that takes."""
    model.intent = model.intent.retired(reason)
    await model.until(lambda: not model.queue.busy)
    if (run := model.run) is not None:
        model.stop(StopRequest(reason, Cause.CHANGED, patient=True))
        await run.over.wait()
