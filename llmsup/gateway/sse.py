"""Server-sent events: those that llmsup writes while a model loads, and a parser for engines' streams."""

from __future__ import annotations

from ..engines.http import Headers
from ..errors import EngineBadAnswer

HEADERS: Headers = [
    (b"content-type", b"text/event-stream"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),  # keeps nginx from buffering the stream
]


def is_stream(headers: Headers) -> bool:
    """Tell whether a message's headers declare an event stream."""
    for name, value in headers:
        if len(name) == 12 and name.lower() == b"content-type":
            return value.lower().startswith(b"text/event-stream")
    return False


def comment(text: str) -> bytes:
    """Return a line that clients ignore, but that keeps them from giving up."""
    return f": {text}\n\n".encode()


MAX_EVENT = 16 * 1024**2
"""The most bytes of one event. A token's has a few hundred."""


class Events:
    """Splits a stream into events, whatever pieces it arrives in."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[bytes]:
        """Return the data of each event that is complete now, leaving out comments and events' names.

        Raises:
            EngineBadAnswer: An event is too long.
        """
        if self._rest:
            data = self._rest + data
        if b"\r" in data:
            # a final CR may be half of a line break
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
