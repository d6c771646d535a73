"""The output of engines and of llmsup itself: recent lines, and live ones."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

from quart import Blueprint, Response, request

from ..fleet.fleet import Fleet
from ..process.logbook import LogBook
from .answers import as_text
from .connection import RelayBody


def logs(fleet: Fleet) -> Blueprint:
    """The routes under /logs."""
    routes = Blueprint("logs", __name__)

    def book_of(name: str) -> LogBook:
        return fleet.find(name).book if name else fleet.book

    @routes.get("/logs")
    @routes.get("/logs/<model:name>")
    async def recent(name: str = "") -> Response:
        return as_text("".join(f"{line}\n" for line in book_of(name).tail()))

    @routes.get("/logs/stream")
    @routes.get("/logs/stream/<model:name>")
    async def stream(name: str = "") -> Response:
        history = "no-history" not in request.args
        response = Response(RelayBody(_live(book_of(name), history)), content_type="text/plain; charset=utf-8")
        response.timeout = None
        response.headers["X-Accel-Buffering"] = "no"
        return response

    return routes


async def _live(book: LogBook, history: bool) -> AsyncGenerator[bytes, None]:
    seen = book.written
    yield "".join(f"{line}\n" for line in book.tail() if history).encode()
    async with aclosing(book.follow(seen)) as lines:
        async for line in lines:
            yield f"{line}\n".encode()
