"""The output of engines and of llmsup itself: recent lines, and live ones."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

from quart import Blueprint, Response, request

from ..fleet.fleet import Fleet
from ..process.logbook import LogBook, passed_on
from .answers import as_text
from .leasing import RelayBody
from .not_here import told_where


def logs(fleet: Fleet) -> Blueprint:
    """The routes under /logs."""
    routes = Blueprint("logs", __name__)

    def book_of(name: str) -> LogBook:
        if not name:
            return fleet.book
        with told_where(fleet, name, "logs"):
            return fleet.find(name).book

    def of_llama_swap(name: str) -> bool | None:
        """Whether a word of llama-swap's means the engines' lines, or llmsup's own; None: it means a model."""
        return None if name not in ("proxy", "upstream") or fleet.knows(name) else name == "upstream"

    @routes.get("/logs")
    @routes.get("/logs/<model:name>")
    async def recent(name: str = "") -> Response:
        return as_text("".join(f"{line}\n" for line in book_of(name).tail()))

    @routes.get("/logs/stream")
    @routes.get("/logs/stream/<model:name>")
    async def stream(name: str = "") -> Response:
        history, only = "no-history" not in request.args, of_llama_swap(name)
        book = fleet.book if only is not None else book_of(name)
        response = Response(RelayBody(_live(book, history, only)), content_type="text/plain; charset=utf-8")
        response.timeout = None
        response.headers["X-Accel-Buffering"] = "no"
        return response

    return routes


async def _live(book: LogBook, history: bool, only: bool | None) -> AsyncGenerator[bytes, None]:
    """`only`: those lines alone that are passed on from another book, or those that aren't."""
    seen = book.written
    yield "".join(f"{line}\n" for line in book.tail() if history and only in (None, passed_on(line))).encode()
    async with aclosing(book.follow(seen)) as lines:
        async for line in lines:
            if only in (None, passed_on(line)):
                yield f"{line}\n".encode()
