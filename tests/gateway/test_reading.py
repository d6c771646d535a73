"""A body on its way in: its pace, its share of the memory for all bodies, and what it was before it was compressed."""

from __future__ import annotations

import gzip
import sys
import zlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable
from contextlib import suppress

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

from llmsup.errors import BadRequest, BodiesFull, BodyTooLarge, BodyTooSlow, Error, UnsupportedEncoding
from llmsup.gateway.message import RequestHead
from llmsup.gateway.reading import read_body
from llmsup.gateway.room import ALL_SMALL, PATIENCE, SMALL, Room
from llmsup.units import Bytes

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

MB = 1_000_000
LIMIT = Bytes(256 * 1024**2)


def post(length: int | None = None, *encodings: bytes) -> RequestHead:
    headers = [(b"content-encoding", each) for each in encodings]
    if length is not None:
        headers.append((b"content-length", b"%d" % length))
    return RequestHead(method="POST", path="/", raw_path=b"/", headers=headers)


class AtOnce(AsyncIterator[bytes]):
    """A body that is there. Not a generator: one that isn't read to its end would have to be closed."""

    def __init__(self, *chunks: bytes) -> None:
        self._chunks = iter(chunks)

    async def __anext__(self) -> bytes:
        await trio.lowlevel.checkpoint()
        for chunk in self._chunks:
            return chunk
        raise StopAsyncIteration


async def every(seconds: float, chunks: Iterable[bytes]) -> AsyncGenerator[bytes, None]:
    for chunk in chunks:
        await trio.sleep(seconds)
        yield chunk


# Its pace...


async def test_a_body_that_stands_still(autojump_clock: MockClock) -> None:
    """A megabyte came at once, and then nothing."""

    async def still() -> AsyncIterator[bytes]:
        yield bytes(1000_000)
        await trio.sleep_forever()

    with pytest.raises(BodyTooSlow, match=r"Only 977 KiB of the body came in 60 s") as error:
        await read_body(post(), still(), LIMIT)
    assert (error.value.status, trio.current_time()) == (408, 60)


@pytest.mark.parametrize("length", [None, 10_000])
async def test_a_byte_now_and_then_is_no_pace(autojump_clock: MockClock, length: int | None) -> None:
    with pytest.raises(BodyTooSlow):
        await read_body(post(length), every(2, [b"x"] * 10_000), LIMIT)
    assert trio.current_time() < 65


async def test_a_slow_line_has_the_time_it_needs(autojump_clock: MockClock) -> None:
    """Half an hour at 4 kB/s, with pauses of 50 s."""
    data = [bytes(200_000)] * 36
    assert await read_body(post(), every(50, data), LIMIT) == b"".join(data)
    assert trio.current_time() == 1800


