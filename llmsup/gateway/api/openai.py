"""OpenAI's API, which is what engines speak: nothing is translated.

`/chat/completions` and others also exist without `/v1`, as in llama-server, and some clients use them; engines are
always asked with `/v1`, which all of them have. `/v/…` is llama-swap's prefix for engines whose paths have no version:
the engine is asked without the `/v`.
"""

from __future__ import annotations

import time

import msgspec

from ...errors import Error
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

_OF_LLAMA_SWAP = ("chat/completions", "completions", "responses", "embeddings", "rerank", "reranking")

ROUTES = (
    *(Route(dialect=_DIALECTS.get(name, OPENAI), path=f"/v1/{name}", samples=name in _SAMPLING) for name in (*_SAMPLING, *_OTHERS)),
    *(
        Route(dialect=_DIALECTS.get(name, OPENAI), path=f"/{name}", target=f"/v1/{name}", samples=name in _SAMPLING)
        for name in _ALSO_WITHOUT_VERSION
    ),
    *(
        Route(dialect=_DIALECTS.get(name, OPENAI), path=f"/v/{name}", target=f"/{name}", samples=name in _SAMPLING)
        for name in _OF_LLAMA_SWAP
    ),
)
