"""The front with something simple at the ends of its roads: a made-up gateway, or the same as an ASGI app."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, cast

import trio
from attrs import evolve

from llmsup.engines.http import Headers
from llmsup.gateway.gateway import Gateway
from llmsup.gateway.message import Reply, RequestHead
from llmsup.gateway.routes import Routes
from llmsup.web.head import Head
from llmsup.web.hypercorn_server import HypercornServer
from llmsup.web.lookout import Lookout
from llmsup.web.roads import Roads

App = Callable[[Any, Any, Any], Awaitable[None]]

Behaviour = Callable[[RequestHead, AsyncIterable[bytes]], Awaitable[Reply]]


class MadeUp:
    """A gateway that does what a test wants, with everybody."""

    def __init__(self, behave: Behaviour) -> None:
        self._behave = behave
        self.guard = self
        self.routes = Routes()

    def headers(self, _: RequestHead) -> Headers:
        return []

    @asynccontextmanager
    async def exchange(self, head: RequestHead, chunks: AsyncIterable[bytes]) -> AsyncIterator[Reply]:
        yield await self._behave(head, chunks)


class Straight(Roads):
    """Everything goes straight into the gateway."""

    def direct(self, head: Head, client: str) -> RequestHead | None:
        as_if = super().direct(evolve(head, method="GET", target=b"/upstream" + head.target), client)
        return as_if and evolve(as_if, method=head.method, path=as_if.path.removeprefix("/upstream"))


def app_of(behave: Behaviour) -> App:
    """The same as an ASGI app, which is cancelled when its client leaves."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        put, body = trio.open_memory_channel[bytes](10)
        head = RequestHead(
            method=scope["method"], path=scope["path"], raw_path=scope["raw_path"], headers=scope["headers"]
        )
        async with trio.open_nursery() as nursery:

            async def read() -> None:
                while (message := await receive())["type"] != "http.disconnect":
                    await put.send(message["body"])
                    if not message["more_body"]:
                        put.close()
                nursery.cancel_scope.cancel()

            nursery.start_soon(read)
            reply = await behave(head, body)
            await send({"type": "http.response.start", "status": reply.status, "headers": reply.headers})
            async for data in reply.body:
                await send({"type": "http.response.body", "body": data, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
            nursery.cancel_scope.cancel()

    return app


async def nobody(scope: Any, receive: Any, send: Any) -> None:
    """An app that may not be asked."""
    raise AssertionError(f"asked for {scope['path']}")


def roads(app: App = nobody, gateway: object = None, kind: type[Roads] = Roads) -> Roads:
    """Both roads, with that at their ends; all go to the app if there is no gateway."""
    fast = gateway is not None
    return kind(cast("Gateway", gateway), HypercornServer(cast("Any", app)), lambda: fast, Lookout())


def one_road(road: str, behave: Behaviour) -> Roads:
    """Everything takes that road."""
    return roads(gateway=MadeUp(behave), kind=Straight) if road == "fast" else roads(app_of(behave))