async def test_waiting_for_room_is_not_the_clients_fault(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    room = Room(lambda: Bytes(30 * MB))
    first = room.share()
    await first.grow(30 * MB)

    async def leave() -> None:
        await trio.sleep(59)
        first.release()

    nursery.start_soon(leave)
    data = bytes(20 * MB)
    assert len(await read_body(post(len(data)), every(3, [data]), LIMIT, room.share())) == len(data)
    assert trio.current_time() == 62


# Its room...


@pytest.mark.slow
async def test_large_bodies_have_so_much_together(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    """Of six of 100 MB five are in, whatever they say of their length; the sixth waits for one to go."""
    room, inside, most = Room(lambda: Bytes(2 * LIMIT)), 0, 0

    async def upload(length: int | None) -> None:
        nonlocal inside, most
        with room.share() as share:
            await read_body(post(length), AtOnce(*[bytes(10 * MB)] * 10), LIMIT, share)
            assert share.size == 100 * MB
            inside += 1
            most = max(most, inside)
            assert room.taken <= 2 * LIMIT + ALL_SMALL
            await trio.sleep(10)
            inside -= 1

    async with trio.open_nursery() as uploads:
        for number in range(6):
            uploads.start_soon(upload, 100 * MB if number % 2 else None)
    assert most in (2, 3, 4, 5)
    assert room.taken == 0


async def test_who_waits_too_long_for_room_is_told(autojump_clock: MockClock) -> None:
    room = Room(lambda: Bytes(30 * MB))
    with room.share() as first:
        await first.grow(25 * MB)
        with (
            room.share() as share,
            pytest.raises(BodiesFull, match=r"(?s)have 23\.8 MiB, of 28\.6 MiB .*max_body") as error,
        ):
            await read_body(post(10 * MB), AtOnce(), LIMIT, share)
    assert (error.value.status, error.value.retry_after, trio.current_time()) == (503, 10, PATIENCE)
    assert room.taken == 0


async def test_the_largest_gets_its_turn(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    """First come, first served: smaller ones that would fit don't overtake it. Alone, it may have any size."""
    room = Room(lambda: Bytes(30 * MB))
    order: list[int] = []

    async def body(size: int) -> None:
        with room.share() as share:
            await share.grow(size * MB)
            order.append(size)
            await trio.sleep(1)

    async with trio.open_nursery() as bodies:
        for size in (20, 29, 5, 40, 6):
            bodies.start_soon(body, size)
            await wait_all_tasks_blocked()
    assert order == [20, 29, 5, 40, 6]
    assert room.taken == 0


async def test_small_bodies_never_wait_for_large_ones(autojump_clock: MockClock) -> None:
    """They have room of their own, and are refused at once when that is gone."""
    room = Room(lambda: Bytes(30 * MB))
    await room.share().grow(30 * MB)
    shares = [room.share() for _ in range(ALL_SMALL // SMALL)]
    for share in shares:
        await read_body(post(), AtOnce(bytes(SMALL)), LIMIT, share)
    with pytest.raises(BodiesFull):
        await read_body(post(), AtOnce(b"x"), LIMIT, room.share())
    shares[0].release()
    shares[0].release()  # twice is once
    assert await read_body(post(), AtOnce(b"x"), LIMIT, room.share()) == b"x"
    assert trio.current_time() == 0


@pytest.mark.parametrize("wrong", ["left", "too large", "broken"])
async def test_room_is_given_back_whatever_happens(wrong: str) -> None:
    room = Room(lambda: Bytes(30 * MB))

    class Wrong(AtOnce):
        async def __anext__(self) -> bytes:
            try:
                return await super().__anext__()
            except StopAsyncIteration:
                if wrong == "left":
                    await trio.sleep_forever()
                raise BadRequest("broken") from None

    chunks = Wrong(bytes(5 * MB), bytes(6 * MB))
    with suppress(Error), trio.move_on_after(0.05), room.share() as share:
        await read_body(post(), chunks, Bytes((10 if wrong == "too large" else 26) * MB), share)
    assert room.taken == 0


async def test_a_body_longer_than_it_said() -> None:
    """HTTP/1 can't say that; whatever front end lets it through, it takes no room that it wasn't given."""
    with pytest.raises(BadRequest, match="longer than its Content-Length"):
        await read_body(post(2 * MB), AtOnce(bytes(MB), bytes(2 * MB)), LIMIT)


@given(st.lists(st.integers(0, 700_000), max_size=5), st.booleans())
def test_a_body_is_its_chunks(sizes: list[int], declared: bool) -> None:
    """Whether it is held in pieces or in memory of its own."""
    chunks = [bytes([number]) * size for number, size in enumerate(sizes)]

    async def read() -> bytes:
        return bytes(await read_body(post(sum(sizes) if declared else None), AtOnce(*chunks), LIMIT))

    assert trio.run(read) == b"".join(chunks)


# What it was before...


def raw_deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(data) + packer.flush()


SKIPPED = b"\x50\x2a\x4d\x18\x03\x00\x00\x00abc"
"""A frame of zstd's that is for nobody here."""


def frames(data: bytes) -> bytes:
    """Several, and one to be skipped between them."""
    return SKIPPED.join(zstd.compress(data[at : at + 9000]) for at in range(0, len(data) + 1, 9000))


PACK: dict[bytes, Callable[[bytes], bytes]] = {
    b"gzip": gzip.compress,
    b"X-GZIP": gzip.compress,
    b"Gzip": lambda data: b"".join(gzip.compress(data[at : at + 9000]) for at in range(0, len(data) + 1, 9000)),
    b"deflate": zlib.compress,
    b"Deflate": raw_deflate,
    b"zstd": zstd.compress,
    b"Zstd": frames,
}


@pytest.mark.slow
@pytest.mark.parametrize("how", PACK)
@pytest.mark.parametrize("size", [0, 1, 1000, 65536, 65537, 3 * MB])
@pytest.mark.parametrize("cut", [1, 17, 10**9])
async def test_compressed_bodies_are_unpacked(how: bytes, size: int, cut: int) -> None:
    data = (b'{"model": "m"}' * (size // 14 + 1))[:size]
    packed = PACK[how](data)
    chunks = [packed[at : at + cut] for at in range(0, len(packed), cut)]
    assert await read_body(post(len(packed), how), AtOnce(*chunks), LIMIT) == data
    assert await read_body(post(len(packed), how), AtOnce(packed), LIMIT, raw=True) == packed


@pytest.mark.parametrize("how", [b"br", b"zstd, gzip", b"gzip, gzip", b"compress", b"x" * 5000])
async def test_what_cannot_be_unpacked(how: bytes) -> None:
    """The message names the header; nothing of the body is read."""
    with pytest.raises(UnsupportedEncoding, match="Content-Encoding") as error:
        await read_body(post(None, how), AtOnce(), LIMIT)
    assert error.value.status == 415
    assert len(str(error.value)) < 300


@pytest.mark.parametrize("how", [b"", b"identity", b" Identity , ", b","])
async def test_not_compressed_in_other_words(how: bytes) -> None:
    assert await read_body(post(None, how), AtOnce(b"{}"), LIMIT) == b"{}"


@pytest.mark.parametrize("how", [b"gzip", b"deflate", b"zstd"])
@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda packed: b'{"model": "m"}', "says Content-Encoding: .*, but is something else"),
        (lambda packed: packed[:-1], "ends too early"),
        (lambda packed: packed + b"xyzz", "goes on after|is something else"),
        (lambda packed: packed[:4] + b"\xff" + packed[5:-4] + b"abcd", "is something else"),
    ],
)
async def test_broken_ones_are_the_clients_fault(how: bytes, change: Callable[[bytes], bytes], said: str) -> None:
    packed = PACK[how](b"x" * 1000)
    with pytest.raises(BadRequest, match=said) as error:
        await read_body(post(None, how), AtOnce(change(packed)), LIMIT)
    assert error.value.status == 400


async def test_what_unpacks_to_nothing_is_bounded() -> None:
    """Members without content: what comes counts as well as what becomes of it."""
    with pytest.raises(BodyTooLarge):
        await read_body(post(None, b"gzip"), AtOnce(*[gzip.compress(b"") * 100] * 100), Bytes(100_000))


async def test_a_zstd_frame_may_not_ask_for_much_memory() -> None:
    """Its window is what unpacking it takes, and a few bytes can ask for 128 MiB of it (RFC 9659 has 8 MiB)."""
    for log, fits in ((23, True), (24, False)):
        data = bytes(2**log)
        packed = zstd.compress(data, options={int(zstd.CompressionParameter.window_log): log})
        assert len(packed) < 10_000
        if fits:
            assert len(await read_body(post(None, b"zstd"), AtOnce(packed), Bytes(2**25))) == 2**log
        else:
            with pytest.raises(BadRequest, match="requires too much memory"):
                await read_body(post(None, b"zstd"), AtOnce(packed), Bytes(2**25))


@pytest.mark.slow
@pytest.mark.parametrize("how", [b"gzip", b"zstd"])
async def test_a_bomb_is_too_large_after_little_work(how: bytes) -> None:
    """A gigabyte of zeros is a megabyte when it comes: it is unpacked no further than it may be, a little at a time."""
    packer = zlib.compressobj(wbits=31) if how == b"gzip" else zstd.ZstdCompressor()
    bomb = b"".join([*(packer.compress(bytes(MB)) for _ in range(1000)), packer.flush()])
    assert len(bomb) < 2 * MB
    room, turns = Room(lambda: Bytes(30 * MB)), 0

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(other)
        with room.share() as share, pytest.raises(BodyTooLarge):
            await read_body(post(len(bomb), how), AtOnce(bomb), Bytes(20 * MB), share)
        nursery.cancel_scope.cancel()
    assert turns > 20 * MB // 65536 - 5
