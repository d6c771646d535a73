"""Requests answered by Hypercorn and the Quart-trio app: passed on, one at a time, over a pipe for each client.

The head is written anew and the body gets our own framing, so nothing ambiguous reaches Hypercorn.
"""

from __future__ import annotations

from typing import Any, Self

import trio

from ..engines.connection import Connection, Disconnected
from ..errors import BadRequest, BodyTooLarge
from ..gateway.message import ClientLeft, Reply
from .head import Head
from .hypercorn_server import INCOMING, HypercornServer
from .incoming import Incoming
from .outgoing import Outgoing
from .pipe import Ends, Pipe, pipe

_OURS = frozenset((b"connection", b"keep-alive", b"proxy-connection", b"upgrade", b"http2-settings", b"expect"))
"""Headers that concern the client's connection, which Hypercorn doesn't see."""

_FRAMING = frozenset((b"content-length", b"transfer-encoding"))

_ABOUT_CONNECTION = frozenset((b"close", b"keep-alive", b"upgrade", b"http2-settings"))


class Handover:
    """One client's pipe to Hypercorn, created when first needed."""

    def __init__(self, server: HypercornServer, ends: Ends) -> None:
        self._server = server
        self._ends = ends
        self._pipe: Pipe | None = None
        self._state: dict[str, Any] = {}

    def close(self) -> None:
        """Close the pipe, abandoning any request in progress."""
        if self._pipe is not None:
            self._pipe.close()
            self._pipe = None

    async def answer(self, head: Head, incoming: Incoming, outgoing: Outgoing, nursery: trio.Nursery) -> None:
        """Have one request answered. `nursery` is the connection's: Hypercorn's side of the pipe lives there.

        Raises:
            ClientLeft: The client left during its request.
            BadRequest: The body can't be read.
        """
        if self._pipe is None:
            self._pipe, other = pipe(self._ends)
            nursery.start_soon(self._server.serve, other, self._state)
        self._state[INCOMING] = incoming
        asked = _Asked(self._pipe)
        trouble: Exception | None = None
        whole = False

        async def pump() -> None:
            nonlocal trouble
            try:
                await asked.pump(head, incoming)
            except (ClientLeft, BadRequest) as error:
                trouble = error
                both.cancel_scope.cancel()

        try:
            async with trio.open_nursery() as both:
                try:
                    await asked.ask(head)
                    if not incoming.complete:
                        await incoming.invite()  # before the answer may be sent
                        both.start_soon(pump)
                    await self._relay(asked, outgoing)
                    whole = asked.reusable and incoming.complete
                except ClientLeft as error:
                    trouble = error
                except Disconnected:
                    pass  # the app failed midway and has logged why; the client sees a truncated answer
                both.cancel_scope.cancel()
        finally:
            if not whole:
                self.close()
        if trouble is not None:
            raise trouble

    async def _relay(self, asked: _Asked, outgoing: Outgoing) -> None:
        answer = await asked.head()
        named = [value.strip().lower() for name, value in answer.headers if name.lower() == b"connection"]
        outgoing.closing = outgoing.closing or b"close" in named
        headers = [(n, v) for n, v in answer.headers if n.lower() not in (b"connection", b"transfer-encoding")]
        await outgoing.send(Reply(status=answer.status, headers=headers, body=asked), [])


class _Asked(Connection):
    """A client of Hypercorn's, which sends one request in pieces."""

    async def ask(self, head: Head) -> None:
        """Send the head."""
        self._response.begin(head.method)
        named = [token for token in head.tokens(b"connection") if token and token not in _ABOUT_CONNECTION]
        lines = [b"%b %b HTTP/1.1\r\n" % (head.method.encode(), head.target)]
        lines += [b"%b: %b\r\n" % header for header in head.headers if header[0] not in _OURS | _FRAMING]
        if not any(name == b"host" for name, _ in head.headers):
            lines.append(b"host: \r\n")  # HTTP/1.0
        if named:
            lines.append(b"connection: %b\r\n" % b", ".join(named))
        lines += [b"%b: %b\r\n" % header for header in head.headers if header[0] in _FRAMING]
        try:
            await self._stream.send_all(b"".join([*lines, b"\r\n"]))
        except trio.BrokenResourceError:
            raise Disconnected(began=False) from None

    async def pump(self, head: Head, incoming: Incoming) -> None:
        """Send the body as it arrives."""
        chunked = head.length is None
        try:
            while not incoming.complete:
                try:
                    data = await anext(incoming, b"")
                except BodyTooLarge:
                    continue  # the reader has got its error; the rest is read and discarded
                if data:
                    await self._stream.send_all(b"%x\r\n%b\r\n" % (len(data), data) if chunked else data)
            if chunked:
                await self._stream.send_all(b"0\r\n\r\n")
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # the rest isn't wanted

    def __aiter__(self) -> Self:
        """The answer's body."""
        return self

    async def __anext__(self) -> bytes:
        if data := await self.body():
            return data
        raise StopAsyncIteration
