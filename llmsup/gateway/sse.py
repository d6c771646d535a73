"""Server-sent events: what llmsup itself writes into a stream while a model loads, and an engine's stream taken apart.

It does not know what is in them.
"""

from __future__ import annotations

from ..engines.wire import Headers
from ..errors import EngineBadAnswer

HEADERS: Headers = [
    (b"content-type", b"text/event-stream"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),  # nginx must not collect what is meant to be read as it comes
]


def is_stream(headers: Headers) -> bool:
    """Whether a message's headers say that it is an event stream."""
    for name, value in headers:
        if len(name) == 12 and name.lower() == b"content-type":
            return value.lower().startswith(b"text/event-stream")
    return False


def comment(text: str) -> bytes:
    """A line that clients ignore, but that keeps them from giving up."""
    return f": {text}\n\n".encode()


MAX_EVENT = 16 * 1024**2
"""Bytes of one event. A token's has a few hundred."""


class Events:
    """Takes a stream apart that comes in any pieces."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[bytes]:
        """The data of each event that is complete now; comments and names of events have none.

        Raises:
            EngineBadAnswer: An event is too long.
        """
        if self._rest:
            data = self._rest + data
        if b"\r" in data:
            # one at the end may be half of a line's end
            data = data[:-1].replace(b"\r\n", b"\n") + data[-1:]
        *whole, self._rest = data.split(b"\n\n")
        if len(self._rest) > MAX_EVENT:
            raise EngineBadAnswer(f"An event of the engine's stream has no end: {len(self._rest)} bytes so far.")
        return [found for event in whole if (found := _data(event))]


def _data(event: bytes) -> bytes:
    event = event.lstrip(b"\n")
    if event.startswith(b"data:") and b"\n" not in event:  # nearly all
        return event[5:].removeprefix(b" ")
    lines = [line[5:].removeprefix(b" ") for line in event.split(b"\n") if line.startswith(b"data:")]
    return b"\n".join(lines)
