"""The control API: what is running, which models there are, what the config says. `loads` loads and unloads."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any, cast

import trio
from quart import Blueprint, Response, request

from .. import __version__
from ..catalog.described import presets
from ..fleet.fleet import Fleet
from ..fleet.memory.governor import Governor
from ..fleet.model.model import Model
from ..fleet.reconciler import Reconciler
from ..gateway.keyring import Caller
from ..gateway.places import Placed, Places
from ..memory.cost.cost import Cost
from ..peers.peers import Peers
from ..prompt_cache.cache import PromptCache
from ..units import Bytes
from .answers import as_json
from .elsewhere import elsewhere_entry
from .events import as_events
from .leasing import LeasingRequest
from .llama_server_events import follow
from .llama_server_list import as_ollama_lists
from .pause import pause_as_json
from .peers import unanswered
from .shapes import control as shapes
from .shapes.models import ModelEntry, ModelList, RunningInEnvelope
from .status import model_entry, running_entry

PAUSED = "llmsup is paused, and refuses requests for models: `llmsup resume` ends that"
UNAPPLIED = "the config's file has changed, and what it says can't be applied: `llmsup check` tells why"


def control(fleet: Fleet, reconciler: Reconciler, governor: Governor, peers: Peers) -> Blueprint:
    """Return the routes of the control API."""
    routes = Blueprint("control", __name__)

    @routes.get("/props")
    async def props() -> Response:
        """Return what llama-server's router says about itself. For one model there is `/props?model=NAME`."""
        defaults: dict[str, Any] = {"params": {}, "n_ctx": 0}
        about = {
            "role": "router",
            "models_autoload": True,
            "model_alias": "llmsup",
            "build_info": f"llmsup {__version__}",
        }
        return as_json({**about, "default_generation_settings": defaults})

    @routes.get("/health")
    @routes.get("/v1/health")
    async def health() -> Response:
        if fleet.closing:
            return as_json(shapes.Health(status="shutting down"), 503)
        problems = _problems(fleet, reconciler, peers)
        return as_json(shapes.Health(status="ok", problems=problems) if problems else shapes.Health(status="ok"))

    @routes.get("/running")
    async def running() -> Response:
        entries = [running_entry(model, governor.footprint(model)) for model in governor.dearest_first(fleet.running())]
        if request.args.get("format") != "llama-swap":
            return as_json(entries)
        envelope = RunningInEnvelope(running=entries)
        if (paused := pause_as_json(fleet.paused)) is not None:
            envelope["paused"] = paused
        return as_json(envelope)

    @routes.post("/reload-config")
    async def reload_config() -> Response:
        done = await reconciler.reload()
        changes = done.changes
        answer: shapes.Reloaded = {
            "added": list(changes.added),
            "removed": list(changes.removed),
            "changed": list(changes.changed),
            "unchanged": list(changes.unchanged),
            "refused": dict(done.refused),
            "settings": list(done.settings),
            "restart_needed": list(done.restart),
        }
        return as_json(answer)

    @routes.get("/reload-config")
    async def config_state() -> Response:
        file = reconciler.file
        state: shapes.ConfigState = {
            "file": str(file.path) if file.path else None,
            "watched": file.watched,
            "since": round(file.since, 3),
            "problem": str(file.problem) if file.problem else None,
            "mistakes": list(file.mistakes),
        }
        return as_json(state)

    @routes.get("/catalog")
    async def catalog() -> Response:
        found = reconciler.snapshot
        answer: shapes.Catalog = {
            "models": len(found.models),
            "complete": found.complete,
            "read": reconciler.read,
            "of": reconciler.of,
            "left_out": [{"path": str(left.path), "reason": left.reason} for left in found.left_out],
        }
        return as_json(answer)

    return routes


def _problems(fleet: Fleet, reconciler: Reconciler, peers: Peers) -> list[str]:
    """What keeps models from being served. It is told without a key: it names no model, program, file or peer."""
    problems: list[str] = []
    if count := len(fleet.without_engine):
        of = len(fleet.models)
        problems.append(
            f"{count} of {of} models can't be started, as there is no engine for them: `llmsup ls` tells more"
        )
    if fleet.paused is not None:
        problems.append(PAUSED)
    if reconciler.file.problem is not None:
        problems.append(UNAPPLIED)
    if silent := unanswered(peers):
        problems.append(silent)
    return problems


def models(
    fleet: Fleet, reconciler: Reconciler, governor: Governor, prompts: PromptCache, places: Callable[[], Places]
) -> Blueprint:
    """Return the routes of the lists of models. `places` tells where those of peers are."""
    routes = Blueprint("models", __name__)
    created = int(time.time())

    def entry(model: Model, preset: str, cost: Cost, caller: Caller, ceiling: Bytes, there: Places) -> ModelEntry:
        """What a caller is told of a model, or of a preset of one."""
        return model_entry(
            model,
            created=created,
            cost=cost,
            ceiling=ceiling,
            names=fleet.names_of(model),
            able=prompts.ability(model.entry),
            preset=preset,
            lacks=fleet.without_engine.get(model.spec.name, ""),
            told=partial(caller.told, fleet),
            admin=caller.admin,
            peers=there.others(model),
            down=there.others_down(model),
        )

    def away(placed: Placed, caller: Caller, there: Places) -> ModelEntry:
        """What a caller is told of a model that isn't here."""
        return elsewhere_entry(placed, created=created, names=there.names(placed, caller), admin=caller.admin)

    @routes.get("/models")
    @routes.get("/v1/models")
    async def listed() -> Response:
        if request.args.get("reload") in ("1", "true") and cast("LeasingRequest", request).caller.admin:
            await reconciler.rescan()
        ceiling = Bytes(governor.machine().ceiling)  # once for hundreds of models
        data: list[ModelEntry] = []
        caller = cast("LeasingRequest", request).caller
        shown = [model for model in caller.usable(fleet) if not model.spec.unlisted]
        costs = await governor.costs(shown)
        there = places()
        for model in shown:
            await trio.lowlevel.checkpoint()  # hundreds of models must not delay running streams
            data += [
                entry(model, preset, costs[model], caller, ceiling, there)
                for preset in presets(model.spec)
                if caller.may_use(fleet, model.spec.name, preset)
            ]
        for placed in there.listed(caller):
            await trio.lowlevel.checkpoint()
            data.append(away(placed, caller, there))
        data.sort(key=lambda entry: entry["id"].casefold())
        answer: ModelList = {
            "object": "list",
            "data": data,
            "models": as_ollama_lists(data),
            "has_more": False,  # this and the next two are for Anthropic's clients
            "first_id": data[0]["id"] if data else None,
            "last_id": data[-1]["id"] if data else None,
        }
        return as_json(answer)

    @routes.get("/models/sse")
    async def watched() -> Response:
        return as_events(follow(fleet))

    @routes.get("/v1/models/<model:name>")
    async def model(name: str) -> Response:
        caller = cast("LeasingRequest", request).caller
        match = await caller.known(fleet, name)
        there = places()
        if match.id not in fleet.models and (placed := there.find(match.id)) is not None:
            return as_json(away(placed, caller, there))
        model = fleet.model(match.id)
        (cost,) = (await governor.costs([model])).values()
        return as_json(entry(model, match.preset, cost, caller, Bytes(governor.machine().ceiling), there))

    return routes
