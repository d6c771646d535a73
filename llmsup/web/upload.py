"""A request's body between Hypercorn and its reader: a little is buffered, the rest waits at the client.

Quart's own body buffers everything as fast as it arrives, whether or not it is read.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any, Self

import trio
from quart_trio.wrappers.request import TrioBody

from ..errors import BodyTooLarge
from ..process.watched import Watched
from ..units import Bytes, Seconds, format_bytes
from .incoming import Incoming

HELD = Bytes(131072)
"""Bytes of a body that are buffered until they are read."""

LINGER = Seconds(5)
"""How long a client that was answered early may go on sending: nginx's lingering_timeout. Closing at once would reset
the connection, and the answer would be lost before a client that is still sending has read it."""

LINGER_BYTES = Bytes(32 * 1024**2)
"""How many bytes it may send in that time."""


MOMENT = Seconds(0.1)
"""How long to wait for a body that is probably on its way: small ones arrive before their answer, or right after it."""


class Upload(TrioBody):
    """A body that is received only as fast as it is read.

    Attributes:
        incoming: The same body on the front's side of Hypercorn, if the request came through the front.
        complete: Whether the whole body has arrived.
        wasted: How many bytes arrived and were discarded.
    """

    def __init__(self, *_: object) -> None:
        super().__init__(None, None)  # the size is limited where it is read
        self.incoming: Incoming | None = None
        self.complete = False
        self.wasted = 0
        self._pieces: list[bytes] = []
        self._held = 0
        self._unwanted = False
        self._too_large: BodyTooLarge | None = None
        self._watched = Watched()

    async def put(self, data: bytes) -> None:
        """Add received bytes; returns when there is room for more."""
        if self._unwanted:
            self.wasted += len(data)
        elif data:
            self._pieces.append(data)
            self._held += len(data)
        self._watched.notify()
        await self._watched.until(lambda: self._unwanted or self._held < HELD)

    def at_most(self, size: int, too_large: Callable[[], BodyTooLarge]) -> None:
        """See `Incoming`."""

        def tell() -> BodyTooLarge:
            self._too_large = too_large()
            self._watched.notify()
            return self._too_large

        if self.incoming is not None:
            self.incoming.at_most(size, tell)

    def set_complete(self) -> None:
        """Mark the body as complete."""
        self.complete = True
        self._watched.notify()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        """Return the next piece. Raises BodyTooLarge: see `at_most`."""
        await self._watched.until(lambda: self._pieces or self.complete or self._too_large)
        if self._too_large is not None:
            raise self._too_large
        if not self._pieces:
            raise StopAsyncIteration
        data = b"".join(self._pieces)
        self._pieces.clear()
        self._held = 0
        self._watched.notify()
        return data

    def __await__(self) -> Generator[Any, None, bytes]:
        return self._all().__await__()

    async def _all(self) -> bytes:
        """Return the whole body, for Quart's `get_data`. Our own code uses `web.control_body`, with better limits."""
        parts: list[bytes] = []
        async for part in self:
            parts.append(part)
            if sum(map(len, parts)) > HELD:
                raise BodyTooLarge(f"The body is larger than {format_bytes(HELD)}.")
        return b"".join(parts)

    def discard(self) -> None:
        """Discard whatever arrives from now on."""
        self._unwanted = True
        self._pieces.clear()
        self._held = 0
        self._watched.notify()

    async def linger(self, seconds: Seconds) -> bool:
        """Let the client go on for up to `seconds` and `LINGER_BYTES`; returns whether the body is complete."""
        with trio.move_on_after(seconds):
            await self._watched.until(lambda: self.complete or self.wasted > LINGER_BYTES)
        return self.complete
