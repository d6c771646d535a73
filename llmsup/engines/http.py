"""What goes over the wire to an engine and back, in types: HTTP's parts, as bytes.

It does not know how any of it is sent or read.
"""

from __future__ import annotations

from attrs import define

Headers = list[tuple[bytes, bytes]]

Buffer = bytes | bytearray | memoryview

Payload = Buffer | tuple[Buffer, ...]
"""A request's body, in one piece or several, so that nobody has to put hundreds of megabytes together."""


@define
class AnswerHead:
    """The first part of an answer: everything but its body.

    Attributes:
        streams: It says that the body is an event stream.
        unframed: It doesn't say where the body ends: the end of the connection does.
    """

    status: int
    headers: Headers
    reason: bytes = b""
    streams: bool = False
    unframed: bool = False
