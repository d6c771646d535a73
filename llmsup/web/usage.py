"""`GET /usage`: what each key has used."""

from __future__ import annotations

from typing import cast

from quart import Blueprint, Response, request

from ..gateway.usage import Tally, Usage
from .answers import as_json
from .leasing import LeasingRequest
from .shapes import control as shapes


def usage(used: Usage) -> Blueprint:
    """The route /usage. A key without `admin` sees its own line only."""
    routes = Blueprint("usage", __name__)

    @routes.get("/usage")
    async def by_key() -> Response:
        caller = cast("LeasingRequest", request).caller
        keys = [_entry(name, tally) for name, tally in used if caller.admin or name == caller.name]
        return as_json(shapes.Usage(since=round(used.since, 3), keys=keys))

    return routes


def _entry(name: str, tally: Tally) -> shapes.KeyUsage:
    return {
        "key": name,
        "requests": tally.requests,
        "refused": tally.refused,
        "in_flight": tally.in_flight,
        "tokens_in": tally.tokens_in,
        "tokens_out": tally.tokens_out,
        "requests_without_tokens": tally.unreported,
        "seconds": round(tally.seconds, 3),
        "last_used": None if tally.last is None else round(tally.last, 3),
    }
