"""How a request carried by Quart meets the gateway: its head, its reply, and what must end with it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from functools import cached_property
from http import HTTPStatus
from types import TracebackType
from typing import Any, cast

import trio
from hypercorn.typing import ASGIReceiveCallable, ASGISendCallable, ASGISendEvent, HTTPScope
from quart import Quart, Request
from quart.typing import ResponseTypes
from quart.wrappers import Response
from quart.wrappers.response import ResponseBody
from quart_trio.asgi import TrioASGIHTTPConnection
from quart_trio.wrappers import TrioRequest
from werkzeug.datastructures import Headers

from ..errors import Error
from ..gateway.keyring import STRANGER, Caller
from ..gateway.message import Reply, RequestHead
from ..gateway.paths import canonical, decoded
from .hypercorn_server import INCOMING
from .upload import LINGER, MOMENT, Upload


class LeasingRequest(TrioRequest):
    """A request that owns resources until its last byte is sent.

    Attributes:
        caller: Whose request it is, once that was checked.
        resources: Enter leases here: the task that handles the request closes it, however the request ends.
    """

    body_class = Upload  # type: ignore[assignment]  # quart-trio's is declared as itself, not as any of its kind
    body: Upload
    caller: Caller = STRANGER
    resources: AsyncExitStack

    @cached_property
    def head(self) -> RequestHead:
        """The request's head, from the raw headers: Quart changes their case and order."""
        scope: Any = self.scope
        return RequestHead(
            method=scope["method"].upper(),
            path=scope["path"],
            raw_path=scope["raw_path"],
            query=scope["query_string"],
            headers=[(bytes(name), bytes(value)) for name, value in scope["headers"]],
            client=(scope.get("client") or ("",))[0] or "local",
        )


class LeasingConnection(TrioASGIHTTPConnection):
    """Ties leases to the task of the request.

    Quart's own places are too early or too late: `teardown_request` runs before a body streams, and a body's
    `__aexit__` never runs if the client leaves before its `__aenter__`.
    """

    def __init__(self, app: Quart, scope: HTTPScope) -> None:
        raw_path = canonical(scope["raw_path"])
        super().__init__(app, {**scope, "raw_path": raw_path, "path": decoded(raw_path)})
        self._upload = Upload()  # the request's, as soon as there is one
        self._answered = False

    async def handle_messages(self, nursery: trio.Nursery, request: Request, receive: ASGIReceiveCallable) -> None:  # type: ignore[override]  # quart's is for asyncio
        """As in Quart, except that an unread body is not buffered, and that a finished answer isn't cancelled.

        So Hypercorn can close the connection after it.
        """
        upload = cast("LeasingRequest", request).body
        while (message := await receive())["type"] != "http.disconnect":
            if message["type"] == "http.request":
                await upload.put(message.get("body", b""))
                if not message.get("more_body", False):
                    upload.set_complete()
        if not self._answered:
            nursery.cancel_scope.cancel()

    async def _send_response(self, send: ASGISendCallable, response: ResponseTypes) -> None:
        """As in Quart, except that a client still sending its body is told that the connection will close.

        It may go on sending for a moment: after an immediate reset it might never read the answer.
        """
        upload = self._upload
        upload.discard()
        sends = any(name in (b"content-length", b"transfer-encoding") for name, _ in self.scope["headers"])
        early = sends and not await upload.linger(MOMENT)
        if early and self.scope["http_version"].startswith("1"):
            response.headers["Connection"] = "close"

        async def passed_on(message: ASGISendEvent) -> None:
            if message["type"] == "http.response.body" and not message.get("more_body", False):
                if early and response.status_code != HTTPStatus.REQUEST_TIMEOUT:  # who sends nothing, reads
                    await upload.linger(LINGER)
                self._answered = True
            await send(message)

        await super()._send_response(cast("ASGISendCallable", passed_on), response)

    async def handle_request(self, nursery: trio.Nursery, request: Request, send: ASGISendCallable) -> None:  # type: ignore[override]  # quart's is for asyncio
        try:
            self._upload = cast("LeasingRequest", request).body
            self._upload.incoming = cast("dict[str, Any]", self.scope)["state"].get(INCOMING)
            async with AsyncExitStack() as cast("LeasingRequest", request).resources:
                await super().handle_request(nursery, request, send)
        except Error:
            # The body can't be finished. Ending without its last chunk makes Hypercorn cut the connection, which
            # tells the client; the gateway has logged why.
            nursery.cancel_scope.cancel()


class RelayBody(ResponseBody):
    """A reply's body. Not an async generator, which would be finalised only by the garbage collector."""

    def __init__(self, chunks: AsyncIterator[bytes]) -> None:
        self._chunks = chunks

    async def __aenter__(self) -> AsyncIterator[bytes]:
        return self._chunks

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc_value: BaseException | None, tb: TracebackType | None
    ) -> None:
        close = getattr(self._chunks, "aclose", None)
        if close is not None:
            await close()


def response_of(reply: Reply) -> Response:
    """Return a Quart response with exactly the reply's headers."""
    response = Response(RelayBody(reply.body), status=reply.status)
    response.headers = Headers([(name.decode("latin-1"), value.decode("latin-1")) for name, value in reply.headers])
    response.timeout = None  # a stream may be silent for longer than Quart's minute
    return response
