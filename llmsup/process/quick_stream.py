"""A socket stream that tries to read or write at once before it waits.

trio's own yields at every read and write even when the bytes are there, and its users open a cancel scope for each
deadline even when there is nothing to wait for. With thousands of small messages a second, that is most of the work.
"""

from __future__ import annotations

import select
import socket

import trio

READ = 65536
"""Bytes to ask the socket for at a time."""

IN_A_ROW = 16
"""How often in a row a stream may skip the checkpoint; then other tasks get their turn."""


_HUNG_UP = select.POLLHUP | select.POLLERR | getattr(select, "POLLRDHUP", 0)
"""The other side has closed its sending side, or is gone. Without POLLRDHUP, which is Linux's, a closed side is seen
only by reading up to it."""


class QuickStream(trio.abc.HalfCloseableStream):
    """A connected socket's stream.

    Attributes:
        socket: The standard library's, non-blocking.
    """

    def __init__(self, connected: socket.socket) -> None:
        connected.setblocking(False)
        self.socket = connected
        self._in_a_row = 0
        self._poll: select.poll | None = None

    @classmethod
    def of(cls, stream: trio.SocketStream) -> QuickStream:
        """Take over the socket of trio's stream, with the options that trio has set; don't use that stream any more."""
        return cls(socket.socket(fileno=stream.socket.detach()))

    # At once...

    def receive_now(self) -> bytes | None:
        """The bytes that are there; b"" at the end; None: there are none, or other tasks are due.

        Raises:
            trio.BrokenResourceError, trio.ClosedResourceError: As in trio.
        """
        if self._in_a_row >= IN_A_ROW:
            self._in_a_row = 0
            return None
        self._in_a_row += 1
        try:
            return self.socket.recv(READ)
        except BlockingIOError:
            return None
        except OSError:
            raise self._gone() from None

    def send_now(self, data: bytes | bytearray | memoryview) -> int:
        """Send what can be sent at once; returns how many bytes that was. Raises as `receive_now` does."""
        if self._in_a_row >= IN_A_ROW:
            self._in_a_row = 0
            return 0
        self._in_a_row += 1
        try:
            return self.socket.send(data)
        except BlockingIOError:
            return 0
        except OSError:
            raise self._gone() from None

    @property
    def readable(self) -> bool:
        """Whether there are bytes to read, or the end."""
        return bool(self.look())

    @property
    def hung_up(self) -> bool:
        """Whether the other side has closed its sending side, or is gone, whatever it has sent before that."""
        return bool(self.look() & _HUNG_UP)

    def look(self) -> int:
        """What `select.poll` says of it: 0 if there is nothing to read, not even the end."""
        if (number := self.socket.fileno()) < 0:
            return _HUNG_UP
        if self._poll is None:
            self._poll = select.poll()
            self._poll.register(number, select.POLLIN | _HUNG_UP)
        found = self._poll.poll(0)
        return found[0][1] if found else 0

    # As in trio, except that receiving waits first, since `receive_now` has been tried...

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """The next bytes; b"" at the end."""
        own = self.socket
        while True:
            if own.fileno() < 0:
                raise trio.ClosedResourceError
            await trio.lowlevel.wait_readable(own)
            self._in_a_row = 0
            try:
                return own.recv(max_bytes or READ)
            except BlockingIOError:
                continue
            except OSError:
                raise self._gone() from None

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send all of it."""
        with memoryview(data) as view:
            sent = 0
            while sent < len(view):
                with view[sent:] as rest:
                    now = self.send_now(rest)
                sent += now
                if not now:
                    await self.wait_send_all_might_not_block()

    async def wait_send_all_might_not_block(self) -> None:
        """See trio."""
        self._check()
        await trio.lowlevel.wait_writable(self.socket)
        self._in_a_row = 0

    async def send_eof(self) -> None:
        """Close the sending side."""
        await trio.lowlevel.checkpoint()
        try:
            self.socket.shutdown(socket.SHUT_WR)
        except OSError:
            raise self._gone() from None

    async def aclose(self) -> None:
        """Close it; tasks that wait on it get `ClosedResourceError`."""
        self.close()
        await trio.lowlevel.checkpoint()

    def close(self) -> None:
        """Close it, without a checkpoint."""
        if not self.closed:
            trio.lowlevel.notify_closing(self.socket)
            self.socket.close()

    @property
    def closed(self) -> bool:
        """Whether we have closed it."""
        return self.socket.fileno() < 0

    def wake(self) -> None:
        """Make waiting tasks get `ClosedResourceError`, though it isn't closed."""
        if not self.closed:
            trio.lowlevel.notify_closing(self.socket)

    def _check(self) -> None:
        if self.closed:
            raise trio.ClosedResourceError

    def _gone(self) -> Exception:
        return trio.ClosedResourceError() if self.closed else trio.BrokenResourceError()
