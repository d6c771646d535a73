"""A socket's stream that does at once what can be done at once, and otherwise behaves as trio's."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from llmsup.process.quick_stream import IN_A_ROW, QuickStream


def pair() -> tuple[QuickStream, QuickStream]:
    near, far = socket.socketpair()
    return QuickStream(near), QuickStream(far)


@pytest.fixture
async def ends() -> AsyncIterator[tuple[QuickStream, QuickStream]]:
    near, far = pair()
    yield near, far
    near.close()
    far.close()


async def test_it_is_over_a_listener_what_trios_is(ends: tuple[QuickStream, QuickStream]) -> None:
    """Taken over from trio, whose options stay."""
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with listeners[0]:
        client = QuickStream.of(await trio.open_tcp_stream(*listeners[0].socket.getsockname()))
        server = QuickStream.of(await listeners[0].accept())
        assert client.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        await client.send_all(b"x" * 10)
        assert await server.receive_some() == b"x" * 10
        client.close()
        assert await server.receive_some() == b""
        server.close()


async def test_what_is_there_is_had_at_once(ends: tuple[QuickStream, QuickStream]) -> None:
    near, far = ends
    assert near.receive_now() is None
    assert not near.readable
    assert far.send_now(b"abc") == 3
    assert near.readable
    assert near.receive_now() == b"abc"
    assert near.receive_now() is None
    await far.send_eof()
    assert near.receive_now() == b""


async def test_others_get_their_turn(ends: tuple[QuickStream, QuickStream]) -> None:
    """Somebody for whom there is always something must not keep everybody else from running."""
    near, far = ends
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(other)
        for _ in range(10 * IN_A_ROW):
            await far.send_all(b"x")
            assert near.receive_now() or await near.receive_some()
        nursery.cancel_scope.cancel()
    assert turns > 10


async def test_a_lot_is_sent_as_it_is_taken(ends: tuple[QuickStream, QuickStream]) -> None:
    near, far = ends
    sent, got = bytes(range(256)) * 40_000, bytearray()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(far.send_all, sent)
        while len(got) < len(sent):
            got += await near.receive_some()
    assert got == sent


async def test_who_waits_is_told_that_it_is_closed(ends: tuple[QuickStream, QuickStream]) -> None:
    near, _ = ends
    async with trio.open_nursery() as nursery:

        async def wait() -> None:
            with pytest.raises(trio.ClosedResourceError):
                await near.receive_some()

        nursery.start_soon(wait)
        await wait_all_tasks_blocked()
        await near.aclose()
    assert near.closed
    for use in (near.receive_now, lambda: near.send_now(b"x")):
        with pytest.raises(trio.ClosedResourceError):
            use()
    with pytest.raises(trio.ClosedResourceError):
        await near.receive_some()
    near.close()


async def test_the_other_side_is_gone(ends: tuple[QuickStream, QuickStream]) -> None:
    near, far = ends
    far.close()
    with pytest.raises(trio.BrokenResourceError):
        near.send_now(b"x")
    with pytest.raises(trio.BrokenResourceError):
        await near.send_all(b"x")


async def test_who_waits_can_be_woken(ends: tuple[QuickStream, QuickStream]) -> None:
    """It isn't closed then: whoever wants to may wait again."""
    near, far = ends
    async with trio.open_nursery() as nursery:

        async def wait() -> None:
            with pytest.raises(trio.ClosedResourceError):
                await near.receive_some()

        nursery.start_soon(wait)
        await wait_all_tasks_blocked()
        near.wake()
    assert not near.closed
    await far.send_all(b"x")
    assert await near.receive_some() == b"x"
