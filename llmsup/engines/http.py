"""The types of HTTP's parts, as bytes: what is sent to an engine and what comes back.

`connection` sends requests, `response` parses answers.
"""

from __future__ import annotations

from attrs import define, field

Headers = list[tuple[bytes, bytes]]

Buffer = bytes | bytearray | memoryview

Payload = Buffer | tuple[Buffer, ...]
"""A request's body, in one piece or several, so that hundreds of megabytes needn't be joined."""


@define
class HeaderLines:
    """A request's headers as they are written, so that they needn't be put together for each request.

    Attributes:
        upgrading: Whether they ask for another protocol.
    """

    text: bytes
    upgrading: bool
    _begins: tuple[str, bytes, bytes] | None = field(default=None, eq=False)
    _beginning: bytes = field(default=b"", eq=False)

    def after(self, method: str, target: bytes, opening: bytes) -> bytes:
        """Return the lines behind a request's first ones: its line up to `target`, and `opening`; remembers that, as
        all requests with the same object are alike.
        """
        begins = (method, target, opening)
        if self._begins != begins:
            self._begins, self._beginning = begins, b"%b %b%b%b" % (method.encode(), target, opening, self.text)
        return self._beginning


def header_lines(headers: Headers) -> HeaderLines:
    """Write headers down, each with its line end."""
    text = b"".join([b"%b: %b\r\n" % header for header in headers])
    return HeaderLines(text, any(name == b"upgrade" for name, _ in headers))


@define
class AnswerHead:
    """The first part of an answer: everything but its body.

    Attributes:
        streams: It says that the body is an event stream.
        unframed: It doesn't say where the body ends: the end of the connection does.
        digits: Its Content-Length, if `again` is set.
        again: Set if the answer has come as a whole, and its head may come again, but for the length: then it will be
            this same object.
    """

    status: int
    headers: Headers
    reason: bytes = b""
    streams: bool = False
    unframed: bool = False
    digits: bytes = field(default=b"", eq=False)
    again: Again | None = field(default=None, eq=False)


@define(eq=False)
class Again:
    """What those answers of one connection share whose heads differ in nothing but the length.

    Attributes:
        headers: The headers that go on to clients, of one of them; None until they are needed.
        place: The index of Content-Length among them.
        before: The same as they are written, up to the length's digits ...
        after: ... and from there on.
        type: The Content-Type among them.
    """

    headers: Headers | None = None
    place: int = 0
    before: bytes = b""
    after: bytes = b""
    type: str = ""
