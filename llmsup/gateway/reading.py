"""Reading a request's body: up to a size limit, within its share of the memory for bodies, at a minimum pace."""

from __future__ import annotations

import mmap
from collections.abc import AsyncGenerator, AsyncIterable
from contextlib import aclosing
from functools import partial
from typing import cast

import trio

from ..engines.http import Buffer
from ..errors import BadRequest, BodyTooLarge, BodyTooSlow
from ..units import Bytes, Seconds, format_bytes, format_seconds
from .encoding import encoding, unpacked
from .message import RequestHead
from .room import SMALL, Room, Share

SILENCE = Seconds(60)
"""The longest pause between bytes, as nginx's client_body_timeout."""

SLOWEST = 500
"""The lowest average rate, in bytes per second, once `SILENCE` is over: Apache's mod_reqtimeout has
`body=20,MinRate=500`. A client sending a byte now and then would hold a connection, and memory, for ever."""


async def read_body(
    head: RequestHead,
    chunks: AsyncIterable[bytes],
    limit: Bytes,
    share: Share | None = None,
    *,
    raw: bool = False,
    bound: str = "server.max_body",
) -> Buffer:
    """Read a whole body, decompressing it unless `raw`. `bound` says, for an error, where the limit comes from.

    `chunks` may have a method `at_hand`, which returns the whole body if it has already arrived and is no longer than
    the limit given: for most requests there is then no need to wait. They may also have `at_most`, which gets the
    limit, so that they can raise as soon as a larger body is announced.

    Raises:
        BodyTooLarge: The body is, or is announced to be, larger than `limit` bytes; the rest is not read.
        BodyTooSlow: The body arrives too slowly.
        BodiesFull: Other bodies use all the memory.
        UnsupportedEncoding, BadRequest: The body is compressed and can't be decompressed.
    """
    how = "" if raw else encoding(head)
    if not how and (data := at_hand(chunks, limit, share)) is not None:
        return data
    declared = head.header(b"content-length")
    length = int(declared) if declared.isdecimal() and len(declared) <= 20 else None
    if len(declared) > 20 or (length is not None and length > limit):
        raise _too_large(limit, bound)
    if (at_most := getattr(chunks, "at_most", None)) is not None:
        at_most(limit, partial(_too_large, limit, bound))
    body = _Body(limit, bound, None if how else length, share or Room(lambda: limit).share())
    await body.expect()
    # The compressed bytes are limited, too, as they may unpack to nothing.
    async with (
        aclosing(paced(chunks, limit, bound)) as bytes_,
        aclosing(unpacked(bytes_, how) if how else bytes_) as pieces,
    ):
        async for piece in pieces:
            await body.add(piece)
    return body.whole()


def at_hand(chunks: AsyncIterable[bytes], limit: Bytes, share: Share | None) -> bytes | None:
    """Return a body that is not compressed, if it is small and there already; see `read_body`. Raises BodiesFull."""
    take = getattr(chunks, "at_hand", None)
    if take is None or (data := take(min(SMALL, limit))) is None:
        return None
    if share is not None:
        share.take_small(len(data))
    return cast("bytes", data)


async def paced(chunks: AsyncIterable[bytes], limit: Bytes, bound: str) -> AsyncGenerator[bytes, None]:
    """Yield the same chunks as long as they arrive fast enough. Only time spent waiting for the client counts.

    Raises:
        BodyTooLarge: They exceed `limit` bytes.
        BodyTooSlow: They arrive too slowly.
    """
    iterator, size, waited = aiter(chunks), 0, 0.0
    while True:
        began, chunk = trio.current_time(), None
        with trio.move_on_after(min(SILENCE, SILENCE + size / SLOWEST - waited)) as patience:
            chunk = await anext(iterator, None)
        if patience.cancelled_caught:
            waited += trio.current_time() - began
            raise BodyTooSlow(f"Only {format_bytes(size)} of the body came in {format_seconds(waited)}.")
        if chunk is None:
            return
        waited += trio.current_time() - began
        size += len(chunk)
        if size > limit:
            raise _too_large(limit, bound)
        yield chunk


class _Body:
    """What has arrived so far: pieces while it is small, then a memory map.

    The map is returned to the system as a whole, and takes no memory before it is written to.
    """

    def __init__(self, limit: Bytes, bound: str, length: int | None, share: Share) -> None:
        self._limit = limit
        self._bound = bound
        self._length = length
        self._share = share
        self._small = bytearray()
        self._large: mmap.mmap | None = None
        self._size = 0

    async def expect(self) -> None:
        """Reserve room for the announced length, if it is large."""
        if self._length is not None and self._length > SMALL:
            await self._make_room(self._length)

    async def add(self, piece: bytes) -> None:
        size = self._size + len(piece)
        if size > self._limit:
            raise _too_large(self._limit, self._bound)
        if self._large is None and size > SMALL:
            await self._make_room(self._limit)
        if self._large is None:
            await self._share.grow(size)
            self._small += piece
        else:
            if size > len(self._large):
                raise BadRequest("The body is longer than its Content-Length.")
            self._large[self._size : size] = piece
        self._size = size

    async def _make_room(self, size: int) -> None:
        await self._share.grow(size)
        self._large = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANON)
        self._large[: self._size] = bytes(self._small)
        self._small.clear()

    def whole(self) -> Buffer:
        self._share.shrink(self._size)
        return bytes(self._small) if self._large is None else memoryview(self._large)[: self._size]


def _too_large(limit: Bytes, bound: str) -> BodyTooLarge:
    return BodyTooLarge(f"The body is larger than {format_bytes(limit)} ({bound}).")
