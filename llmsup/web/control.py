"""The control API: what is running, which models there are, load and unload."""

from __future__ import annotations

import time
from functools import partial
from typing import Any, cast

import trio
from attrs import asdict
from quart import Blueprint, Response, request

from .. import __version__
from ..catalog.described import presets
from ..errors import BadRequest
from ..fleet.fleet import Fleet
from ..fleet.memory.governor import Governor
from ..fleet.model.states import State
from ..fleet.reconciler import Reconciler
from ..gateway.body import JsonBody
from ..prompt_cache.cache import PromptCache
from ..units import Bytes
from .answers import as_json
from .connection import LeasingRequest
from .control_body import control_body
from .events import as_events
from .llama_server_events import follow
from .llama_server_list import as_ollama_lists
from .llama_swap import BY_HAND
from .status import model_entry, running_entry


def control(fleet: Fleet, reconciler: Reconciler, governor: Governor) -> Blueprint:
    """Return the routes of the control API."""
    routes = Blueprint("control", __name__)

    @routes.get("/")
    async def index() -> Response:
        about = "a supervisor for local language models"
        return as_json({"name": "llmsup", "version": __version__, "about": about, "models": "/v1/models"})

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
            return as_json({"status": "shutting down"}, 503)
        # This needs no key, so it names neither models nor programs.
        count, of = len(fleet.without_engine), len(fleet.models)
        problem = f"{count} of {of} models can't be started, as there is no engine for them: `llmsup ls` tells more"
        return as_json({"status": "ok", **({"problems": [problem]} if count else {})})

    @routes.get("/running")
    async def running() -> Response:
        entries = [running_entry(model, governor.footprint(model)) for model in governor.by_worth(fleet.running())]
        return as_json({"running": entries} if request.args.get("format") == "llama-swap" else entries)

    @routes.post("/reload-config")
    async def reload_config() -> Response:
        done = await reconciler.reload()
        return as_json({**asdict(done.changes), "refused": done.refused, "restart_needed": done.restart})

    @routes.get("/catalog")
    async def catalog() -> Response:
        left_out = [{"path": str(left.path), "reason": left.reason} for left in reconciler.snapshot.left_out]
        read = {"complete": reconciler.snapshot.complete, "read": reconciler.read, "of": reconciler.of}
        return as_json({"models": len(reconciler.snapshot.models), **read, "left_out": left_out})

    return routes


def models(fleet: Fleet, reconciler: Reconciler, governor: Governor, prompts: PromptCache) -> Blueprint:
    """Return the routes for models: list, load, unload."""
    routes = Blueprint("models", __name__)
    created = int(time.time())

    @routes.get("/models")
    @routes.get("/v1/models")
    async def listed() -> Response:
        if request.args.get("reload") in ("1", "true") and cast("LeasingRequest", request).caller.admin:
            await reconciler.rescan()
        most = Bytes(governor.machine().ceiling)
        data: list[dict[str, Any]] = []
        caller = cast("LeasingRequest", request).caller
        shown = [model for model in caller.usable(fleet) if not model.spec.unlisted]
        costs = await governor.costs(shown)
        for model in shown:
            await trio.lowlevel.checkpoint()  # hundreds of models must not delay running streams
            names = fleet.names_of(model)
            lacks, cost = fleet.without_engine.get(model.spec.name, ""), costs[model]
            told = partial(model_entry, model, created=created, cost=cost, ceiling=most, names=names, lacks=lacks)
            able = prompts.ability(model.entry)
            data += [
                told(preset=preset, able=able)
                for preset in presets(model.spec)
                if caller.may_use(fleet, model.spec.name, preset)
            ]
        data.sort(key=lambda entry: str(entry["id"]).casefold())
        ends = {"first_id": data[0]["id"], "last_id": data[-1]["id"]} if data else {"first_id": None, "last_id": None}
        anthropic = {"has_more": False, **ends}
        return as_json({"object": "list", "data": data, "models": as_ollama_lists(data), **anthropic})

    @routes.get("/models/sse")
    async def watched() -> Response:
        return as_events(follow(fleet))

    @routes.get("/v1/models/<model:name>")
    async def model(name: str) -> Response:
        match = await cast("LeasingRequest", request).caller.known(fleet, name)
        most = Bytes(governor.machine().ceiling)
        model = fleet.model(match.id)
        names, (cost,) = fleet.names_of(model), (await governor.costs([model])).values()
        lacks, preset = fleet.without_engine.get(match.id, ""), match.preset
        told = partial(model_entry, model, created=created, cost=cost, ceiling=most, names=names, lacks=lacks)
        return as_json(told(preset=preset, able=prompts.ability(model.entry)))

    @routes.post("/models/load")
    async def load() -> Response:
        body = await control_body()
        wait = body.flag("wait", default=True)
        model = fleet.model((await fleet.known(_name(body))).id)
        began = trio.current_time()
        if wait:
            await fleet.until_loaded(model)
            seconds = round(trio.current_time() - began, 3)
            return as_json({"success": True, "model": model.spec.name, "seconds": seconds})
        fleet.load(model)
        # A model that can never fit is refused as soon as it starts to wait.
        await model.until(lambda: model.state not in (State.FAILED, State.UNLOADED) or not model.intent.load)
        return as_json({"success": True, "model": model.spec.name, "state": str(model.state)})

    @routes.post("/models/unload")
    async def unload() -> Response:
        body = await control_body()
        force, everything = body.flag("force", default=False), body.flag("all", default=False)
        began = trio.current_time()
        if everything:
            models = fleet.running()
            freed = await fleet.unload_all(BY_HAND, force=force)
        else:
            models = [fleet.find_running(_name(body))]
            freed = await models[0].unload(BY_HAND, force=force)
        done: dict[str, Any] = {"success": True, "freed_bytes": freed}
        done["seconds"] = round(trio.current_time() - began, 3)
        names = [model.spec.name for model in models]
        return as_json({**done, "models": names} if everything else {**done, "model": names[0]})

    return routes


def _name(body: JsonBody) -> str:
    name: Any = body.get("model")
    if not isinstance(name, str) or not name:
        raise BadRequest('Say which model: {"model": "NAME"}.', param="model")
    return name
