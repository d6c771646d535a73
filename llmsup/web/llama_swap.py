"""llama-swap's own paths, which its dashboard and people's scripts call, with its answers.

What it has and llmsup has not (profiles, captures, samples of the machine) is empty, or is said not to be there.
"""

from __future__ import annotations

from collections.abc import Callable

from quart import Blueprint, Response

from ..errors import MethodNotImplemented, NotFound
from ..fleet.fleet import Fleet
from ..gateway.activity import Activity
from ..gateway.places import Places
from .answers import as_json, as_text
from .control_body import control_body
from .events import as_events
from .llama_swap_events import follow

BY_HAND = "asked for over the API"


def llama_swap(fleet: Fleet, activity: Activity, places: Callable[[], Places]) -> Blueprint:
    """Return its routes."""
    routes = Blueprint("llama_swap", __name__)

    @routes.get("/unload")
    async def unload() -> Response:
        await fleet.unload_all(BY_HAND)
        return as_text("OK")

    @routes.post("/api/models/unload")
    async def unload_all() -> Response:
        await fleet.unload_all(BY_HAND)
        return as_json({"msg": "ok"})

    @routes.post("/api/models/unload/<model:name>")
    async def unload_one(name: str) -> Response:
        await fleet.find_running(name).unload(BY_HAND)
        return as_text("OK")

    @routes.get("/api/events")
    async def events() -> Response:
        return as_events(follow(fleet, activity, places))

    @routes.get("/api/profiles")
    async def profiles() -> Response:
        return as_json({"active": None, "profiles": []})

    @routes.put("/api/profiles/active")
    async def choose() -> Response:
        if (name := (await control_body()).get("name")) is not None:
            raise NotFound(f"There is no profile {str(name)[:100]!r}: llmsup has none.", hint="See presets.")
        return as_json({"active": None})

    @routes.get("/api/captures/<int:_number>")
    async def capture(_number: int) -> Response:
        raise NotFound("What was asked and answered is not kept.")

    @routes.get("/api/performance")
    async def performance() -> Response:
        return as_json({"enabled": False}, 503)

    @routes.post("/api/inflight/<int:_number>/cancel")
    async def cancel(_number: int) -> Response:
        raise MethodNotImplemented(
            "A request can't be cancelled from outside.",
            hint='Close its connection, or all of a model\'s: POST /models/unload {"model": "NAME", "force": true}.',
        )

    return routes
