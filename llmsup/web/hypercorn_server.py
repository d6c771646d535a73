"""Hypercorn, which serves the Quart-trio app: one connection at a time, over a pipe from the front.

Written against hypercorn 0.18's `trio.tcp_server.TCPServer`, whose `protocol_send` is corrected here; the dependency is
pinned for that reason. The front handles clients, their limits and timeouts, and only passes on HTTP/1.1 that it has
parsed.
"""

from __future__ import annotations

import logging
import math
from typing import Any

import trio
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config
from hypercorn.events import Closed, Event, RawData
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import ASGIFramework, ConnectionState

from .head import MAX_HEAD
from .pipe import ServersEnd

log = logging.getLogger(__name__)

INCOMING = "llmsup.incoming"
"""Where a request's ASGI state has its `Incoming`: of a chunk's size, only that knows before its bytes have come."""

BRIEF = 5.0
"""Seconds that may go by for what Hypercorn does at the end of a request, all of which is within this process."""


class Listener(TCPServer):
    """Hypercorn's connection handler.

    What isn't data is sent shielded. The end of a request is seen to in the task of that request, which Quart-trio has
    cancelled by then; so a connection that was announced as closing stayed open, and the next request on it was never
    read.
    """

    stream: ServersEnd  # type: ignore[assignment]  # Hypercorn's is declared as TLS over a socket

    async def protocol_send(self, event: Event) -> None:
        """As in Hypercorn, but as said above; and a cancelled send doesn't wait for its client."""
        if not isinstance(event, RawData):
            with trio.CancelScope(shield=True, deadline=trio.current_time() + BRIEF):
                await super().protocol_send(event)
            return
        if not event.data:
            return  # the end of a message with a Content-Length has no bytes: a third of all sends
        async with self.send_lock:
            try:
                await self.stream.send_all(event.data)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                await self.protocol.handle(Closed())
            except trio.Cancelled:
                self.stream.close()  # a piece is missing: nothing may follow
                raise


class HypercornServer:
    """Serves an ASGI app over pipes."""

    def __init__(self, app: ASGIFramework) -> None:
        self._app = ASGIWrapper(app)
        self._context = WorkerContext(None)
        self._config = Config()
        self._config.keep_alive_timeout = math.inf  # the front ends connections
        self._config.keep_alive_max_requests = 2**31
        self._config.h11_max_incomplete_size = 2 * MAX_HEAD
        self._config.max_app_queue_size = 2  # of 64 KiB each: ten for every body that waits would be much
        self._config.include_date_header = False  # engines send their own
        self._config.include_server_header = False
        self._config.errorlog = logging.getLogger("hypercorn.error")

    async def serve(self, stream: ServersEnd, state: dict[str, Any]) -> None:
        """Answer what comes over that pipe, until its other end is closed. Each request gets a copy of `state`."""
        try:
            await Listener(self._app, self._config, self._context, ConnectionState(state), stream).run()  # type: ignore[arg-type]  # any stream with a socket will do
        except Exception:  # one client's connection must not end the server
            log.exception("a connection broke")
