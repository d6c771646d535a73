"""A request's body on its way in: read from the client as fast as it is consumed, and never past its end."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from math import inf
from typing import Self

import trio

from ..errors import BodyTooLarge, MalformedRequest
from ..gateway.message import ClientLeft
from ..units import Seconds
from .framing import Chunked, Framing, Length
from .head import Head
from .wire import LINGER_BYTES, Wire

MOMENT = Seconds(0.1)
"""How long to wait for a body that is probably on its way: small ones arrive before their answer, or right after it."""

_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"

_OVER = Length(0)


class Incoming:
    """One request's body, an async iterator of its pieces."""

    _unreadable = False
    _most: float = inf
    _too_large: Callable[[], BodyTooLarge] | None = None

    def __init__(self, wire: Wire, head: Head) -> None:
        self._wire = wire
        self._framing: Framing = Chunked() if head.length is None else Length(head.length)
        self._length = head.length
        self._invite = head.expects

    @property
    def complete(self) -> bool:
        """Whether the whole body has arrived."""
        return self._framing.done

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        """Return the next piece.

        Raises:
            ClientLeft: The client left before the end of the body.
            MalformedRequest: The body's chunks are malformed.
            BodyTooLarge: See `at_most`.
        """
        self._length = None
        while not self._framing.done:
            await self.invite()
            data = await self._wire.receive()
            if not data:
                raise ClientLeft
            try:
                body, self._wire.ahead = self._framing.feed(data)
            except MalformedRequest:
                self._unreadable = (
                    True  # for good: the next bytes may look like the end of the body and another request
                )
                raise
            self._check_size()
            if body:
                return body
        raise StopAsyncIteration

    def at_most(self, size: int, too_large: Callable[[], BodyTooLarge]) -> None:
        """Raise `too_large()` as soon as the client announces more than `size` bytes: now if it already has, else while
        the body is read.
        """
        self._most, self._too_large = size, too_large
        self._check_size()

    def _check_size(self) -> None:
        if self._too_large is not None and self._framing.announced > self._most:
            self._most = inf  # raised only once: the rest may then be read and discarded
            raise self._too_large()

    async def invite(self) -> None:
        """Send "100 Continue" to a client that waits for it."""
        if self._invite:
            self._invite = False
            if not self._wire.ahead:  # else the client didn't wait
                await self._wire.send(_CONTINUE)

    def at_hand(self, most: int) -> bytes | None:
        """Return the whole body if its length was declared, is at most `most`, and has already arrived; else None."""
        length, ahead = self._length, self._wire.ahead
        if length is None or length > most or length > len(ahead):
            return None
        if length == len(ahead):  # nothing behind it, as nearly always
            self._wire.ahead, self._framing = b"", _OVER
            return ahead
        body, self._wire.ahead = self._framing.feed(ahead)
        return body

    async def skip(self) -> bool:
        """Discard the rest of the body if it arrives within a moment; returns whether the body is complete then.

        A client that waits for "100 Continue" is not waited for.
        """
        if self._framing.done:
            return True
        left = LINGER_BYTES
        with trio.move_on_after(MOMENT), suppress(MalformedRequest):
            while left > 0 and not self.complete and not self._invite and not self._unreadable:
                left -= len(await anext(self, b""))
        return self.complete
