"""A request as a front end passes it in, and a reply as it gets it back."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from functools import lru_cache
from typing import Protocol, Self
from urllib.parse import parse_qs

from attrs import define, field

from ..engines.http import Again, AnswerHead, HeaderLines, Headers, header_lines
from .known import Known


@define(kw_only=True)  # not frozen, like everything made per request: that takes twice as long to create
class RequestHead:
    """A request without its body.

    Attributes:
        method: In upper case.
        path: Decoded.
        raw_path: As received, without the query.
        query: As received, without the question mark.
        headers: As received, with names in lower case.
        client: The client's address, which identifies it if no keys are required.
        known: What has been found out about it.
    """

    method: str
    path: str
    raw_path: bytes
    query: bytes = b""
    headers: Headers
    client: str = ""
    known: Known = field(init=False, factory=Known, eq=False, repr=False)  # so that a changed copy begins with nothing
    _first: dict[bytes, bytes] | None = field(init=False, default=None, eq=False, repr=False)  # made when it is needed

    def header(self, name: bytes) -> str:
        """Return the first header of that (lower case) name, or ""."""
        if self._first is None:
            self._first = dict(reversed(self.headers))
        value = self._first.get(name)
        return "" if value is None else value.decode("latin-1")

    def changed(self) -> None:
        """Note that the value of its Content-Length is another one now."""
        self._first = None

    def lines_for_engine(self, *, unpacked: bool) -> HeaderLines:
        """Return `for_engine`'s headers as they are written."""
        lines = self.known.for_engine.get(unpacked)
        if lines is None:
            lines = self.known.for_engine[unpacked] = header_lines(for_engine(self.headers, unpacked=unpacked))
        return lines

    def parameter(self, name: str) -> str:
        """Return the first query parameter of that name, or ""."""
        return parse_qs(self.query.decode("latin-1")).get(name, [""])[0]


class ClientLeft(Exception):
    """The client is gone, or has closed its sending side, so the rest isn't needed. Normal traffic, not an error."""


class Duplex(Protocol):
    """Bytes in both directions, of a connection that has been switched to another protocol.

    Both methods raise trio.BrokenResourceError or trio.ClosedResourceError if the other side is gone.
    """

    async def receive(self) -> bytes:
        """Return the next bytes; b"" at the end."""

    async def send(self, data: bytes) -> None:
        """Send all of it."""


@define(kw_only=True)
class Reply:
    """What goes back to the client. `body` ends, or raises if the rest is lost.

    Attributes:
        reason: The reason phrase; b"" for the usual one.
        tunnel: With status 101: carries bytes between the client's connection and the engine's until either ends.
        lines: The headers as they are written, if they include Content-Length and that is known.
        type: The Content-Type's, if `lines` is set.
    """

    status: int
    headers: Headers
    body: AsyncIterator[bytes]
    reason: bytes = b""
    tunnel: Callable[[Duplex], Awaitable[None]] | None = None
    lines: bytes | None = None
    type: str = ""

    @property
    def content_type(self) -> str:
        """The header of that name; "" if there is none."""
        return self.type if self.lines is not None else content_type(self.headers)


class Whole(AsyncIterator[bytes]):
    """A body that is there as a whole.

    Attributes:
        data: All of it, and b"" once it has been returned.
    """

    __slots__ = ("data",)

    def __init__(self, data: bytes) -> None:
        self.data = data

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        """Return it."""
        data, self.data = self.data, b""
        if not data:
            raise StopAsyncIteration
        return data


def whole_reply(status: int, headers: Headers, body: bytes) -> Reply:
    """Make a reply from a complete body; `headers` must not include the length."""
    return Reply(status=status, headers=[*headers, (b"content-length", b"%d" % len(body))], body=Whole(body))


# RFC 9110 §7.6.1: these concern one connection, not the message.
_HOP_BY_HOP = frozenset(
    b"connection keep-alive proxy-authenticate proxy-authorization proxy-connection te trailer transfer-encoding "
    b"upgrade".split()
)

# Framing is redone; keys are never passed on, whatever they are for; origins are checked here.
_NOT_FOR_ENGINES = _HOP_BY_HOP | frozenset(
    b"host content-length expect authorization x-api-key api-key x-goog-api-key cookie origin referer "
    b"x-llmsup-via".split()
)
_NOT_FOR_ENGINES_UNPACKED = _NOT_FOR_ENGINES | {b"content-encoding"}


def for_engine(headers: Headers, *, unpacked: bool = False) -> Headers:
    """Return the request headers to send to an engine. `unpacked`: the body is no longer compressed, if it was."""
    drop = _with_named(_NOT_FOR_ENGINES_UNPACKED if unpacked else _NOT_FOR_ENGINES, headers)
    return [header for header in headers if header[0] not in drop]


def switching(headers: Headers) -> Headers:
    """Return the headers that request, or grant, an upgrade to another protocol, if there are any.

    An upgrade to another version of HTTP is never passed on.
    """
    named = [value for name, value in headers if len(name) == 7 and name.lower() == b"upgrade"]
    if len(named) != 1 or b"upgrade" not in _named(headers) or named[0].strip().lower() == b"h2c":
        return []
    return [(b"connection", b"Upgrade"), (b"upgrade", named[0])]


def for_client(headers: Headers) -> Headers:
    """Return the engine's headers to send to a client, without CORS: who may read the answer is up to us."""
    seen = [header for header in headers if _for_clients(header[0])]
    if named := _named(headers):
        return [header for header in seen if header[0].lower() not in named]
    return seen


def reply_again(head: AnswerHead, again: Again, body: AsyncIterator[bytes]) -> Reply:
    """Return the reply for an answer whose head may come again on its connection, but for the length; `head.headers`
    and the reply's are then the same lists.
    """
    if again.headers is None:
        again.headers = for_client(head.headers)
        again.place = next(at for at, (name, _) in enumerate(again.headers) if name.lower() == b"content-length")
        lines = [b"%b: %b\r\n" % header for header in again.headers]
        name = again.headers[again.place][0]
        again.before = b"".join(lines[: again.place]) + name + b": "
        again.after = b"\r\n" + b"".join(lines[again.place + 1 :])
        again.type = content_type(again.headers)
    headers, digits = again.headers, head.digits
    headers[again.place] = (headers[again.place][0], digits)
    return Reply(
        status=head.status,
        headers=headers,
        body=body,
        reason=head.reason,
        lines=b"%b%b%b" % (again.before, digits, again.after),
        type=again.type,
    )


def content_type(headers: Headers) -> str:
    """Return the header of that name; "" if there is none."""
    for name, value in headers:
        if len(name) == 12 and name.lower() == b"content-type":
            return value.decode("latin-1")
    return ""


@lru_cache(1024)  # engines always send the same few
def _for_clients(name: bytes) -> bool:
    name = name.lower()
    return name not in _HOP_BY_HOP and not name.startswith(b"access-control-")


def _with_named(drop: frozenset[bytes], headers: Headers) -> frozenset[bytes]:
    named = _named(headers)
    return drop if named <= drop else drop | named


def _named(headers: Headers) -> frozenset[bytes]:
    """Return the headers that a `Connection` header declares to concern only the connection."""
    values = [value for name, value in headers if len(name) == 10 and name.lower() == b"connection"]
    if not values:
        return frozenset()
    return frozenset(token.strip().lower() for value in values for token in value.split(b","))


def query_of(head: RequestHead) -> bytes:
    return b"?" + head.query if head.query else b""
