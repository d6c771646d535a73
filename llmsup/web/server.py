"""Hypercorn, held by the hand: a listener that is bound before anything starts, clients that stop reading, and an
end in three steps.

It does not know the app. Written against hypercorn 0.18's `trio.tcp_server.TCPServer`, whose `protocol_send` it
replaces; the dependency is pinned for that reason.
"""

from __future__ import annotations

import errno
import logging
import socket
import ssl
from functools import partial
from typing import Any

import trio
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config
from hypercorn.events import Closed, Event, RawData
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import ASGIFramework, ConnectionState, LifespanState

from ..errors import SetupError
from ..units import Seconds

log = logging.getLogger(__name__)

STALLED = Seconds(60)
"""How long a client may take no byte while there are some for it. Hypercorn would wait for ever, in a task that
nothing can cancel, with a lease in its hands."""

KEEP_ALIVE = 75
"""Seconds. Clients' pools drop idle connections after 5 to 60 s; whoever drops first must not be the server."""


class Listener(TCPServer):
    """Hypercorn's connection handler, with a deadline on sending."""

    stalled = STALLED

    async def protocol_send(self, event: Event) -> None:
        """As in Hypercorn, but a client that takes nothing for `stalled` seconds is cut off."""
        if not isinstance(event, RawData):
            await super().protocol_send(event)
            return
        if not event.data:
            return  # the end of a message whose length was told has no bytes: a third of all sends
        async with self.send_lock:
            try:
                # Shielded, like the original: half a chunk must not be left behind by a cancelled request.
                with trio.fail_after(self.stalled, shield=True):
                    await self.stream.send_all(event.data)
            except trio.TooSlowError:
                log.info("a client took no byte for %g s: cut off", self.stalled)
                await trio.aclose_forcefully(self.stream)
                await self.protocol.handle(Closed())
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                await self.protocol.handle(Closed())


class WebServer:
    """Serves an ASGI app on sockets that are already listening.

    Attributes:
        stalled: See `STALLED`, in seconds.
    """

    def __init__(
        self,
        app: ASGIFramework,
        sockets: list[socket.socket],
        *,
        certfile: str = "",
        keyfile: str = "",
        stalled: Seconds = STALLED,
    ) -> None:
        self._app = ASGIWrapper(app)
        self._sockets = sockets
        self.stalled = stalled
        self._config = Config()
        self._config.keep_alive_timeout = KEEP_ALIVE
        self._config.keep_alive_max_requests = 2**31
        self._config.max_app_queue_size = 2  # of 64 KiB each: ten for every body that waits would be much
        self._config.include_date_header = False  # engines send their own
        self._config.include_server_header = False
        self._config.errorlog = logging.getLogger("hypercorn.error")
        self._config.certfile = certfile or None
        self._config.keyfile = keyfile or None
        self._context = WorkerContext(None)
        self._streams: set[Any] = set()
        self._accepting = trio.CancelScope()
        self._serving = trio.CancelScope()
        self._done = trio.Event()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until `stop`."""
        tls = self._tls()
        listeners: list[Any] = [trio.SocketListener(trio.socket.from_stdlib_socket(s)) for s in self._sockets]
        if tls is not None:
            listeners = [trio.SSLListener(listener, tls, https_compatible=True) for listener in listeners]
        with self._serving:
            async with trio.open_nursery() as connections:
                with self._accepting:
                    async with trio.open_nursery() as accepting:
                        serve = partial(trio.serve_listeners, handler_nursery=connections)
                        await accepting.start(serve, self._handle, listeners)
                        task_status.started()
        self._done.set()

    async def stop(self, grace: Seconds) -> None:
        """Stop accepting, close what is idle, give the rest `grace` seconds, then cut it off."""
        self._accepting.cancel()
        await self._context.terminated.set()
        self._serving.deadline = trio.current_time() + grace
        with trio.move_on_after(grace):
            await self._done.wait()
        for stream in self._streams.copy():  # a task that is stuck in a shielded send ends only like this
            await trio.aclose_forcefully(stream)

    async def _handle(self, stream: Any) -> None:
        handler = Listener(self._app, self._config, self._context, ConnectionState(LifespanState()), stream)
        handler.stalled = self.stalled
        self._streams.add(stream)
        try:
            await handler.run()
        except Exception:  # one client's connection must not end the server
            log.exception("a connection broke")
        finally:
            self._streams.discard(stream)

    def _tls(self) -> ssl.SSLContext | None:
        try:
            return self._config.create_ssl_context()
        except (OSError, ssl.SSLError) as error:
            raise SetupError(f"server.certfile and server.keyfile can't be used: {error}.") from None


def listen(address: str) -> list[socket.socket]:
    """Bind HOST:PORT, before anything else starts; ":PORT" is every address of the families that there are.

    Raises:
        SetupError: It is taken, or isn't ours to bind.
    """
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    sockets: list[socket.socket] = []
    try:
        for family, kind, proto, _, where in socket.getaddrinfo(
            host or None, int(port), type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        ):
            try:
                listener = socket.socket(family, kind, proto)
            except OSError as error:
                if not host and error.errno == errno.EAFNOSUPPORT:
                    continue  # a system without IPv6 still knows its name
                raise
            sockets.append(listener)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            listener.bind(where)
            listener.listen(512)
            listener.setblocking(False)
    except OSError as error:
        for listener in sockets:
            listener.close()
        raise SetupError(
            f"Can't listen on {address}: {error.strerror or error}.",
            hint="Is another llmsup running? Choose another address with --listen or server.listen.",
        ) from None
    return sockets
