"""An error as an answer: the same for every sender and on both paths a request can take."""

from __future__ import annotations

import math

import msgspec
from attrs import frozen

from ..engines.http import Headers
from ..errors import Error, MethodNotAllowed
from .api.dialect import Dialect
from .api.openai import OPENAI
from .encoding import ACCEPTED


@frozen
class ErrorAnswer:
    """A whole answer. `headers` include the length, but nothing about the connection."""

    status: int
    headers: Headers
    body: bytes


def error_answer(error: Error, dialect: Dialect = OPENAI) -> ErrorAnswer:
    """Return an error in an API's shape.

    If waiting helps, it has `Retry-After` (whole seconds) and the header that has OpenAI's and Anthropic's clients ask
    again by themselves, whatever the status. If it can't, that header stops them from it, as they do so after any 5xx.
    """
    body = msgspec.json.encode(dialect.error(error)) + b"\n"  # a newline for people who use curl
    headers: Headers = [(b"Content-Type", b"application/json"), (b"Content-Length", b"%d" % len(body))]
    if error.lasting:
        headers.append((b"X-Should-Retry", b"false"))
    elif error.retry_after is not None:
        headers += [(b"Retry-After", b"%d" % math.ceil(error.retry_after)), (b"X-Should-Retry", b"true")]
    if isinstance(error, MethodNotAllowed):
        headers.append((b"Allow", ", ".join(error.allowed).encode()))
    if error.status == 401:
        headers.append((b"WWW-Authenticate", b"Bearer"))
    if error.status == 415:
        headers.append((b"Accept-Encoding", ACCEPTED.encode()))  # RFC 9110, 15.5.16
    return ErrorAnswer(error.status, headers, body)
