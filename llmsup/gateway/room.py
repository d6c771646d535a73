"""The memory that the bodies of all requests may use together.

Each share must be given back in the end.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Self

import trio

from ..errors import BodiesFull
from ..process.watched import Watched
from ..units import Bytes, Seconds, format_bytes

SMALL = Bytes(1024**2)
"""The largest small body, in bytes: some two hundred thousand words."""

ALL_SMALL = Bytes(128 * 1024**2)
"""Bytes that all small bodies may use together. They never wait for large ones."""

PATIENCE = Seconds(60)
"""Seconds that a large body waits for room before it is refused."""


class Room(Watched):
    """Memory for bodies: `most()` bytes for all large ones together, and `ALL_SMALL` besides.

    Attributes:
        most: Returns how many bytes all large bodies may use together.
    """

    def __init__(self, most: Callable[[], Bytes]) -> None:
        super().__init__()
        self.most = most
        self._small_taken = 0
        self._large_taken = 0
        self._queue: deque[Share] = deque()

    def __repr__(self) -> str:
        taken = f"{format_bytes(self._large_taken)} of {format_bytes(self.most())}"
        return f"<Room {taken}, {format_bytes(self._small_taken)} in small ones, {len(self._queue)} waiting>"

    @property
    def taken(self) -> Bytes:
        """The bytes that all bodies use now."""
        return Bytes(self._small_taken + self._large_taken)

    def share(self) -> Share:
        """Return a share for one body; leaving its context gives it back."""
        return Share(self)

    def _fits(self, size: int) -> bool:
        return not self._large_taken or self._large_taken + size <= self.most()

    async def _take_large(self, share: Share, size: int) -> None:
        self._queue.append(share)  # first come, first served, so that a very large one gets its turn, too
        try:
            with trio.move_on_after(PATIENCE) as patience:
                await self.until(lambda: self._queue[0] is share and self._fits(size))
            if patience.cancelled_caught:
                taken = format_bytes(self._large_taken)
                raise BodiesFull(
                    f"The bodies of other requests have {taken}, of {format_bytes(self.most())} for all of them.",
                    hint="Send fewer large requests at a time; the bound is twice server.max_body.",
                    retry_after=10,
                )
            self._large_taken += size
        finally:
            self._queue.remove(share)
            self.notify()

    def _take_small(self, size: int) -> None:
        if self._small_taken + size > ALL_SMALL:
            raise BodiesFull(
                f"The bodies of waiting requests have {format_bytes(self._small_taken)} together.", retry_after=10
            )
        self._small_taken += size

    def _give_back(self, small: int, large: int) -> None:
        self._small_taken -= small
        self._large_taken -= large
        if self._queue:
            self.notify()


class Share:
    """One body's part of the room.

    Attributes:
        size: Its bytes.
    """

    def __init__(self, room: Room) -> None:
        self._room = room
        self._small = 0
        self._large = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    @property
    def size(self) -> Bytes:
        return Bytes(self._small + self._large)

    async def grow(self, size: int) -> None:
        """Grow to this many bytes. A large body waits for room, but only once, so that there can be no deadlock.

        Raises:
            BodiesFull: There is no room.
        """
        if size <= self.size:
            return
        if size <= SMALL:
            self.take_small(size)
            return
        await self._room._take_large(self, size - self._large)
        self._room._give_back(self._small, 0)
        self._small, self._large = 0, size

    def take_small(self, size: int) -> None:
        """Like `grow`, for up to `SMALL` bytes, without waiting. Raises BodiesFull."""
        self._room._take_small(size - self._small)
        self._small = size

    def shrink(self, size: int) -> None:
        """Give back all but this many bytes."""
        if self._large and size < self._large:
            self._room._give_back(0, self._large - size)
            self._large = size

    def release(self) -> None:
        """Give all of it back. May be called more than once."""
        if self._small or self._large:
            small, large, self._small, self._large = self._small, self._large, 0, 0
            self._room._give_back(small, large)
