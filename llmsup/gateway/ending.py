"""Whether an answer is whole by its own account, for when its framing doesn't tell.

It does not know why an engine hung up.
"""

from __future__ import annotations

import msgspec

from ..engines.wire import Headers
from . import sse

_KEPT = 256
"""Bytes of a stream's end that are looked at: the last event of both APIs below is shorter."""


class Ending:
    """Follows one answer.

    Where nothing but the connection's end says where a body ends (HTTP/1.0 style, as many servers in Python do it),
    an answer that was cut off looks whole. A stream of OpenAI's API ends with `[DONE]`, one of Anthropic's with
    `message_stop`; JSON is whole if it can be read.
    """

    def __init__(self, headers: Headers) -> None:
        fields = {name.lower(): value.lower() for name, value in headers}
        framed = b"content-length" in fields or b"transfer-encoding" in fields
        self._stream = sse.is_stream(headers)
        self._keep = not framed and b"json" in fields.get(b"content-type", b"")
        self._tail = b""
        self._pieces: list[bytes] = []  # what is passed on is only referred to, not copied

    def saw(self, data: bytes) -> None:
        """The answer's next bytes."""
        if self._stream:
            self._tail = (self._tail + data)[-_KEPT:]
        elif self._keep:
            self._pieces.append(data)

    @property
    def reached(self) -> bool:
        """The answer says that nothing more will come."""
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
