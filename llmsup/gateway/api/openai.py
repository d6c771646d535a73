"""OpenAI's API, which is what engines speak: nothing is translated.

`/chat/completions` and others stand without `/v1`, too: llama-server has them, and some clients ask for them; engines
are asked with `/v1`, which all of them have. `/v/…` is llama-swap's way to an engine whose paths have no version: it
goes out without the `/v`.
"""

from __future__ import annotations

from .dialect import Dialect, Route

OPENAI = Dialect()
"""Its words are the ones that all APIs have which have none of their own."""

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
"""`/completions` and `/embeddings` are llama.cpp's own (`llama_cpp`)."""

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
