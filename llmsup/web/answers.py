"""JSON answers and errors in the shapes that are promised.

It does not know what is answered.
"""

from __future__ import annotations

import json
import math
from typing import Any

import msgspec
from quart import Response

from ..errors import Error
from ..gateway import sse


def as_json(value: Any, status: int = 200) -> Response:
    """A JSON answer, with a line end for people who look at it with curl."""
    try:
        data = msgspec.json.encode(value)
    except UnicodeEncodeError:  # a path that is no UTF-8
        data = json.dumps(value, ensure_ascii=False).encode("utf-8", "replace")
    return Response(data + b"\n", status=status, content_type="application/json")


def as_text(text: str) -> Response:
    """A plain text answer."""
    return Response(text, content_type="text/plain; charset=utf-8")


def as_error(error: Error) -> Response:
    """An error in OpenAI's shape, with `Retry-After` (whole seconds) where waiting helps, and where it doesn't with the
    header that keeps the clients of OpenAI and Anthropic from asking again by themselves, as they do after any 5xx.
    """
    response = as_json(sse.error_object(error), error.status)
    if error.lasting:
        response.headers["X-Should-Retry"] = "false"
    elif error.retry_after is not None:
        response.headers["Retry-After"] = str(math.ceil(error.retry_after))
    if error.status == 401:
        response.headers["WWW-Authenticate"] = "Bearer"
    if error.status == 415:
        response.headers["Accept-Encoding"] = "gzip, deflate"  # RFC 9110, 15.5.16
    return response
