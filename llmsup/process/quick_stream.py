"""A socket as a stream that first does what can be done at once.

trio's own gives up its turn at every read and write, also when the bytes are there, and its users open a cancel scope
for each deadline, also when nothing has to be waited for. Where thousands of small messages are relayed a second,
that is most of the work. It does not know what the bytes mean.
"""

from __future__ import annotations

import select
import socket

import trio

READ = 65536
"""Bytes asked of the socket at a time."""

IN_A_ROW = 16
"""So often somebody may go on at once; then it is others' turn, who may have waited for long."""


_HUNG_UP = select.POLLHUP | select.POLLERR | getattr(select, "POLLRDHUP", 0)
"""The other side has closed its sending side, or is gone. Without POLLRDHUP, which is Linux's, a closed side is seen
only by reading up to it."""


class QuickStream(trio.abc.HalfCloseableStream):
    """A connected socket's stream.

    Attributes:
        socket: Of the standard library; it doesn't block.
    """

    def __init__(self, connected: socket.socket) -> None:
        connected.setblocking(False)
        self.socket = connected
        self._in_a_row = 0
        self._poll: select.poll | None = None

    @classmethod
    def of(cls, stream: trio.SocketStream) -> QuickStream:
        """Take over the socket of trio's stream, which is of no use any more, with the options that trio has set."""
        return cls(socket.socket(fileno=stream.socket.detach()))

    # At once...

    def receive_now(self) -> bytes | None:
        """What is there; b"" at the end; None: nothing is there, or it is others' turn.

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
        """Send what can be sent; returns how many bytes that was. Raises as `receive_now` does."""
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
        """Something is there, or the end."""
        return bool(self._look())

    @property
    def hung_up(self) -> bool:
        """The other side has closed its sending side, or is gone, whatever it has sent before that."""
        return bool(self._look() & _HUNG_UP)

    def _look(self) -> int:
        if self.closed:
            return _HUNG_UP
        if self._poll is None:
            self._poll = select.poll()
            self._poll.register(self.socket.fileno(), select.POLLIN | _HUNG_UP)
        return next((bits for _, bits in self._poll.poll(0)), 0)

    # As in trio, but for one thing: who receives waits first, as `receive_now` has been tried...

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """The next bytes; b"" at the end."""
        while True:
            self._check()
            await trio.lowlevel.wait_readable(self.socket)
            self._in_a_row = 0
            try:
                return self.socket.recv(max_bytes or READ)
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
        """Close our side."""
        await trio.lowlevel.checkpoint()
        try:
            self.socket.shutdown(socket.SHUT_WR)
        except OSError:
            raise self._gone() from None

    async def aclose(self) -> None:
        """Close it; who waits for it is told so."""
        self.close()
        await trio.lowlevel.checkpoint()

    def close(self) -> None:
        """Close it now."""
        if not self.closed:
            trio.lowlevel.notify_closing(self.socket)
            self.socket.close()

    @property
    def closed(self) -> bool:
        """It was closed, by us."""
        return self.socket.fileno() < 0

    def wake(self) -> None:
        """Have whoever waits get `ClosedResourceError`, though it isn't closed."""
        if not self.closed:
            trio.lowlevel.notify_closing(self.socket)

    def _check(self) -> None:
        if self.closed:
            raise trio.ClosedResourceError

    def _gone(self) -> Exception:
        return trio.ClosedResourceError() if self.closed else trio.BrokenResourceError()
