"""JSON answers and errors in the documented shapes."""

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
    """Return a JSON answer, with a newline for people who use curl."""
    try:
        data = msgspec.json.encode(value)
    except UnicodeEncodeError:  # a path that is not UTF-8
        data = json.dumps(msgspec.to_builtins(value), ensure_ascii=False).encode("utf-8", "replace")
    return Response(data + b"\n", status=status, content_type="application/json")


def as_text(text: str) -> Response:
    """Return a plain text answer."""
    return Response(text, content_type="text/plain; charset=utf-8")


def as_error(error: Error, dialect: Dialect = OPENAI) -> Response:
    """Return an error in an API's shape."""
    answer = error_answer(error, dialect)
    response = Response(answer.body, status=answer.status)
    response.headers = Headers([(name.decode(), value.decode()) for name, value in answer.headers])
    return response
