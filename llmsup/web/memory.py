"""`GET /memory`: the machine's memory, who uses how much of it, and what was decided; for one model, why."""

from __future__ import annotations

from collections.abc import Iterable

import trio
from quart import Blueprint, Response

from ..fleet.fleet import Fleet
from ..fleet.memory.decisions import DecisionRecord
from ..fleet.memory.governor import Governor
from ..fleet.model.history import HistoryEntry
from ..fleet.model.model import Model
from ..fleet.model.states import State
from ..memory.amounts import add_up
from ..memory.policy.decision import Decision, Weighed
from ..memory.policy.eviction_cost import loss
from ..memory.policy.inputs import LoadedModel, Machine
from ..peers.backend import RoutedBackend
from ..prompt_cache.cache import PromptCache
from ..units import Seconds
from .answers import as_json
from .backends import backends_as_json, facts_elsewhere, routed, routes_as_json
from .devices import devices, sizes
from .pause import pause_as_json
from .prompt_cache import nothing_kept, of_model
from .shapes import memory as shapes
from .status import finite, rounded, running_entry, state_and_reason, wall


def memory(fleet: Fleet, governor: Governor, prompts: PromptCache) -> Blueprint:
    """The routes under /memory. Sizes are bytes, durations seconds, times Unix seconds; what is unknown is null."""
    routes = Blueprint("memory", __name__)

    @routes.get("/memory")
    async def everything() -> Response:
        machine, pressure, loaded_models = governor.machine(), governor.pressure, governor.loaded_models()
        answer: shapes.Memory = {
            "ceiling_bytes": machine.ceiling,
            "reserve_bytes": machine.host.reserve,
            "committed_bytes": add_up(each.cost for each in loaded_models).here,
            "kept_bytes": kept(machine, loaded_models),
            "available_bytes": machine.host.available,
            "level": pressure.level,
            "since": wall(pressure.since),
            "reason": pressure.reason,
            "shortfall_bytes": pressure.shortfall,
            "nothing_unloaded": _left(governor),
            "problem": governor.problem or None,
            "paused": pause_as_json(fleet.paused),
            "readings": governor.reading,
            "devices": [each.as_json(wall) for each in devices(governor)],
            "models": [_loaded(each, governor) for each in loaded_models],
            "waiting": [
                {
                    "model": ask.name,
                    "bytes": ask.bytes,
                    "devices": dict(sizes(ask.cost.devices)),
                    "source": ask.cost.source,
                    "grows_bytes": ask.cost.grows,
                    "seconds": rounded(Seconds(trio.current_time() - ask.since)),
                    "reason": ask.reason,
                }
                for ask in governor.asks
            ],
            "decisions": [_record(record) for record in governor.records],
        }
        return as_json(answer)

    @routes.get("/memory/<model:name>")
    async def one(name: str) -> Response:
        backend = routed(fleet, name)
        if backend is not None and backend.model is None:
            return as_json(_elsewhere(backend, governor))
        model = fleet.find_running(name)
        state, _ = state_and_reason(model)
        footprint = governor.footprint(model)
        loaded = next((each for each in governor.loaded_models() if each.name == model.spec.name), None)
        share = await governor.cached_share(model)
        answer: shapes.ModelMemory = {
            **running_entry(model, footprint),
            "next_load": {
                "seconds": rounded(Seconds(governor.load_seconds(model))),
                "mode": model.spec.load_mode,
                "cached_share": None if share is None else round(share, 3),
            },
            "state": state,
            "here": True,
            "backends": backends_as_json(backend),
            "routes": routes_as_json(backend),
            "since": None if state is not model.state else wall(model.since),
            "counts": _counts(model),
            "min_residency": rounded(governor.floor),
            "loaded": None if loaded is None else _loaded(loaded, governor),
            "waits_for": next((ask.reason for ask in governor.asks if ask.model is model), None),
            "pressure": _pressure(governor),
            "failure": None if model.failure is None else str(model.failure),
            "context": {"wanted": model.wanted_context or None, "served": model.context},
            "prompt_cache": of_model(prompts, model),
            "history": [_entry(entry) for entry in model.history.entries],
        }
        return as_json(answer)

    return routes


