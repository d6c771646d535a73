"""OpenAI's API, which is what engines speak: nothing is translated (but see `structured`).

`/chat/completions` and others also exist without `/v1`, as in llama-server, and some clients use them; engines are
always asked with `/v1`, which all of them have. `/v/…` is llama-swap's prefix for engines whose paths have no version:
the engine is asked without the `/v`.
"""

from __future__ import annotations

import time

import msgspec

from ...errors import Error
from ..body import JsonBody
from .dialect import Dialect, Route, told_by

OPENAI = Dialect()
"""Also the default for APIs without a dialect of their own."""


class Responses(Dialect):
    """The Responses API, whose streams consist of typed events: one without a type is passed over by some clients.

    Codex learns of a failure by `response.failed` alone, and OpenAI's own libraries by a member `error`: it has both.
    """

    def error_event(self, error: Error) -> bytes:
        told = self.error(error)["error"]
        assert isinstance(told, dict)
        return _failed(told)

    def refusal_event(self, body: bytes) -> bytes:
        return _failed(told_by(body))


def _failed(error: dict[str, object]) -> bytes:
    reason = {"code": str(error.get("code") or "server_error"), "message": error["message"]}
    response = {"id": "", "object": "response", "created_at": int(time.time()), "status": "failed", "output": []}
    event = {"type": "response.failed", "response": {**response, "error": reason}, "error": error}
    return b"event: response.failed\ndata: %s\n\n" % msgspec.json.encode(event)


RESPONSES = Responses()


def structured(body: JsonBody) -> JsonBody:
    """Say what form is wanted as chat does, too: llama-server's `/v1/responses` heeds `response_format` alone."""
    text = body.get("text") if body.sets("text") and not body.sets("response_format") else None
    form = text.get("format") if isinstance(text, dict) else None
    match form:
        case {"type": "json_schema", **rest}:
            return body.also("response_format", {"type": "json_schema", "json_schema": rest})
        case {"type": "json_object"}:
            return body.also("response_format", {"type": "json_object"})
    return body


_REQUESTS = {"responses": structured}

_SAMPLING = ("chat/completions", "completions", "responses")
_OTHERS = (
    "chat/completions/input_tokens",
    "responses/input_tokens",
    "embeddings",
    "audio/transcriptions",
    "audio/speech",
    "images/generations",
    "images/edits",
)
_ALSO_WITHOUT_VERSION = (
    "chat/completions",
    "responses",
    "chat/completions/input_tokens",
    "responses/input_tokens",
    "audio/transcriptions",
)
"""`/completions` and `/embeddings` without `/v1` are llama.cpp's own (see `llama_cpp`)."""

_DIALECTS = {"responses": RESPONSES}


def _route(path: str, name: str, target: str = "") -> Route:
    return Route(
        dialect=_DIALECTS.get(name, OPENAI),
        path=path,
        target=target,
        samples=name in _SAMPLING,
        request=_REQUESTS.get(name),
    )


_OF_LLAMA_SWAP = ("chat/completions", "completions", "responses", "embeddings", "rerank", "reranking")

ROUTES = (
    *(_route(f"/v1/{name}", name) for name in (*_SAMPLING, *_OTHERS)),
    *(_route(f"/{name}", name, f"/v1/{name}") for name in _ALSO_WITHOUT_VERSION),
    *(_route(f"/v/{name}", name, f"/{name}") for name in _OF_LLAMA_SWAP),
)
