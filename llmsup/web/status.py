"""Models as JSON: the entries of `/running` and `/v1/models`."""

from __future__ import annotations

import math
import shlex
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime

import trio

from ..catalog.described import preset_name
from ..config.schema import ModelSpec
from ..fleet.model.last_words import last_words
from ..fleet.model.model import Model
from ..fleet.model.states import State
from ..memory.cost.cost import Cost
from ..memory.cost.load_mode import Measured
from ..prompt_cache.ability import Ability
from ..units import Bytes
from .listing import listing
from .llama_server_list import tags_and_meta
from .shapes.models import AtPeers, LoadFacts, ModelEntry, RunningEntry, RunningState, Status, StatusValue

_RUNNING: Mapping[State, RunningState] = {
    State.UNLOADED: "starting",
    State.WAITING: "starting",
    State.STARTING: "starting",
    State.READY: "ready",
    State.SLEEPING: "sleeping",
    State.DRAINING: "draining",
    State.STOPPING: "stopping",
    State.FAILED: "stopping",
}
_STATUS: Mapping[State, StatusValue] = {
    State.UNLOADED: "unloaded",
    State.FAILED: "failed",
    State.READY: "loaded",
    State.DRAINING: "loaded",
    State.SLEEPING: "sleeping",
}


def running_entry(model: Model, footprint: Cost | None) -> RunningEntry:
    """One entry of `/running`. Times are Unix seconds, durations seconds, sizes bytes; null is "not known" or, for
    `ttl` and `expires_at`, never.

    Args:
        footprint: What it counts for; None while it waits to be let in.
    """
    run = model.run
    engine = run.engine if run else None
    spec = model.spec
    state, reason = state_and_reason(model)
    return {
        "model": spec.name,
        "state": _RUNNING[state],
        "pid": engine.pid if engine else None,
        "proxy": str(engine.launch.address) if engine else None,
        "cmd": shlex.join(engine.launch.argv) if engine else None,
        "ttl": finite(model.ttl),
        "in_flight": model.queue.in_flight,
        "waiting": model.queue.waiting,
        "loaded_at": wall(run.loaded_at if run else None),
        "last_used": wall(model.queue.last_used),
        "expires_at": None if model.queue.busy else wall(model.expires_at),
        "load_seconds": rounded(model.load_seconds),
        "load": None if model.last_load is None else load_as_json(model.last_load),
        "footprint_bytes": footprint.bytes if footprint else None,
        "footprint_source": footprint.source if footprint else None,
        "priority": spec.priority,
        "pinned": model.pinned,
        "restarts": model.crashes,
        "description": spec.description,
        "reason": reason,
        "progress": engine.progress if engine else None,
        "workers": list(spec.rpc),
        "waits_for": model.queue.shortage or (model.reason if model.state is State.WAITING else None),
    }


def state_and_reason(model: Model) -> tuple[State, str]:
    """Return a model's state, and why; one that will stop once it is idle already counts as stopping."""
    if model.intent.retiring and model.state is State.READY:
        return State.DRAINING, model.intent.retiring
    return model.state, model.reason


def model_entry(
    model: Model,
    *,
    created: int,
    cost: Cost,
    ceiling: Bytes,
    names: Iterable[str],
    able: Ability,
    preset: str = "",
    lacks: str = "",
    told: Callable[[str], str] = str,
    admin: bool = True,
    peers: Sequence[str] = (),
    down: Sequence[str] = (),
) -> ModelEntry:
    """One entry of `/v1/models`.

    Args:
        cost: What it counts for when it is to be loaded.
        ceiling: What all models together may take, in bytes.
        able: Whether its conversations survive an unload.
        lacks: Why there is no engine for it; "" if there is one.
        told: Words for the caller what may name other models, or quote an engine.
        admin: Whether the caller may see lines of the engine's log.
        peers: Which peers have it, too.
        down: Which of them don't answer now.
    """
    name = preset_name(model.spec.name, preset)
    also: AtPeers = {"peers": list(peers)} if peers else {}
    if down:
        also["peers_down"] = list(down)
    return {
        "id": name,
        "object": "model",
        "created": created,
        "type": "model",  # this and the next two are in Anthropic's words
        "display_name": name,
        "created_at": rfc3339(created),
        "owned_by": "llmsup",
        "status": _status(model, lacks, told, admin=admin),
        **listing(model.served, model.estimate, cost, ceiling, names, able, told),
        **tags_and_meta(model),
        "aliases": names_of_preset(model.spec, preset),
        **also,
    }


def names_of_preset(spec: ModelSpec, preset: str) -> list[str]:
    """The id of a preset's entry and its aliases, as llama-server lists them: the id is one of them."""
    return list(dict.fromkeys(preset_name(name, preset) for name in (spec.name, *spec.aliases)))


def rfc3339(seconds: int) -> str:
    """A moment (Unix seconds) as Anthropic's API has it."""
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")


def _status(model: Model, lacks: str, told: Callable[[str], str], *, admin: bool) -> Status:
    # The last run may be over before the next has begun.
    between = model.state is State.UNLOADED and model.intent.load
    value = "loading" if between else _STATUS.get(model.state, "loading")
    status: Status = {"value": value, "reason": told(model.reason)}
    if model.entry.refusal:
        return {
            "value": "failed",
            "reason": "it can't be served",
            "error": told(model.entry.refusal),
            "servable": False,
        }
    if status["value"] == "loading":
        run = model.run
        status["progress"] = run.engine.progress if run and run.engine else None
        if admin:
            status["last_line"] = "".join(last_words(run, model.book, 1)) if run else ""
        status["waits_for"] = told(model.queue.shortage) or None
        status["seconds"] = rounded(trio.current_time() - run.began) if run else 0
    elif model.state is State.FAILED and model.failure is not None:
        status["error"] = told(str(model.failure))
        status["retry_in"] = rounded(model.retry_in)
        if admin:
            status["log_tail"] = list(model.failure.log_tail)
    if lacks and model.run is None:
        status["no_engine"] = told(lacks)
    return status


def load_as_json(measured: Measured) -> LoadFacts:
    """How a load was done, and how fast; null is "not known"."""
    load = measured.load
    return {
        "mode": measured.mode or None,
        "bytes": load.bytes,
        "bytes_per_second": round(load.rate),
        "cached_share": None if load.cached is None else round(load.cached, 3),
        "why": measured.why or None,
    }


def wall(when: float | None) -> float | None:
    """Convert a trio time to Unix seconds."""
    if when is None or math.isinf(when):
        return None
    return round(time.time() - trio.current_time() + when, 3)


def finite(seconds: float) -> float | None:
    """Return a duration as JSON can express it; None for "never"."""
    return None if math.isinf(seconds) else seconds


def rounded(seconds: float | None) -> float | None:
    """Round to milliseconds."""
    return None if seconds is None else round(seconds, 3)
