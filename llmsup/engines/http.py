"""The types of HTTP's parts, as bytes: what is sent to an engine and what comes back.

`connection` sends requests, `response` parses answers.
"""

from __future__ import annotations

from attrs import define

Headers = list[tuple[bytes, bytes]]

Buffer = bytes | bytearray | memoryview

Payload = Buffer | tuple[Buffer, ...]
"""A request's body, in one piece or several, so that hundreds of megabytes need not be joined."""


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
