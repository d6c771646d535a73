"""`GET /ui`: the page for people. Its files lie in `web/ui/`, and are sent as they are: nothing is built, nothing is
fetched from elsewhere.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from html import escape
from http import HTTPStatus
from importlib.resources import files
from typing import cast

from attrs import frozen
from quart import Blueprint, Response, request

from .. import __version__
from ..catalog.described import kind
from ..errors import NotFound
from ..fleet.fleet import Fleet
from ..fleet.memory.governor import Governor
from ..fleet.model.model import Model
from ..units import format_bytes
from .leasing import LeasingRequest
from .status import state_and_reason

TYPES = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
}

HEADERS = {
    # Only what we sent ourselves runs, it talks to us alone, no other page can hold it, and no text becomes markup.
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'",
    "Cache-Control": "no-cache",  # asked for each time, and sent only if it is another
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}

PLACE = "<!-- the models -->"
"""Where the table for browsers without JavaScript goes."""


@frozen
class Part:
    """One file of the page."""

    body: bytes
    type: str


def page(fleet: Fleet, governor: Governor) -> Blueprint:
    """The routes /ui and /ui/NAME."""
    routes = Blueprint("page", __name__)
    parts = read()
    whole = parts.pop("index.html")

    @routes.get("/ui")
    async def index() -> Response:
        caller = cast("LeasingRequest", request).caller
        text = whole.body.decode().replace("$VERSION", escape(__version__))
        return _answer(Part(text.replace(PLACE, table(caller.usable(fleet), governor)).encode(), whole.type))

    @routes.get("/ui/<name>")
    async def part(name: str) -> Response:
        if name not in parts:
            raise NotFound(f"The page has no {name[:100]!r}.", hint="It is at /ui.")
        return _answer(parts[name])

    return routes


def read() -> dict[str, Part]:
    """The page's files, by name."""
    found = [(file.name, file.read_bytes()) for file in files("llmsup.web").joinpath("ui").iterdir() if file.is_file()]
    return {name: Part(body, TYPES[name.rpartition(".")[2]]) for name, body in found}


def _answer(part: Part) -> Response:
    tag = hashlib.sha256(part.body).hexdigest()[:32]
    response = Response(part.body, content_type=part.type, headers=HEADERS)
    response.set_etag(tag)
    if request.if_none_match.contains(tag):
        response = Response(b"", HTTPStatus.NOT_MODIFIED, HEADERS)
        response.set_etag(tag)
        del response.headers["Content-Type"]
    return response


def table(models: Iterable[Model], governor: Governor) -> str:
    """The models as a table, for browsers without JavaScript. A name may hold anything: it is text here, too."""
    rows = []
    for model in sorted(
        (each for each in models if not each.spec.unlisted), key=lambda each: each.spec.name.casefold()
    ):
        state, reason = state_and_reason(model)
        cost = governor.footprint(model)
        size = format_bytes(cost.bytes) if cost else ""
        cells = (model.spec.name, kind(model.entry), str(state), size, model.entry.refusal or reason)
        rows.append(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in cells)}</tr>")
    if not rows:
        return "<p>There are no models to show. If this server wants a key, <code>llmsup ls</code> shows them.</p>"
    head = "".join(f'<th scope="col">{name}</th>' for name in ("Model", "Kind", "State", "Memory", "Why"))
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"
