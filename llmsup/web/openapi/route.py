"""The route of the document."""

from __future__ import annotations

from collections.abc import Collection

from quart import Blueprint, Response

from ..answers import as_json


def openapi(for_all_keys: Collection[str]) -> Blueprint:
    """The route /openapi.json. `for_all_keys`: the routes that don't need a key with `admin`."""
    routes = Blueprint("openapi", __name__)

    @routes.get("/openapi.json")
    async def whole() -> Response:
        from .document import document  # some milliseconds and a megabyte, for who asks

        return as_json(document(for_all_keys))

    return routes
