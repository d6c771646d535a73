"""OpenAI's API, which is what engines speak: nothing is translated.

`/chat/completions` and others also exist without `/v1`, as in llama-server, and some clients use them; engines are
always asked with `/v1`, which all of them have. `/v/…` is llama-swap's prefix for engines whose paths have no version:
the engine is asked without the `/v`.
"""

from __future__ import annotations

from .dialect import Dialect, Route

OPENAI = Dialect()
"""Also the default for APIs without a dialect of their own."""

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

_OF_LLAMA_SWAP = ("chat/completions", "completions", "responses", "embeddings", "rerank", "reranking")

ROUTES = (
    *(Route(dialect=OPENAI, path=f"/v1/{name}", samples=name in _SAMPLING) for name in (*_SAMPLING, *_OTHERS)),
    *(
        Route(dialect=OPENAI, path=f"/{name}", target=f"/v1/{name}", samples=name in _SAMPLING)
        for name in _ALSO_WITHOUT_VERSION
    ),
    *(
        Route(dialect=OPENAI, path=f"/v/{name}", target=f"/{name}", samples=name in _SAMPLING)
        for name in _OF_LLAMA_SWAP
    ),
)
