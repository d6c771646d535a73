"""An engine's answer put into the words of another API, a stream event by event.

It does not know those words: they are in `api`.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from http import HTTPStatus

import msgspec

from ..errors import EngineBadAnswer
from . import sse
from .api.dialect import Translation

OF_BODY = frozenset((b"content-type", b"content-length", b"content-encoding", b"x-accel-buffering", b"etag"))
"""Headers that are about a body's bytes, and so don't hold for other ones."""

_DONE = b"[DONE]"


async def translated(chunks: AsyncGenerator[bytes, None], translation: Translation) -> AsyncGenerator[bytes, None]:
    """An engine's stream in the client's words: at most one piece for each that comes, as soon as it has come.

    Raises:
        EngineBadAnswer: It can't be understood.
    """
    events = sse.Events()
    async with aclosing(chunks):
        async for chunk in chunks:
            found = events.feed(chunk)
            if out := b"".join([_understood(translation.event, data) for data in found if data != _DONE]):
                yield out
    if out := translation.end():
        yield out


def put(translation: Translation, status: int, body: bytes) -> bytes:
    """An answer that is no stream in the client's words. Raises EngineBadAnswer: it can't be understood."""
    if status >= HTTPStatus.BAD_REQUEST:
        return _understood(lambda data: translation.refusal(status, data), body)
    return _understood(translation.whole, body)


def _understood(translate: Callable[[bytes], bytes], data: bytes) -> bytes:
    try:
        return translate(data)
    except (msgspec.DecodeError, ValueError, TypeError, LookupError, AttributeError) as error:
        text = "The engine's answer can't be put into the words of the API that was asked for"
        raise EngineBadAnswer(f"{text}: {type(error).__name__}: {error}"[:300] + ".") from error
