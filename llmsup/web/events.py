"""`GET /events`: what happens, as it happens, for scripts (server-sent events)."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import trio
from msgspec import json
from quart import Blueprint, Response, request

from ..fleet.fleet import Fleet
from ..process.ring import Event, Events
from .leasing import RelayBody

HEARTBEAT = 15.0
"""Seconds of silence after which a comment is sent, to keep proxies from closing the connection."""


def events(fleet: Fleet) -> Blueprint:
    """The route /events. A client that comes back says with `Last-Event-ID` what it has seen (the HTML standard)."""
    routes = Blueprint("events", __name__)

    @routes.get("/events")
    async def follow() -> Response:
        last = request.headers.get("Last-Event-ID", "")
        seen = int(last) if last.isdecimal() and len(last) < 16 else fleet.events.written
        if seen > fleet.events.written:
            seen = 0  # a number that we have not reached is from before a restart: all that there is since then is new
        return as_events(_live(fleet.events, seen))

    return routes


def as_events(chunks: AsyncGenerator[bytes, None]) -> Response:
    """An answer that is a stream of server-sent events, for as long as it takes."""
    response = Response(RelayBody(chunks), content_type="text/event-stream; charset=utf-8")
    response.timeout = None
    response.headers["Cache-Control"] = "no-store"
    response.headers["X-Accel-Buffering"] = "no"
    return response


async def _live(events: Events, seen: int) -> AsyncGenerator[bytes, None]:
    yield b": events of llmsup\n\n"
    more = True
    while more:
        with trio.move_on_after(HEARTBEAT) as silence:
            more = await events.news(seen)
        new, seen = events.since(seen), events.written
        if silence.cancelled_caught:
            yield b": still here\n\n"
        for event in new:
            yield _told(event)


def _told(event: Event) -> bytes:
    data = json.encode({"at": event.at, **event.data})
    return b"id: %d\nevent: %s\ndata: %s\n\n" % (event.number, event.kind.encode(), data)
