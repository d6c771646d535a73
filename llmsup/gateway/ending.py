"""Whether an answer is complete by its own account, for answers whose framing doesn't show it."""

from __future__ import annotations

import re

import msgspec

from ..engines.http import Headers
from . import sse

_KEPT = 256
"""Bytes to look at from a stream's end: the last event of the first two APIs below is shorter."""

_OPENAI = re.compile(rb'"choices"\s*:\s*\[')
_FINISHED = re.compile(rb'"finish_reason"\s*:\s*"')
"""What OpenAI's streams consist of, and what one of the last events has. In a text, quotation marks are escaped."""

_LAST = re.compile(rb"(?:^|\n)event: ?response\.(?:completed|incomplete|failed)\r?\n")
"""The last event of a Responses stream begins, which has the whole response in it. In text, a line's end is escaped."""


class Ending:
    """Follows one answer.

    If only the closed connection marks the end of a body (HTTP/1.0 style, as in many Python servers), a truncated
    answer looks complete. But OpenAI's streams end with `[DONE]` and Anthropic's with `message_stop`, those of OpenAI's
    Responses with `response.completed` or the like, and JSON is complete if it can be parsed.

    Attributes:
        unfinished: It is one of OpenAI's streams, its framing doesn't show the end, and no reason has come why the
            answer ends: not even a server that leaves `[DONE]` out ends one so.
    """

    unfinished = False

    def __init__(self, headers: Headers) -> None:
        fields = {name.lower(): value.lower() for name, value in headers}
        framed = b"content-length" in fields or b"transfer-encoding" in fields
        self._stream = sse.is_stream(headers)
        self._unframed = not framed
        self._finished = False
        self._keep = not framed and b"json" in fields.get(b"content-type", b"")
        self._tail = b""
        self._last_began = False
        self._pieces: list[bytes] = []  # references to what is passed on, not copies

    def saw(self, data: bytes) -> None:
        """Note the answer's next bytes."""
        if self._stream:
            seen = self._tail + data
            self._last_began = self._last_began or _LAST.search(seen) is not None
            if self._unframed and not self._finished:
                self._finished = _FINISHED.search(seen) is not None
                self.unfinished = not self._finished and (self.unfinished or _OPENAI.search(seen) is not None)
            self._tail = seen[-_KEPT:]
        elif self._keep:
            self._pieces.append(data)

    @property
    def reached(self) -> bool:
        """Tell whether the answer is complete by its own account."""
        if self._stream:
            tail = self._tail.replace(b"\r\n", b"\n")
            if self._last_began and tail.endswith(b"\n\n"):
                return True
            last = tail.rstrip(b"\n").rpartition(b"\n\n")[2]
            lines = [line.replace(b" ", b"") for line in last.split(b"\n")]
            return b"data:[DONE]" in lines or b"event:message_stop" in lines
        if not self._pieces:
            return False
        try:
            msgspec.json.decode(b"".join(self._pieces), type=msgspec.Raw)
        except msgspec.DecodeError:
            return False
        return True
