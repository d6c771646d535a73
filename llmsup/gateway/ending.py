"""Whether an answer is complete by its own account, for answers whose framing doesn't show it."""

from __future__ import annotations

import msgspec

from ..engines.http import Headers
from . import sse

_KEPT = 256
"""Bytes to look at from a stream's end: the last event of both APIs below is shorter."""


class Ending:
    """Follows one answer.

    If only the closed connection marks the end of a body (HTTP/1.0 style, as in many Python servers), a truncated
    answer looks complete. But OpenAI's streams end with `[DONE]` and Anthropic's with `message_stop`, and JSON is
    complete if it can be parsed.
    """

    def __init__(self, headers: Headers) -> None:
        fields = {name.lower(): value.lower() for name, value in headers}
        framed = b"content-length" in fields or b"transfer-encoding" in fields
        self._stream = sse.is_stream(headers)
        self._keep = not framed and b"json" in fields.get(b"content-type", b"")
        self._tail = b""
        self._pieces: list[bytes] = []  # references to what is passed on, not copies

    def saw(self, data: bytes) -> None:
        """Note the answer's next bytes."""
        if self._stream:
            self._tail = (self._tail + data)[-_KEPT:]
        elif self._keep:
            self._pieces.append(data)

    @property
    def reached(self) -> bool:
        """Tell whether the answer is complete by its own account."""
        if self._stream:
            last = self._tail.replace(b"\r\n", b"\n").rstrip(b"\n").rpartition(b"\n\n")[2]
            lines = [line.replace(b" ", b"") for line in last.split(b"\n")]
            return b"data:[DONE]" in lines or b"event:message_stop" in lines
        if not self._pieces:
            return False
        try:
            msgspec.json.decode(b"".join(self._pieces), type=msgspec.Raw)
        except msgspec.DecodeError:
            return False
        return True
