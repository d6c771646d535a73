"""The control API's part that loads and unloads models."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import trio
from quart import Blueprint, Response, request

from ..errors import BadRequest
from ..fleet.fleet import Fleet
from ..fleet.memory.governor import Governor
from ..fleet.model.model import Model
from ..fleet.model.states import State
from ..gateway.body import JsonBody
from ..gateway.keeping import stated_ttl
from ..units import Bytes, Seconds
from .answers import as_json
from .control_body import control_body
from .llama_swap import BY_HAND
from .not_here import told_where
from .rehearsal import rehearse
from .shapes import control as shapes


def loads(fleet: Fleet, governor: Governor) -> Blueprint:
    """Return the routes that load and unload models."""
    routes = Blueprint("loads", __name__)

    @routes.post("/models/load")
    async def load() -> Response:
        body = await control_body()
        wait, ttl = body.flag("wait", default=True), stated_ttl(body)
        body.flag("pinned", default=False)  # wrong in a dry run, too
        rehearsed = request.args.get("dry_run") in ("1", "true")
        id_ = (await fleet.known(_name(body))).id
        with told_where(fleet, id_, "load --dry-run" if rehearsed else "load"):
            model = fleet.model(id_)
        if rehearsed:
            return as_json(await rehearse(model, fleet, governor))
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
            models, freed = fleet.running() if everything else [_loaded(fleet, _name(body))], Bytes(0)
            _unload_later(models, ttl)
        elif everything:
            models = fleet.running()
            freed = await fleet.unload_all(BY_HAND, force=force)
        else:
            models = [_loaded(fleet, _name(body))]
            freed = await models[0].unload(BY_HAND, force=force)
        done = shapes.Freed(success=True, freed_bytes=freed, seconds=round(trio.current_time() - began, 3))
        names = [model.spec.name for model in models]
        return as_json(
            shapes.UnloadAllDone(**done, models=names) if everything else shapes.UnloadDone(**done, model=names[0])
        )

    return routes


def _loaded(fleet: Fleet, name: str) -> Model:
    """The model that is to be unloaded. Raises ModelNotFound."""
    with told_where(fleet, name, "unload"):
        return fleet.find_running(name)


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
