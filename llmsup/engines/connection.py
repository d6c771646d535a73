"""One HTTP/1.1 connection to an engine: sends a request, returns the answer's bytes as they arrive.

Reconnecting and reuse are in `pool`; what the bytes mean is the business of `gateway`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from math import inf
from typing import TypeVar

import httptools
import trio
from attrs import define

from ..errors import EngineBadAnswer
from ..process.quick_stream import READ, QuickStream

Headers = list[tuple[bytes, bytes]]

Buffer = bytes | bytearray | memoryview

Payload = Buffer | tuple[Buffer, ...]
"""A request's body, in one or more pieces, to avoid joining hundreds of megabytes."""

T = TypeVar("T")

LAST_WORDS = 10.0
"""Seconds, in total, that a connection waits for bytes once its engine has ended. What the engine sent is already in
the kernel's buffers, but a process that escaped could hold the other end open for ever."""

MAX_FRAMING = 65536
"""The most consecutive bytes that are not part of a body: a head, trailers, chunk extensions. An answer's head rarely
exceeds 1 kB; llama-server's limit for a request's is 8 kB a line."""


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


@define
class AnswerHead:
    """An answer's status and headers.

    Attributes:
        streams: Whether the body is an event stream.
        unframed: Whether only the end of the connection marks the end of the body.
    """

    status: int
    headers: Headers
    reason: bytes = b""
    streams: bool = False
    unframed: bool = False


