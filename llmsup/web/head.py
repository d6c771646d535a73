"""A request's line and headers: parsed with llhttp, refusing anything ambiguous.

llhttp is lenient about the line (two spaces, no version, other protocols, fragments), so that is checked here; about
headers it is strict (no folding, no bare line feeds, no space before a colon, no control characters).
"""

from __future__ import annotations

import re
from contextlib import suppress

import httptools
from attrs import define

from ..engines.http import Headers
from ..errors import (
    BadRequest,
    HeadTooLarge,
    MalformedRequest,
    MethodNotImplemented,
    TargetTooLong,
    VersionNotSupported,
)
from ..gateway.message import RequestHead

MAX_HEAD = 65536
"""Bytes of a request's line and headers; also of requests that are sent ahead of the last one's answer. Browsers send
every cookie of localhost, whichever program it is from."""

MAX_FIELDS = 100
"""Headers in a request: as in Apache and in Go's proxies. Browsers send about twenty."""

MAX_TARGET = 8192
"""Bytes of path and query: nginx's and llama-server's limit for a line."""

_EMPTY_LINES = re.compile(rb"(?:\r\n)*")
_LINE = re.compile(rb"([A-Z-]{1,32}) (/[!-~]*|\*) HTTP/(1\.[01])\r\n")
_VERSION = re.compile(rb"[!-~]+ [!-~]+ HTTP/(?!1\.[01]\r)[0-9]\.[0-9]\r\n")
_METHOD = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+ [!-~]+ HTTP/1\.[01]\r\n")
_WHAT = "What came is not a request of HTTP/1.1"


@define
class Head:
    """A request's head.

    Attributes:
        method: In upper case.
        target: Path and query as received, or `*`.
        old: Whether it is HTTP/1.0.
        headers: In order, with names in lower case and values stripped.
        length: Bytes of the body; None if it is chunked.
        closing: Whether the client wants the connection to end after the answer.
        expects: Whether the client waits for "100 Continue" before sending its body.
        request: The same as the gateway wants it, once that is known; see `Roads.direct`.
    """

    method: str
    target: bytes
    old: bool
    headers: Headers
    length: int | None
    closing: bool
    expects: bool
    request: RequestHead | None = None

    def tokens(self, name: bytes) -> frozenset[bytes]:
        """The elements of a header that is a list, in lower case."""
        values = [value for key, value in self.headers if key == name]
        return frozenset(token.strip().lower() for value in values for token in value.split(b","))


class HeadReader:
    """Reads one head.

    Attributes:
        rest: The bytes that follow it.
        began: Whether any part of it has arrived.
        used: Whether it has been fed anything, empty lines included.
    """

    def __init__(self) -> None:
        self.rest = b""
        self.began = self.used = False
        self._data = b""
        self._headers: Headers = []
        self._parser = httptools.HttpRequestParser(self)
        self._complete = False
        self._blank = b""

    @property
    def raw(self) -> bytes:
        """The bytes of the complete head."""
        return self._data[: len(self._data) - len(self.rest)]

    # httptools calls these while it is fed...

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers.append((name.lower(), value.strip(b" \t")))

    def on_headers_complete(self) -> None:
        self._complete = True

    def feed(self, data: bytes) -> Head | None:
        """Process received bytes; returns None if the head is not complete yet.

        Raises:
            BadRequest: The head is malformed or too large. The message quotes none of it.
        """
        self.used = True
        if not self._data and (self._blank or data[0] in b"\r\n"):
            data = self._skip_empty_lines(data)
            if not data:
                return None
        self.began = True
        seen = len(self._data)
        self._data = self._data + data if seen else data
        end = self._data.find(b"\r\n\r\n", max(0, seen - 3)) + 4
        if end > MAX_HEAD or (end < 4 and len(self._data) > MAX_HEAD):
            raise HeadTooLarge(f"The request's line and headers are longer than {MAX_HEAD} bytes.")
        self._parse(self._data[seen : end if end >= 4 else None] if seen or end < len(self._data) else self._data)
        if end < 4:
            self._check_target()
            return None
        self.rest = self._data[end:]
        return self._head()

    def _skip_empty_lines(self, data: bytes) -> bytes:
        """RFC 9112, 2.2: some send an empty line after a body."""
        data, self._blank = self._blank + data, b""
        data = data[_EMPTY_LINES.match(data).end() :]  # type: ignore[union-attr]  # it matches anything
        if data == b"\r":
            self._blank = data
            return b""
        if data and data[0] in b"\r\n":
            raise MalformedRequest(f"{_WHAT}.")
        return data

    def _parse(self, data: bytes) -> None:
        try:
            with suppress(httptools.HttpParserUpgrade):  # only an offer, which the answer may accept
                self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._check_target()
            raise self._what_is_wrong(error) from None
        if len(self._headers) > MAX_FIELDS:
            raise HeadTooLarge(f"The request has more than {MAX_FIELDS} headers.")

    def _check_target(self) -> None:
        line = self._data.partition(b"\r\n")[0]
        if len(line) > MAX_TARGET + 64 and b" " in line[:33]:
            raise TargetTooLong(f"The request's path and query are longer than {MAX_TARGET} bytes.")

    def _what_is_wrong(self, error: httptools.HttpParserError | None = None) -> BadRequest:
        if _VERSION.match(self._data):
            return VersionNotSupported("llmsup speaks HTTP/1.1 and 1.0, no other version.")
        if isinstance(error, httptools.HttpParserInvalidMethodError) and _METHOD.match(self._data):
            return MethodNotImplemented("llmsup doesn't know the request's method.")
        return MalformedRequest(f"{_WHAT}.")

    def _head(self) -> Head:
        line = _LINE.match(self._data)
        if self._data.startswith(b"CONNECT "):
            raise MethodNotImplemented("llmsup is no proxy: it doesn't take CONNECT.")
        if line is None or not self._complete:
            self._check_target()
            raise self._what_is_wrong()
        method, target, version = line.groups()
        if len(target) > MAX_TARGET:
            raise TargetTooLong(f"The request's path and query are longer than {MAX_TARGET} bytes.")
        old = version == b"1.0"
        hosts, length, chunked, connection, expects = 0, 0, False, b"", False
        for name, value in self._headers:
            if name == b"host":
                hosts += 1
            elif name == b"content-length":
                length = _length(value)
            elif name == b"transfer-encoding":
                if chunked or old or value.lower() != b"chunked":
                    raise MalformedRequest(f"{_WHAT}: its Transfer-Encoding is not `chunked`.")
                chunked = True
            elif name == b"connection":
                connection += b"," + value.lower()
            elif name == b"expect":
                expects = value.lower() == b"100-continue" and not old
        if hosts > 1 or (not hosts and not old):
            raise MalformedRequest(f"{_WHAT}: it has {'no' if not hosts else 'more than one'} Host.")
        closing = old or (b"close" in connection and b"close" in {token.strip() for token in connection.split(b",")})
        body = None if chunked else length
        return Head(method.decode(), target, old, self._headers, body, closing, expects)


def _length(value: bytes) -> int:
    """A Content-Length; llhttp has seen to it that there is one at most, and no Transfer-Encoding beside it."""
    if not value.isdigit() or len(value) > 20:
        raise MalformedRequest(f"{_WHAT}: its Content-Length is no number.")
    return int(value)
