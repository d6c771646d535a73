"""The listening sockets and their connections, from accepting the first to shutting down in three steps."""

from __future__ import annotations

import errno
import logging
import socket
import ssl
from contextlib import closing

import trio

from ..errors import SetupError
from ..process import descriptors
from ..process.quick_stream import QuickStream
from ..units import Seconds
from .certificate import context_of
from .clients import Clients
from .conversation import Conversation
from .pipe import Ends
from .roads import Roads
from .wire import Wire

log = logging.getLogger(__name__)

STALLED = Seconds(60)
"""How long a client may read nothing of what is sent to it. Without a limit it could keep its model busy for ever."""

KERNEL_ASKS = 60
"""Seconds of silence after which the kernel probes whether the other side is still there. It probes a few more times;
after about ten minutes the connection counts as broken."""

FULL = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS)
"""The errors of accept(2) for a lack of descriptors or memory."""

BREATH = 0.1
"""Seconds to wait after accept(2) failed."""

AGAIN = 60.0
"""Seconds between log lines about that."""


IN_A_ROW = 64
"""The most connections to accept before other tasks get a turn."""


class WebServer:
    """Serves on sockets that are already listening.

    Attributes:
        stalled: See `STALLED`, in seconds.
        clients: The open connections.
    """

    def __init__(
        self,
        roads: Roads,
        sockets: list[socket.socket],
        *,
        certfile: str = "",
        keyfile: str = "",
        stalled: Seconds = STALLED,
    ) -> None:
        self._roads = roads
        self._sockets = sockets
        self._certfile = certfile
        self._keyfile = keyfile
        self.stalled = stalled
        self.clients = Clients(descriptors.for_clients(descriptors.limit()))
        self._context: ssl.SSLContext | None = None
        self._said = -AGAIN
        self._stopping = False
        self._accepting = trio.CancelScope()
        self._serving = trio.CancelScope()
        self._done = trio.Event()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until `stop`."""
        self._context = self._tls()
        with self._serving:
            async with trio.open_nursery() as looking:
                looking.start_soon(self._roads.lookout.run)
                await self._accept_all(task_status)
                looking.cancel_scope.cancel()
        self._done.set()

    async def stop(self, grace: Seconds) -> None:
        """Stop accepting, close idle connections, give the others `grace` seconds, then cut them off."""
        self._stopping = True
        self._accepting.cancel()
        self.clients.close_idle()
        self._serving.deadline = trio.current_time() + grace
        await self._done.wait()

    async def _accept_all(self, task_status: trio.TaskStatus[None]) -> None:
        """Accept connections until stopped; returns once the last one has ended."""
        async with trio.open_nursery() as connections:
            with self._accepting:
                async with trio.open_nursery() as accepting:
                    for listener in self._sockets:
                        accepting.start_soon(self._accept, listener, connections)
                    task_status.started()

    async def _accept(self, listener: socket.socket, connections: trio.Nursery) -> None:
        """Accept all waiting connections in one turn. If other tasks ran after each one, the last of sixty clients that
        connect together would wait for the requests of all the others.
        """
        with closing(listener):
            in_a_row = 0
            while True:
                await self.clients.room()
                try:
                    accepted = listener.accept()[0]
                except BlockingIOError:
                    await trio.lowlevel.wait_readable(listener)
                except OSError as error:  # no room, or the client or its network is gone already (accept(2), Linux)
                    await self._rest(error)
                else:
                    if conversation := self._begin(accepted):
                        connections.start_soon(self._hold, conversation)
                    in_a_row += 1
                    if not in_a_row % IN_A_ROW:
                        await trio.lowlevel.checkpoint()

    async def _rest(self, error: OSError) -> None:
        """Wait a little; log the reason, but not each time."""
        if error.errno in FULL:
            self.clients.evict()
        if trio.current_time() - self._said >= AGAIN:
            self._said = trio.current_time()
            log.warning("can't accept connections now (%d are open): %s", len(self.clients), error.strerror or error)
        await trio.sleep(BREATH)

    def _begin(self, accepted: socket.socket) -> Conversation | None:
        """Register a new connection; at once, as others may be accepted before its task runs for the first time."""
        plain = QuickStream.of(trio.SocketStream(trio.socket.from_stdlib_socket(accepted)))
        try:
            ends = Ends(
                client=plain.socket.getpeername()[:2],
                server=plain.socket.getsockname()[:2],
                secure=self._context is not None,
            )
        except OSError:  # the client has left already
            plain.close()
            return None
        # Not `https_compatible`, which sends no closing message: to HTTP/1.0 clients that marks the end of an answer.
        stream = plain if self._context is None else trio.SSLStream(plain, self._context, server_side=True)
        wire = Wire(stream, self.stalled)
        conversation = Conversation(self._roads, wire, ends, closing=lambda: self._stopping, place=self.clients.place)
        self.clients.add(conversation)
        return conversation

    async def _hold(self, conversation: Conversation) -> None:
        try:
            await conversation.run()
        except Exception:  # one client's connection must not end the server
            log.exception("a bug in llmsup: a connection broke")
        finally:
            self.clients.remove(conversation)

    def _tls(self) -> ssl.SSLContext | None:
        if not self._certfile or not self._keyfile:
            return None
        return context_of(self._certfile, self._keyfile)


def listen(address: str) -> list[socket.socket]:
    """Bind HOST:PORT, before anything else starts; ":PORT" means all addresses, IPv4 and IPv6 where available.

    Raises:
        SetupError: The address is in use, or can't be bound on this machine.
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
                    continue  # a system without IPv6 still resolves to it
                raise
            sockets.append(listener)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            _keep_alive(listener)
            listener.bind(where)
            listener.listen(512)
            listener.setblocking(False)
    except OSError as error:
        for listener in sockets:
            listener.close()
        another = "Is another llmsup running? " if error.errno == errno.EADDRINUSE else ""
        raise SetupError(
            f"Can't listen on {address}: {error.strerror or error}.",
            hint=f"{another}Choose another address with --listen or server.listen.",
        ) from None
    return sockets


def _keep_alive(listener: socket.socket) -> None:
    """Have the kernel probe silent clients: one whose machine sleeps or is gone must not keep a model busy for ever.

    Connections inherit this from their listener, on Linux and macOS.
    """
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    after = getattr(socket, "TCP_KEEPIDLE", None) or getattr(
        socket, "TCP_KEEPALIVE", None
    )  # macOS names it differently
    if after is not None:
        listener.setsockopt(socket.IPPROTO_TCP, after, KERNEL_ASKS)
