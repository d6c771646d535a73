"""What a load would mean, before it is done: `POST /models/load?dry_run=1`."""

from __future__ import annotations

import trio

from ..errors import ModelFailed
from ..fleet.fleet import Fleet
from ..fleet.memory.governor import Governor
from ..fleet.model.model import Model
from ..fleet.model.states import State
from ..memory.policy.decision import Decision
from ..units import format_seconds
from .memory import decision_as_json
from .shapes import memory as shapes


async def rehearse(model: Model, fleet: Fleet, governor: Governor) -> shapes.Rehearsal:
    """Tell what loading a model now would come to; nothing is changed.

    Raises:
        ModelFailed: It can't be served as configured, or there is no engine for it.
        Paused: No model is loaded now.
    """
    model.check()
    name = model.spec.name
    asleep = model.state is State.SLEEPING  # so that its load is an admission, and may have victims
    if (has := governor.footprint(model)) is not None and not asleep:
        loaded = model.stays_loaded
        return {
            "model": name,
            "would": "already_loaded" if loaded else "loading",
            "needs": has.bytes,
            "free": max(governor.machine().ceiling - sum(each.cost.total for each in governor.loaded_models()), 0),
            "victims": [],
            "sentence": f"{name} is loaded already." if loaded else f"{name} is being {_going(model)}.",
            "decision": None,
        }
    if fleet.paused is not None:
        raise fleet.paused.error()
    if lacks := fleet.without_engine.get(name):
        raise ModelFailed(f"{name} can't be loaded: {lacks}")
    decision = await governor.rehearse(model)
    missing = max((decision.missing[pool] for pool in decision.missing), default=0)
    would, sentence = _worded(name, decision)
    return {
        "model": name,
        "would": would,
        "needs": decision.bytes,
        "free": max(decision.bytes - missing, 0),
        "victims": [_victim(victim, decision, governor) for victim in decision.victims],
        "sentence": sentence,
        "decision": decision_as_json(decision),
    }


def _going(model: Model) -> str:
    """What is done with a model that has memory, and won't keep it, or can't be used yet."""
    ends = model.intent.stop is not None or (model.run is not None and model.run.outcome is not None)
    return "unloaded; a load would follow" if ends else "loaded"


def _worded(name: str, decision: Decision) -> tuple[shapes.Would, str]:
    match decision.kind:
        case "admit":
            return "load", f"{name} would be loaded: {decision.reason}."
        case "evict":
            whom = ", ".join(decision.victims)
            return "load", f"{name} would be loaded, and {whom} unloaded for it: {decision.reason}."
        case "refuse":
            return "never_fits", f"{name} can't be loaded: {decision.reason}."
        case _:
            return "wait", f"{name} would have to wait: {decision.reason}."


def _victim(name: str, decision: Decision, governor: Governor) -> shapes.Victim:
    now = trio.current_time()
    weighed = next(each for each in decision.weighed if each.name == name)
    loaded = next((each for each in governor.loaded_models() if each.name == name), None)
    reason = "it has been idle the longest"
    if loaded is not None:
        idle, again = format_seconds(max(now - loaded.last_used, 0.0)), format_seconds(loaded.reload_seconds)
        reason = f"idle for {idle}; loading it again would take {again}"
    return {"model": name, "frees": weighed.freeable.total, "reason": reason}
