"""A body on its way in: up to a limit, in room that it has a share of, at a pace that is no standstill.

It does not know what is in it.
"""

from __future__ import annotations

import mmap
from collections.abc import AsyncGenerator, AsyncIterable
from contextlib import aclosing
from functools import partial
from typing import cast

import trio

from ..engines.wire import Buffer
from ..errors import BadRequest, BodyTooLarge, BodyTooSlow
from ..units import Bytes, Seconds, format_bytes, format_seconds
from .encoding import encoding, unpacked
from .message import RequestHead
from .room import SMALL, Room, Share

SILENCE = Seconds(60)
"""How long no byte may come: nginx's client_body_timeout."""

SLOWEST = 500
"""Bytes per second that a body must have come at, on the whole, once `SILENCE` is over: Apache's mod_reqtimeout has
`body=20,MinRate=500`. A byte now and then holds a connection for ever, and a place in memory."""


async def read_body(
    head: RequestHead,
    chunks: AsyncIterable[bytes],
    limit: Bytes,
    share: Share | None = None,
    *,
    raw: bool = False,
    bound: str = "server.max_body",
) -> Buffer:
    """Read a whole body; one that is compressed becomes what it was, unless it is wanted `raw`. `bound` says where the
    limit comes from. `chunks` may have `at_hand`, which gives the whole body if it has come already and is no longer
    than that: then nothing has to be waited for, which is so for most. It may have `at_most`, which is told the limit:
    chunks may say that they will be larger before they are.

    Raises:
        BodyTooLarge: It is, or says that it is, larger than `limit` bytes; the rest is not read.
        BodyTooSlow: It stands still.
        BodiesFull: Other bodies have all the room.
        UnsupportedEncoding, BadRequest: It is compressed, and can't be read.
    """
    how = "" if raw else encoding(head)
    declared = head.header(b"content-length")
    length = int(declared) if declared.isdecimal() and len(declared) <= 20 else None
    if len(declared) > 20 or (length is not None and length > limit):
        raise _too_large(limit, bound)
    at_hand = None if how else getattr(chunks, "at_hand", None)
    if at_hand is not None and (data := at_hand(min(limit, SMALL))) is not None:
        if share is not None:
            share.take_small(len(data))
        return cast("bytes", data)
    if (at_most := getattr(chunks, "at_most", None)) is not None:
        at_most(limit, partial(_too_large, limit, bound))
    body = _Body(limit, bound, None if how else length, share or Room(lambda: limit).share())
    await body.expect()
    # What comes is bounded, too, as it may unpack to nothing.
    async with (
        aclosing(paced(chunks, limit, bound)) as bytes_,
        aclosing(unpacked(bytes_, how) if how else bytes_) as pieces,
    ):
        async for piece in pieces:
            await body.add(piece)
    return body.whole()


async def paced(chunks: AsyncIterable[bytes], limit: Bytes, bound: str) -> AsyncGenerator[bytes, None]:
    """The same chunks, as long as they come at a pace. Only time spent waiting for the client counts.

    Raises:
        BodyTooLarge: They are more than `limit` bytes.
        BodyTooSlow: They don't.
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
    """What has come so far: pieces, as long as they are small, then memory of its own, which goes back to the system
    whole, and isn't there before it is written to.
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
        """Have room for what is announced, if it is much."""
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
