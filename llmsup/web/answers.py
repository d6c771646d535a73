"""JSON answers and errors in the shapes that are promised.

It does not know what is answered.
"""

from __future__ import annotations

import json
from typing import Any

import msgspec
from quart import Response
from werkzeug.datastructures import Headers

from ..errors import Error
from ..gateway.api.dialect import Dialect
from ..gateway.api.openai import OPENAI
from ..gateway.error_answer import error_answer


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


def as_error(error: Error, dialect: Dialect = OPENAI) -> Response:
    """An error in an API's shape."""
    answer = error_answer(error, dialect)
    response = Response(answer.body, status=answer.status)
    response.headers = Headers([(name.decode(), value.decode()) for name, value in answer.headers])
    return response
