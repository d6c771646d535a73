"""An answer on its way out: its head, its framing, and whether the connection can be reused."""

from __future__ import annotations

from collections.abc import AsyncIterator
from http import HTTPStatus
from types import AsyncGeneratorType

from ..engines.http import Headers
from ..errors import Error
from ..gateway.api.dialect import Dialect
from ..gateway.api.openai import OPENAI
from ..gateway.error_answer import error_answer
from ..gateway.message import ClientLeft, Reply, Whole
from .wire import Wire

_PHRASES = {status.value: status.phrase.encode() for status in HTTPStatus}
_BODILESS = (204, 304)
_CHUNKED = b"Transfer-Encoding: chunked\r\n"


class Outgoing:
    """One answer. Every method that sends raises ClientLeft if the client is gone.

    Attributes:
        closing: Whether the connection ends after it.
        began: Whether its head has been sent, at least in part.
        complete: Whether all of it has been sent.
        framed: Whether the client can tell a truncated body from a complete one. It can't if the body ends where the
            connection does.
    """

    def __init__(self, wire: Wire, *, old: bool = False, bodiless: bool = False, closing: bool = False) -> None:
        """`old`: the client speaks HTTP/1.0; `bodiless`: it asked with HEAD."""
        self.closing = closing
        self.began = self.complete = False
        self.framed = True
        self._wire = wire
        self._old = old
        self._bodiless = bodiless

    async def send(self, reply: Reply, more: Headers) -> None:
        """Send a whole reply, with the headers `more` added. What its body raises is passed on to the caller."""
        if reply.lines is not None and isinstance(reply.body, Whole) and reply.body.data and not self._bodiless:
            lines = reply.lines + _lines(more) if more else reply.lines
            data = self._head(reply.status, reply.reason, lines) + reply.body.data
            self.began = True
            if (sent := self._wire.send_now(data)) == len(data):  # as nearly always, and then without a coroutine
                self.complete = True
            else:
                await self._send(data[sent:], last=True)
            return
        length: int | None = None
        for name, value in reply.headers:
            if len(name) == 14 and name.lower() == b"content-length":
                length = int(value)
        bodiless = self._bodiless or reply.status in _BODILESS
        chunked = length is None and not bodiless and not self._old
        if length is None and not bodiless and self._old:
            self.framed, self.closing = False, True
        lines = reply.lines if reply.lines is not None else _lines(reply.headers)
        head = self._head(reply.status, reply.reason, lines + _lines(more) + (_CHUNKED if chunked else b""))
        if bodiless or length == 0:
            await self._send(head, last=True)
        elif length is not None:
            await self._send_framed(head, reply.body, length)
        else:
            await self._send_stream(head, reply.body, chunked=chunked)

    async def _send_framed(self, head: bytes, body: AsyncIterator[bytes], left: int) -> None:
        """Send a body of known length. The head goes out with its first piece: alone, it is of no use to the client."""
        try:
            async for data in body:
                left -= len(data)
                await self._send(head + data if head else data, last=not left)
                head = b""
                if not left:
                    break
        finally:
            if isinstance(body, AsyncGeneratorType):
                await body.aclose()

    async def _send_stream(self, head: bytes, body: AsyncIterator[bytes], *, chunked: bool) -> None:
        """Send a body of unknown length. The head goes out at once, as the first piece may take a while."""
        await self._send(head)
        try:
            async for data in body:
                await self._send(b"%x\r\n%b\r\n" % (len(data), data) if chunked else data)
        finally:
            if isinstance(body, AsyncGeneratorType):  # else it would only be closed by the garbage collector
                await body.aclose()
        await self._send(b"0\r\n\r\n" if chunked else b"", last=True)

    async def refuse(self, error: Error, more: Headers, dialect: Dialect = OPENAI) -> None:
        """Send an error as the API words it, with the headers `more` added."""
        answer = error_answer(error, dialect)
        head = self._head(answer.status, b"", _lines([*answer.headers, *more]))
        await self._send(head if self._bodiless else head + answer.body, last=True)

    async def switch(self, headers: Headers) -> None:
        """Accept the other protocol that the client offered: send a 101 with these headers."""
        await self._send(b"HTTP/1.1 101 Switching Protocols\r\n%b\r\n" % _lines(headers), last=True)
        self.closing = True

    def _head(self, status: int, reason: bytes, lines: bytes) -> bytes:
        ending = b"Connection: close\r\n" if self.closing else b""
        return b"HTTP/1.1 %d %b\r\n%b%b\r\n" % (status, reason or _PHRASES.get(status, b""), lines, ending)

    async def _send(self, data: bytes, *, last: bool = False) -> None:
        self.began = True
        if data:
            await self._wire.send(data)
        if self._wire.broken:
            raise ClientLeft
        self.complete = last


def _lines(headers: Headers) -> bytes:
    return b"".join([b"%b: %b\r\n" % header for header in headers]) if headers else b""
