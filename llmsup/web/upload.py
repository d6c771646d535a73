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
"""What is held of a body that nobody reads yet."""

LINGER = Seconds(5)
"""How long a client that was answered early may still send: nginx's lingering_timeout. Closing at once would reset the
connection, and the reset throws the answer away before a client that is still sending has read it."""

LINGER_BYTES = Bytes(32 * 1024**2)
"""... and how much."""


MOMENT = Seconds(0.1)
"""How long what is on its way anyway may take: small bodies are here before their answer, or right behind it."""


class Upload(TrioBody):
    """A body that comes only as fast as it is read.

    Attributes:
        incoming: The same at the client's side of Hypercorn, if there is such a side.
        complete: All of it has come.
        wasted: How many bytes came after it was known that nobody wants them.
    """

    def __init__(self, *_: object) -> None:
        super().__init__(None, None)  # who reads it knows how large it may be
        self.incoming: Incoming | None = None
        self.complete = False
        self.wasted = 0
        self._pieces: list[bytes] = []
        self._held = 0
        self._unwanted = False
        self._too_large: BodyTooLarge | None = None
        self._watched = Watched()

    async def put(self, data: bytes) -> None:
        """Take what came; returns when there is room for more."""
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
        """It has come to its end."""
        self.complete = True
        self._watched.notify()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        """The next piece. Raises BodyTooLarge: see `at_most`."""
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
        """The whole body, for Quart's `get_data`; `web.control_body` is better."""
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
        """Let the client send what it is sending, within bounds; says whether that was all."""
        with trio.move_on_after(seconds):
            await self._watched.until(lambda: self.complete or self.wasted > LINGER_BYTES)
        return self.complete
