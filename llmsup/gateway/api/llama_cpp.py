"""llama-server's own paths, which clients of llama.cpp use: nothing is translated.

Paths that concern a single model (its slots, its settings) find it by `?model=`, as in llama.cpp's router.
"""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import ClassVar
from urllib.parse import unquote_to_bytes

from ...errors import Error, MethodNotImplemented
from .dialect import GET, Dialect, Route, error_object


class LlamaCpp(Dialect):
    """OpenAI's shape with llama.cpp's types. `code` is a word, as in all our errors; in llama.cpp it is the status."""

    _types: ClassVar[dict[int, str]] = {
        HTTPStatus.UNAUTHORIZED: "authentication_error",
        HTTPStatus.FORBIDDEN: "permission_error",
        HTTPStatus.NOT_FOUND: "not_found_error",
        HTTPStatus.NOT_IMPLEMENTED: "not_supported_error",
        HTTPStatus.SERVICE_UNAVAILABLE: "unavailable_error",
    }

    def error(self, error: Error) -> dict[str, object]:
        shape = error_object(error)
        other = "invalid_request_error" if error.status < HTTPStatus.INTERNAL_SERVER_ERROR else "server_error"
        assert isinstance(shape["error"], dict)
        shape["error"]["type"] = self._types.get(error.status, other)
        return shape


LLAMA_CPP = LlamaCpp()

LOOKS = frozenset(
    (
        "/health",
        "/v1/health",
        "/props",
        "/slots",
        "/metrics",
        "/models",
        "/v1/models",
        "/lora-adapters",
        "/favicon.ico",
    )
)
"""Engines' paths for which a GET only looks. Monitors and browsers request them all the time."""

_SAMPLING = ("/completion", "/completions", "/infill")
_OTHERS = (
    "/embedding",
    "/embeddings",
    "/rerank",
    "/reranking",
    "/v1/rerank",
    "/v1/reranking",
    "/tokenize",
    "/detokenize",
    "/apply-template",
    "/v1/chat/completions/control",
    "/v1/systemone",
    "/props",
    "/slots/*",
)

_SLOT = re.compile(rb"/+slots/[^?]*\?(?:.*&)?action=(?:save|restore)(?:&|$)")


def check_slots(target: bytes) -> None:
    """Refuse what would write or read a slot's file, for an engine whose directory for them is llmsup's.

    Raises:
        MethodNotImplemented: It would; in the words of a llama-server that has no such directory.
    """
    if _SLOT.match(unquote_to_bytes(target)):
        raise MethodNotImplemented(
            "llmsup saves this model's slots and restores them by itself ([prompt_cache]), so clients can't: give the "
            "model --slot-save-path in its args if they should."
        )


ROUTES = (
    *(Route(dialect=LLAMA_CPP, path=path, samples=path in _SAMPLING) for path in (*_SAMPLING, *_OTHERS)),
    Route(dialect=LLAMA_CPP, path="/lora-adapters", model="query"),  # its body is an array
    *(
        Route(dialect=LLAMA_CPP, path=path, methods=GET, model="query", look=True)
        for path in ("/slots", "/lora-adapters")
    ),
    *(
        Route(dialect=LLAMA_CPP, path=path, methods=GET, model="query", look=True, if_named=True)
        for path in ("/props", "/metrics", "/health", "/v1/health")
    ),
)