class Connection:
    """A connection that carries one request at a time."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream
        self._quick = stream if isinstance(stream, QuickStream) else None
        self._waiting: trio.CancelScope | None = None
        self._waits_since = 0.0
        self._patience = inf
        self._reset("")

    def _reset(self, method: str) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._method = method
        self._headers: Headers = []
        self._head: AnswerHead | None = None
        self._body: list[bytes] = []
        self._complete = False
        self._began = False
        self._until_close = False
        self._ended_by_closing = False
        self._keep_alive = False
        self._reason = b""
        self._framing = 0
        self._upgrading = False
        self._rest = b""

    # Sending the request...

    async def send(self, method: str, target: bytes, headers: Headers, body: Payload) -> None:
        """Send a whole request.

        `headers` must not contain framing (host, content-length, ...), which is added here. If they ask for an upgrade
        and the answer has status 101, the connection carries the other protocol from then on.

        Raises:
            Disconnected: The engine closed the connection.
        """
        self._reset(method)
        pieces = body if isinstance(body, tuple) else (body,)
        size = sum(map(len, pieces))
        self._upgrading = b"upgrade" in dict(headers)
        lines = [method.encode(), b" ", target, b" HTTP/1.1\r\nhost: localhost\r\n"]
        for name, value in headers:
            lines += (name, b": ", value, b"\r\n")
        if size or method not in ("GET", "HEAD", "OPTIONS", "DELETE"):
            lines.append(b"content-length: %d\r\n" % size)
        lines.append(b"\r\n")
        head = b"".join(lines)
        try:
            if size <= READ:
                await self._send(b"".join((head, *pieces)))
            else:  # don't copy a body that may be hundreds of megabytes
                for piece in (head, *pieces):
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
        while self._head is None:
            await self._receive()
        return self._head

    async def body(self) -> bytes:
        """Return the next bytes of the body as soon as there are any; b"" at its end.

        Raises:
            Disconnected: The engine closed the connection before the body's end.
            EngineBadAnswer: The engine sent something that is not HTTP.
        """
        while (body := self.at_hand()) is None:
            await self._receive()
        return body

    def at_hand(self) -> bytes | None:
        """Like `body`, but return None instead of waiting."""
        if not self._body:
            return b"" if self._complete else None
        body = self._body[0] if len(self._body) == 1 else b"".join(self._body)
        self._body.clear()
        return body

    # Once the engine has switched to another protocol (status 101)...

    async def receive(self) -> bytes:
        """Return the other protocol's next bytes; b"" at the end. Raises whatever trio's streams raise."""
        if self._rest:
            rest, self._rest = self._rest, b""
            return rest
        return bytes(await self._stream.receive_some(READ))

    async def transmit(self, data: bytes) -> None:
        """Send bytes of the other protocol. Raises whatever trio's streams raise."""
        await self._stream.send_all(data)

    @property
    def reusable(self) -> bool:
        """Whether the answer is complete and the engine keeps the connection open for another request."""
        return self._complete and self._keep_alive

    @property
    def ended_by_closing(self) -> bool:
        """Whether only the closed connection marked the answer's end, so that a truncated one looks complete."""
        return self._ended_by_closing

    @property
    def readable(self) -> bool:
        """Whether there is something to read: on an idle connection, the engine closed it (or misbehaves)."""
        return self._quick is not None and self._quick.readable

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
                self._patience -= trio.current_time() - self._waits_since  # infinite while the engine runs
        raise Disconnected(self._began)

    async def close(self) -> None:
        """Close the connection now, even in a cancelled task. The engine then stops generating."""
        if self._quick is not None:
            self._quick.close()
            return
        with trio.CancelScope(shield=True):  # forceful closing never blocks, but it is a checkpoint
            await trio.aclose_forcefully(self._stream)

    async def _receive(self) -> None:
        try:
            data: bytes | bytearray | None = None
            if self._quick is not None and self._began:  # an answer is never there at once
                data = self._quick.receive_now()
            if data is None:
                data = await self._within_patience(lambda: self._stream.receive_some(READ))
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            raise Disconnected(self._began) from None
        if not data:
            if self._until_close and self._head is not None:
                self._complete = self._ended_by_closing = True
                return
            raise Disconnected(self._began)
        self._began = True
        bodies, head = len(self._body), self._head
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as switched:
            if self._head is None or self._head.status != 101:
                text = "The engine's answer is not HTTP: it switched to another protocol, which nobody had asked for."
                raise EngineBadAnswer(text) from None
            self._rest = bytes(data[switched.args[0] :])
        except httptools.HttpParserError as error:
            if not self._complete:
                raise EngineBadAnswer(f"The engine's answer is not HTTP: {error}.") from None
            self._keep_alive = False  # bytes after the answer's end: the answer is good, the connection isn't
        arrived = self._complete or len(self._body) > bodies or self._head is not head
        self._framing = 0 if arrived else self._framing + len(data)
        if self._framing >= MAX_FRAMING:
            what = "trailers or chunk extensions have" if self._head else "head has"
            raise EngineBadAnswer(f"The {what} no end: {self._framing} bytes of the engine's answer so far.")

    # Callbacks from httptools, while data is fed to it...

    def on_message_begin(self) -> None:
        self._headers = []
        self._reason = b""
        if self._complete:
            self._keep_alive = False  # an answer without a request; don't reuse the connection

    def on_status(self, reason: bytes) -> None:
        self._reason += reason  # arrives in pieces if split across packets

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._head is None:  # headers after the body are trailers
            self._headers.append((name, value))

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if self._head is not None:
            return
        switched = status == 101 and self._upgrading and self._parser.should_upgrade()
        if status < 200 and not switched:
            return
        fields = {name.lower(): value.lower() for name, value in self._headers}
        chunked = fields.get(b"transfer-encoding", b"").endswith(b"chunked")
        streams = fields.get(b"content-type", b"").startswith(b"text/event-stream")
        self._until_close = not chunked and b"content-length" not in fields
        self._head = AnswerHead(status, self._headers, self._reason, streams, self._until_close)
        if self._method == "HEAD" or switched:
            # llhttp can't be told that no body follows: the answer is complete, and its state no longer matters.
            self._complete = True

    def on_body(self, data: bytes) -> None:
        if not self._complete:
            self._body.append(data)

    def on_message_complete(self) -> None:
        if self._head is not None and not self._complete:
            self._complete = True
            self._keep_alive = self._parser.should_keep_alive()  # llhttp forgets this right after the callback
