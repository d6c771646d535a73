"""The control API: what is running, which models there are, load and unload."""

from __future__ import annotations

import time
from collections.abc import Iterable
from functools import partial
from typing import Any, cast

import trio
from quart import Blueprint, Response, request

from .. import __version__
from ..catalog.described import presets
from ..errors import BadRequest
from ..fleet.fleet import Fleet
from ..fleet.memory.governor import Governor
from ..fleet.model.model import Model
from ..fleet.model.states import State
from ..fleet.reconciler import Reconciler
from ..gateway.body import JsonBody
from ..gateway.keeping import stated_ttl
from ..gateway.keyring import Caller
from ..memory.cost.cost import Cost
from ..units import Bytes, Seconds
from .answers import as_json
from .control_body import control_body
from .events import as_events
from .leasing import LeasingRequest
from .llama_server_events import follow
from .llama_server_list import as_ollama_lists
from .llama_swap import BY_HAND
from .shapes import control as shapes
from .shapes.models import ModelEntry, ModelList, RunningInEnvelope
from .status import model_entry, running_entry


def control(fleet: Fleet, reconciler: Reconciler, governor: Governor) -> Blueprint:
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
        # This needs no key, so it names neither models nor programs.
        count, of = len(fleet.without_engine), len(fleet.models)
        problem = f"{count} of {of} models can't be started, as there is no engine for them: `llmsup ls` tells more"
        return as_json(shapes.Health(status="ok", problems=[problem]) if count else shapes.Health(status="ok"))

    @routes.get("/running")
    async def running() -> Response:
        entries = [running_entry(model, governor.footprint(model)) for model in governor.dearest_first(fleet.running())]
        return as_json(RunningInEnvelope(running=entries) if request.args.get("format") == "llama-swap" else entries)

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


def models(fleet: Fleet, reconciler: Reconciler, governor: Governor) -> Blueprint:
    """Return the routes for models: list, load, unload."""
    routes = Blueprint("models", __name__)
    created = int(time.time())

    def entry(model: Model, preset: str, cost: Cost, ceiling: Bytes, caller: Caller) -> ModelEntry:
        """What a caller is told of a model, or of a preset of one."""
        return model_entry(
            model,
            created=created,
            cost=cost,
            ceiling=ceiling,
            names=fleet.names_of(model),
            preset=preset,
            lacks=fleet.without_engine.get(model.spec.name, ""),
            told=partial(caller.told, fleet),
            admin=caller.admin,
        )

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
        for model in shown:
            await trio.lowlevel.checkpoint()  # hundreds of models must not delay running streams
            data += [
                entry(model, preset, costs[model], ceiling, caller)
                for preset in presets(model.spec)
                if caller.may_use(fleet, model.spec.name, preset)
            ]
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
        model = fleet.model(match.id)
        (cost,) = (await governor.costs([model])).values()
        return as_json(entry(model, match.preset, cost, Bytes(governor.machine().ceiling), caller))

    @routes.post("/models/load")
    async def load() -> Response:
        body = await control_body()
        wait, ttl = body.flag("wait", default=True), stated_ttl(body)
        model = fleet.model((await fleet.known(_name(body))).id)
        began = trio.current_time()
        _pin(model, body)
        if wait:
            await fleet.until_loaded(model)
            _keep(model, ttl)
            seconds = round(trio.current_time() - began, 3)
            return as_json(shapes.LoadDone(success=True, model=model.spec.name, seconds=seconds))
        fleet.load(model)
        # A model that can never fit is refused as soon as it starts to wait.
        await model.until(lambda: model.state not in (State.FAILED, State.UNLOADED) or not model.intent.load)
        _keep(model, ttl)
        return as_json(shapes.LoadBegun(success=True, model=model.spec.name, state=model.state))

    @routes.post("/models/unload")
    async def unload() -> Response:
        body = await control_body()
        force, everything = body.flag("force", default=False), body.flag("all", default=False)
        began = trio.current_time()
        if (ttl := stated_ttl(body)) is not None:
            models, freed = fleet.running() if everything else [fleet.find_running(_name(body))], Bytes(0)
            _unload_later(models, ttl)
        elif everything:
            models = fleet.running()
            freed = await fleet.unload_all(BY_HAND, force=force)
        else:
            models = [fleet.find_running(_name(body))]
            freed = await models[0].unload(BY_HAND, force=force)
        done = shapes.Freed(success=True, freed_bytes=freed, seconds=round(trio.current_time() - began, 3))
        names = [model.spec.name for model in models]
        return as_json(
            shapes.UnloadAllDone(**done, models=names) if everything else shapes.UnloadDone(**done, model=names[0])
        )

    return routes


def _pin(model: Model, body: JsonBody) -> None:
    """Pin or unpin it, if that was said. Raises BadRequest."""
    pin = body.flag("pinned", default=False)
    if body.sets("pinned"):
        model.pin(pin)


def _keep(model: Model, ttl: Seconds | None) -> None:
    if ttl is not None:
        model.keep(ttl, by_hand=True)


def _unload_later(models: Iterable[Model], ttl: Seconds) -> None:
    """Have these unloaded once they have been idle for so long; as with every unload, a pin by hand is over."""
    for model in models:
        model.pin(None)
        model.keep(ttl, by_hand=True)


def _name(body: JsonBody) -> str:
    name: Any = body.get("model")
    if not isinstance(name, str) or not name:
        raise BadRequest('Say which model: {"model": "NAME"}.', param="model")
    return name
