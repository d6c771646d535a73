"""One HTTP/1.1 connection to an engine: sends a request, returns the answer's bytes as they arrive.

Reconnecting and reuse are in `pool`; what the bytes mean is up to `gateway`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from math import inf
from typing import TypeVar

import trio

from ..process.quick_stream import READ, QuickStream
from .address import LOCAL
from .http import AnswerHead, Buffer, HeaderLines, Headers, Payload, header_lines
from .response import Response

T = TypeVar("T")

_BODILESS = frozenset(("GET", "HEAD", "OPTIONS", "DELETE"))
"""Methods whose requests need no length when there is no body."""

LAST_WORDS = 10.0
"""Seconds, in total, that a connection waits for bytes once its engine has ended. What the engine sent is already in
the kernel's buffers, but a process that escaped could hold the other end open for ever."""


class Disconnected(Exception):
    """The engine's side of the connection is gone.

    Attributes:
        began: Whether any byte of the answer had arrived.
    """

    def __init__(self, began: bool) -> None:
        super().__init__("mid-answer" if began else "before the first byte")
        self.began = began


class Unreachable(Disconnected):
    """There is nothing to connect to, although the engine may still run: its socket has been removed."""

    def __init__(self) -> None:
        super().__init__(began=False)


class Connection:
    """A connection that carries one request at a time."""

    def __init__(self, stream: trio.abc.Stream, opening: bytes = LOCAL) -> None:
        """`opening`: the header lines that every request begins with (`Address.opening`)."""
        self._stream = stream
        self._opening = b" HTTP/1.1\r\n" + opening
        self._quick = stream if isinstance(stream, QuickStream) else None
        beneath = stream.transport_stream if isinstance(stream, trio.SSLStream) else stream
        self._socket = beneath if isinstance(beneath, QuickStream) else None
        self._waiting: trio.CancelScope | None = None
        self._waits_since = 0.0
        self._patience = inf
        self._response = Response()

    # Sending the request...

    async def send(self, method: str, target: bytes, headers: Headers | HeaderLines, body: Payload) -> None:
        """Send a whole request.

        `headers` must not contain framing (host, content-length, ...), which is added here. If they ask for an upgrade
        and the answer has status 101, the connection carries the other protocol from then on.

        Raises:
            Disconnected: The engine closed the connection.
        """
        written = headers if isinstance(headers, HeaderLines) else header_lines(headers)
        self._response.begin(method, upgrading=written.upgrading)
        size = sum(map(len, body)) if isinstance(body, tuple) else len(body)
        head = written.after(method, target, self._opening)
        if size or method not in _BODILESS:
            head = b"%bcontent-length: %d\r\n\r\n" % (head, size)
        else:
            head += b"\r\n"
        try:
            if size <= READ:
                message = b"".join((head, *body)) if isinstance(body, tuple) else head + body
                sent = 0 if self._quick is None else self._quick.send_now(message)
                if sent < len(message):
                    await self._send(memoryview(message)[sent:])
            else:  # don't copy a body that may be hundreds of megabytes
                for piece in (head, *body) if isinstance(body, tuple) else (head, body):
                    await self._send(piece)
        except trio.BrokenResourceError:
            pass  # it refused the body; if it has said why, `head` will read that
        except trio.ClosedResourceError:
            raise Disconnected(began=False) from None

    async def _send(self, data: Buffer) -> None:
        if self._quick is None:
            await self._within_patience(lambda: self._stream.send_all(data))
            return
        sent = self._quick.send_now(data)
        while sent < len(data):
            await self._within_patience(self._quick.wait_send_all_might_not_block)
            sent += self._quick.send_now(memoryview(data)[sent:])

    # Receiving the answer...

    async def head(self) -> AnswerHead:
        """Wait for the answer's status and headers.

        Raises:
            Disconnected: The engine closed the connection.
            EngineBadAnswer: The engine sent something that is not HTTP, or a head that never ends.
        """
        while (head := self._response.head) is None:
            await self._receive()
        return head

    async def body(self) -> bytes:
        """Return the next bytes of the body as soon as there are any; b"" at its end.

        Raises:
            Disconnected: The engine closed the connection before the body's end.
            EngineBadAnswer: The engine sent something that is not HTTP.
        """
        while (body := self._response.at_hand()) is None:
            await self._receive()
        return body

    def at_hand(self) -> bytes | None:
        """As `body`, but None if it would have to wait."""
        return self._response.at_hand()

    # Once the engine has switched to another protocol (status 101)...

    async def receive(self) -> bytes:
        """Bytes of the other protocol, as they come; b"" at the end. Raises what trio's streams raise."""
        if rest := self._response.rest:
            self._response.rest = b""
            return rest
        return bytes(await self._stream.receive_some(READ))

    async def transmit(self, data: bytes) -> None:
        """Send bytes of the other protocol. Raises whatever trio's streams raise."""
        await self._stream.send_all(data)

    @property
    def reusable(self) -> bool:
        """Whether the answer is complete and the engine keeps the connection open for another request."""
        return self._response.complete and self._response.keep_alive

    @property
    def ended_by_closing(self) -> bool:
        """Whether only the end of the connection marked the answer's end, so that a truncated one looks complete."""
        return self._response.ended_by_closing

    @property
    def readable(self) -> bool:
        """Whether it can be read. If it is idle, the engine has then closed it (or talks out of turn)."""
        return self._socket is not None and bool(self._socket.look())

    def engine_ended(self) -> None:
        """Note that the engine has ended by itself: what it sent can still be read, but with little further waiting."""
        self._patience = LAST_WORDS
        if self._waiting is not None:
            self._waits_since = trio.current_time()
            self._waiting.deadline = self._waits_since + self._patience
        elif self._quick is not None:
            self._quick.wake()  # a task waiting without a deadline starts over with one

    async def _within_patience(self, operation: Callable[[], Awaitable[T]]) -> T:
        """Await an operation on the stream. Raises `Disconnected` if it takes too long after the engine has ended."""
        if self._quick is not None and self._patience == inf:
            try:
                return await operation()
            except trio.ClosedResourceError:
                if self._quick.closed or self._patience == inf:
                    raise
        self._waits_since = trio.current_time()
        self._waiting = scope = trio.CancelScope(deadline=self._waits_since + self._patience)
        with scope:
            try:
                return await operation()
            finally:
                self._waiting = None
                self._patience -= trio.current_time() - self._waits_since  # infinite while the engine lives
        raise Disconnected(self._response.began)

    async def close(self) -> None:
        """Close the connection now, even in a cancelled task. The engine then stops generating."""
        if self._quick is not None:
            self._quick.close()
            return
        with trio.CancelScope(shield=True):  # forceful closing never blocks, but it is a checkpoint
            await trio.aclose_forcefully(self._stream)

    async def _receive(self) -> None:
        response, quick = self._response, self._quick
        try:
            data: bytes | bytearray | None = None
            if quick is not None and response.began:  # an answer never begins at once
                data = quick.receive_now()
            if data is None and quick is not None and self._patience == inf:
                try:
                    data = await quick.receive_some(READ)
                except trio.ClosedResourceError:
                    if quick.closed or self._patience == inf:
                        raise  # else the engine has just ended, and this starts over with a deadline
            if data is None:
                data = await self._within_patience(lambda: self._stream.receive_some(READ))
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            raise Disconnected(response.began) from None
        if data:
            response.feed(data)
        elif not response.end():
            raise Disconnected(response.began)
