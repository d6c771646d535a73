"""`GET /prompts/{model}`: which of its last prompts were computed again, and why."""

from __future__ import annotations

from quart import Blueprint, Response

from ..fleet.fleet import Fleet
from ..gateway.gateway import Gateway
from ..gateway.prompts.watch import as_json as told_as_json
from .answers import as_json


def prompts(fleet: Fleet, gateway: Gateway) -> Blueprint:
    """The route under /prompts. Times are Unix seconds; what is unknown is null."""
    routes = Blueprint("prompts", __name__)

    @routes.get("/prompts/<model:name>")
    async def one(name: str) -> Response:
        id_ = fleet.resolve(name).id
        of = gateway.prompts.of(id_)
        return as_json(
            {
                "model": id_,
                "followed": gateway.server.prompt_chains,
                "prompts": of.chains.turns,
                "conversations": len(of.chains.conversations),
                "computed_again": dict(of.kinds.most_common()),
                "last": [{"at": told.at, **told_as_json(told)} for told in of.last],
            }
        )

    return routes
