"""An error as an answer: the same, whoever sends it and on whichever road the request came.

It does not know what went wrong, how an API words it, nor how an answer is sent.
"""

from __future__ import annotations

import math

import msgspec
from attrs import frozen

from ..engines.wire import Headers
from ..errors import Error, MethodNotAllowed
from .api.dialect import Dialect
from .api.openai import OPENAI


@frozen
class ErrorAnswer:
    """A whole answer. `headers` lacks what is about the connection; it has the length."""

    status: int
    headers: Headers
    body: bytes


def error_answer(error: Error, dialect: Dialect = OPENAI) -> ErrorAnswer:
    """An error in an API's shape, with `Retry-After` (whole seconds) where waiting helps, and where it doesn't with the
    header that keeps the clients of OpenAI and Anthropic from asking again by themselves, as they do after any 5xx.
    """
    body = msgspec.json.encode(dialect.error(error)) + b"\n"  # a line end for people who look at it with curl
    headers: Headers = [(b"Content-Type", b"application/json"), (b"Content-Length", b"%d" % len(body))]
    if error.lasting:
        headers.append((b"X-Should-Retry", b"false"))
    elif error.retry_after is not None:
        headers.append((b"Retry-After", b"%d" % math.ceil(error.retry_after)))
    if isinstance(error, MethodNotAllowed):
        headers.append((b"Allow", ", ".join(error.allowed).encode()))
    if error.status == 401:
        headers.append((b"WWW-Authenticate", b"Bearer"))
    if error.status == 415:
        headers.append((b"Accept-Encoding", b"gzip, deflate"))  # RFC 9110, 15.5.16
    return ErrorAnswer(error.status, headers, body)
