"""An engine's answer translated for another API, a stream event by event; the translations are in `api`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from http import HTTPStatus
from typing import Self

import msgspec

from ..errors import EngineBadAnswer, Error
from . import sse
from .api.dialect import Translation

OF_BODY = frozenset((b"content-type", b"content-length", b"content-encoding", b"x-accel-buffering", b"etag"))
"""Headers that describe the bytes of a body, and so don't apply to its translation."""

_DONE = b"[DONE]"


class TranslatedBody(AsyncIterator[bytes]):
    """An engine's stream translated for the client: at most one piece for each that arrives, without delay.

    If the rest is lost or can't be understood, a final piece says why.

    Attributes:
        whole: Whether the stream is complete.
    """

    def __init__(self, body: AsyncIterator[bytes], translation: Translation, broken: Callable[[Error], bytes]) -> None:
        """`broken` words the final piece for an error."""
        self.whole = False
        self._body = body
        self._translation = translation
        self._events = sse.Events()
        self._tell = broken
        self._over = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        """Return the next piece."""
        while not self._over:
            try:
                if out := await self._piece():
                    return out
            except Error as error:
                self._over = True
                return self._tell(error)
        raise StopAsyncIteration

    async def _piece(self) -> bytes:
        chunk = await anext(self._body, b"")
        if not chunk:
            out = self._translation.end()
            self._over = self.whole = True
            return out
        found = self._events.feed(chunk)
        return b"".join([_understood(self._translation.event, data) for data in found if data != _DONE])


def put(translation: Translation, status: int, body: bytes) -> bytes:
    """Translate an answer that is not a stream. Raises EngineBadAnswer if it can't be understood."""
    if status >= HTTPStatus.BAD_REQUEST:
        return _understood(lambda data: translation.refusal(status, data), body)
    return _understood(translation.whole, body)


def _understood(translate: Callable[[bytes], bytes], data: bytes) -> bytes:
    try:
        return translate(data)
    except (msgspec.DecodeError, ValueError, TypeError, LookupError, AttributeError) as error:
        text = "The engine's answer can't be put into the words of the API that was asked for"
        raise EngineBadAnswer(f"{text}: {type(error).__name__}: {error}"[:300] + ".") from error
