"""Server-sent events that llmsup itself writes into a stream: comments while a model loads, and errors.

It does not know when they are due.
"""

from __future__ import annotations

import msgspec

from ..engines.connection import Headers
from ..errors import ConfigError, Error

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


def error_object(error: Error) -> dict[str, object]:
    """An error in OpenAI's shape."""
    shape: dict[str, object] = {
        "message": str(error).encode("utf-8", "replace").decode(),  # a path in it may be none
        "type": error.type,
        "param": error.param,
        "code": error.code,
    }
    if error.log_tail:
        shape["log_tail"] = list(error.log_tail)
    if isinstance(error, ConfigError):
        shape["mistakes"] = list(error.mistakes)
    return {"error": shape}


def error_event(error: Error, path: str) -> bytes:
    """An error for a stream that has begun. Anthropic's clients look at the event's name, OpenAI's at the data."""
    body = error_object(error)
    if path.startswith("/v1/messages"):
        return b"event: error\ndata: %s\n\n" % msgspec.json.encode({"type": "error", **body})
    return b"data: %s\n\n" % msgspec.json.encode(body)