def _elsewhere(backend: RoutedBackend, governor: Governor) -> shapes.ModelMemory:
    """What is told of a model that only peers have."""
    return {
        **facts_elsewhere(backend),
        "next_load": {"seconds": None, "mode": backend.spec.load_mode, "cached_share": None},
        "state": State.UNLOADED,
        "here": False,
        "backends": backends_as_json(backend),
        "routes": routes_as_json(backend),
        "since": None,
        "counts": {"loads": 0, "unloads": {}, "refaults": 0, "requests": 0, "waited_seconds": 0},
        "min_residency": rounded(governor.floor),
        "loaded": None,
        "pressure": _pressure(governor),
        "failure": None,
        "context": {"wanted": None, "served": None},
        "prompt_cache": nothing_kept("its engine is not here"),
        "history": [],
    }


def _pressure(governor: Governor) -> shapes.PressureNow:
    pressure = governor.pressure
    return {"level": pressure.level, "reason": pressure.reason, "nothing_unloaded": _left(governor)}


def _left(governor: Governor) -> str | None:
    """Return why no model is unloaded although memory is short; None if one is, or if it isn't short."""
    return None if governor.left is None else governor.left.reason


def kept(machine: Machine, loaded_models: Iterable[LoadedModel]) -> int:
    """The bytes under the ceiling that are kept for what models may still come to hold, until a load needs them."""
    committed, grows = 0, 0
    for each in loaded_models:
        committed, grows = committed + each.cost.here, grows + each.grows
    return max(min(grows, machine.ceiling - committed), 0)


def _counts(model: Model) -> shapes.Counts:
    history = model.history
    return {
        "loads": history.loads,
        "unloads": dict(history.unloads),
        "refaults": history.refaults,
        "requests": history.waits,
        "waited_seconds": rounded(history.waited),
    }


def _loaded(loaded: LoadedModel, governor: Governor) -> shapes.Loaded:
    own = governor.itself(loaded)
    return {
        "model": loaded.name,
        "footprint_bytes": own.cost.total,
        "footprint_source": governor.source(loaded.name),
        "grows_bytes": loaded.grows,
        "freeable_bytes": own.freeable.total,
        "devices": dict(sizes(own.cost)),
        "priority": loaded.priority,
        "pinned": loaded.pinned,
        "in_flight": loaded.in_flight,
        "loss_seconds": rounded(Seconds(loss(loaded, trio.current_time(), governor.rules))),
        "save_seconds": round(loaded.save_seconds, 3),
        "idle_seconds": rounded(Seconds(max(trio.current_time() - loaded.last_used, 0.0))),
        "stays": governor.stays(loaded) or None,
    }


def _record(record: DecisionRecord) -> shapes.DecisionRecord:
    return {
        "at": record.at,
        **decision_as_json(record.decision),
        "freed_bytes": record.freed,
        "seconds": record.seconds,
    }


def decision_as_json(decision: Decision) -> shapes.Decision:
    """A decision with everything that it was made from."""
    return {
        "decision": decision.kind,
        "model": decision.model or None,
        "reason": decision.reason,
        "left": decision.left or None,
        "bytes": decision.bytes,
        "victims": list(decision.victims),
        "delay_seconds": round(decision.delay, 3),
        "paused": list(decision.paused),
        "holders": list(decision.holders),
        "level": decision.level,
        "ceiling_bytes": decision.ceiling,
        "room_bytes": decision.room,
        "available_bytes": decision.available,
        "missing_bytes": max([0, *(decision.missing[pool] for pool in decision.missing)]),
        "weighed": _weighed(decision.weighed),
    }


def _weighed(weighed: Iterable[Weighed]) -> list[shapes.Weighed]:
    return [
        {
            "model": each.name,
            "footprint_bytes": each.cost.total,
            "freeable_bytes": each.freeable.total,
            "rank": each.rank,
            "loss_seconds": finite(round(each.loss, 3)),
            "delay_seconds": round(each.delay, 3),
            "stays": each.stays or None,
        }
        for each in weighed
    ]


def _entry(entry: HistoryEntry) -> shapes.HistoryEntry:
    return {
        "at": entry.at,
        "what": entry.what,
        "cause": entry.cause,
        "reason": entry.reason,
        "freed_bytes": entry.freed,
        "decision": None if entry.decision is None else decision_as_json(entry.decision),
    }
