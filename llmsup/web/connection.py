"""How a request that Quart carries meets the gateway: its head, its reply, and what must end with it.

It does not know any path.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from functools import cached_property
from types import TracebackType
from typing import Any, cast

import trio
from hypercorn.typing import ASGISendCallable, HTTPScope
from quart import Quart, Request
from quart.wrappers import Response
from quart.wrappers.response import ResponseBody
from quart_trio.asgi import TrioASGIHTTPConnection
from quart_trio.wrappers import TrioRequest
from werkzeug.datastructures import Headers

from ..errors import Error
from ..gateway.message import Reply, RequestHead
from ..gateway.paths import canonical, decoded


class LeasingRequest(TrioRequest):
    """A request that owns things until its last byte is out.

    Attributes:
        resources: Enter leases here: it is closed by the very task that handles the request, however it ends.
    """

    resources: AsyncExitStack

    @cached_property
    def head(self) -> RequestHead:
        """The request's head, from the bytes that came: Quart's own headers are re-cased and re-ordered."""
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

    async def handle_request(self, nursery: trio.Nursery, request: Request, send: ASGISendCallable) -> None:  # type: ignore[override]  # quart's is for asyncio
        try:
            async with AsyncExitStack() as cast("LeasingRequest", request).resources:
                await super().handle_request(nursery, request, send)
        except Error:
            # The body can't be finished. Ending without its last chunk makes Hypercorn cut the connection, which
            # tells the client; the gateway has logged why.
            nursery.cancel_scope.cancel()


class RelayBody(ResponseBody):
    """A reply's body. Not an async generator: those are finalised when the garbage collector gets round to it."""

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
    """A Quart response that has the reply's headers and no others."""
    response = Response(RelayBody(reply.body), status=reply.status)
    response.headers = Headers([(name.decode("latin-1"), value.decode("latin-1")) for name, value in reply.headers])
    response.timeout = None  # a stream may be silent for longer than Quart's minute
    return response
