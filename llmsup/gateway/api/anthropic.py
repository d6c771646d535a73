"""Anthropic's API, which llama-server speaks itself: only llmsup's own errors have to be worded for it."""

from __future__ import annotations

from http import HTTPStatus
from typing import ClassVar

import msgspec

from ...errors import Error
from .dialect import Dialect, Route, error_object, told_by


class Anthropic(Dialect):
    """Errors are objects of type "error"; in a stream they are events of that name."""

    under = ("/v1/messages", "/v/messages")

    _types: ClassVar[dict[int, str]] = {
        HTTPStatus.UNAUTHORIZED: "authentication_error",
        HTTPStatus.FORBIDDEN: "permission_error",
        HTTPStatus.NOT_FOUND: "not_found_error",
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "request_too_large",
        HTTPStatus.TOO_MANY_REQUESTS: "rate_limit_error",
        HTTPStatus.SERVICE_UNAVAILABLE: "overloaded_error",
        HTTPStatus.GATEWAY_TIMEOUT: "timeout_error",
    }

    def error(self, error: Error) -> dict[str, object]:
        """Add OpenAI's members to Anthropic's two: `code` is useful here, too."""
        shape = error_object(error)
        other = "invalid_request_error" if error.status < HTTPStatus.INTERNAL_SERVER_ERROR else "api_error"
        assert isinstance(shape["error"], dict)
        shape["error"]["type"] = self._types.get(error.status, other)
        return {"type": "error", **shape}

    def error_event(self, error: Error) -> bytes:
        return _event(self.error(error))

    def refusal_event(self, body: bytes) -> bytes:
        """Name the event, as clients look at no other; llama-server words these errors as OpenAI does."""
        error = told_by(body)
        return _event({"type": "error", "error": {**error, "type": str(error.get("type") or "api_error")}})


def _event(shape: dict[str, object]) -> bytes:
    return b"event: error\ndata: %s\n\n" % msgspec.json.encode(shape)


ANTHROPIC = Anthropic()

ROUTES = (
    Route(dialect=ANTHROPIC, path="/v1/messages", samples=True),
    Route(dialect=ANTHROPIC, path="/v1/messages/count_tokens"),
    Route(dialect=ANTHROPIC, path="/v/messages", target="/messages", samples=True),  # as in `openai`
    Route(dialect=ANTHROPIC, path="/v/messages/count_tokens", target="/messages/count_tokens"),
)
