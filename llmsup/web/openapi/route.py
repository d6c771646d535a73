"""The route of the document."""

from __future__ import annotations

from collections.abc import Collection
from functools import cache

import msgspec
from quart import Blueprint, Response

from ..answers import as_json


def openapi(for_all_keys: Collection[str]) -> Blueprint:
    """The route /openapi.json. `for_all_keys`: the routes that don't need a key with `admin`."""
    routes = Blueprint("openapi", __name__)

    @cache
    def made() -> msgspec.Raw:
        """The document, made for the first who asks: that takes 10 ms, in which streams stand still."""
        from .document import document

        return msgspec.Raw(msgspec.json.encode(document(for_all_keys)))

    @routes.get("/openapi.json")
    async def whole() -> Response:
        return as_json(made())

    return routes
