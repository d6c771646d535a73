"""The body of a control request: a small JSON object, or nothing."""

from __future__ import annotations

from typing import cast

from quart import request

from ..gateway.body import AT_ONCE, JsonBody
from ..gateway.reading import read_body
from ..units import Bytes
from .leasing import LeasingRequest

LIMIT = Bytes(AT_ONCE)
"""Bytes. What can be said here is a model's name and a few words."""


async def control_body() -> JsonBody:
    """Return the body of the request being handled; without one, an empty object.

    Raises:
        InvalidJson: It is not a JSON object.
        Error: It can't be read, for one of the reasons given at `read_body`.
    """
    incoming = cast("LeasingRequest", request)
    limit, bound = LIMIT, "no control request needs more"
    if incoming.max_content_length is not None and incoming.max_content_length < LIMIT:
        limit, bound = Bytes(incoming.max_content_length), "server.max_body"
    data = await read_body(incoming.head, incoming.body, limit, bound=bound)
    return JsonBody(data or b"{}")
