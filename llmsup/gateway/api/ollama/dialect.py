"""How Ollama words what doesn't come from an engine: an error is one member, and in a stream the last line."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime

import msgspec

from ....engines.http import Headers
from ....errors import Error
from ...message import Reply, whole_reply
from ..dialect import Dialect, error_object

JSON: Headers = [(b"content-type", b"application/json; charset=utf-8")]


class Ollama(Dialect):
    """Its streams are lines of JSON, in which there is nothing that clients would ignore: so no signs of life."""

    under = ("/api/blobs",)
    gives_signs = False

    def error(self, error: Error) -> dict[str, object]:
        shape = error_object(error)["error"]
        assert isinstance(shape, dict)
        return {"error": shape["message"]}

    def error_event(self, error: Error) -> bytes:
        return msgspec.json.encode(self.error(error)) + b"\n"


OLLAMA = Ollama()


def stamp(seconds: float | None = None) -> str:
    """A moment (Unix seconds; None: now) as Ollama writes it: RFC 3339, in UTC."""
    moment = datetime.fromtimestamp(time.time() if seconds is None else seconds, UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def json_reply(value: object) -> Reply:
    """A whole answer."""
    try:
        data = msgspec.json.encode(value)
    except UnicodeEncodeError:  # a path that is no UTF-8
        data = json.dumps(value, ensure_ascii=False).encode("utf-8", "replace")
    return whole_reply(200, JSON, data)
