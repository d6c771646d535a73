"""What is no request, or two at once, is refused: with a 4xx or 5xx that says so, and the end of the connection."""

from __future__ import annotations

import json
from collections.abc import AsyncIterable, AsyncIterator

import malformed
import pytest
import trio
from roads import one_road
from trio.testing import MockClock, memory_stream_pair

from llmsup.gateway.message import Reply, RequestHead
from llmsup.units import Seconds
from llmsup.web.clients import Clients
from llmsup.web.conversation import Conversation
from llmsup.web.pipe import Ends
from llmsup.web.wire import Wire

STATUSES = (400, 408, 414, 431, 501, 505)

BEHIND = b"GET /behind HTTP/1.1\r\nHost: localhost\r\n\r\n"
"""What an attacker would have taken for a request of its own."""


async def said(road: str, request: bytes, *, piece: int) -> tuple[int, bytes, list[str]]:
    """What is answered: the status, everything up to the end of the connection, and what got through."""
    reached: list[str] = []

    async def nothing() -> AsyncIterator[bytes]:
        return
        yield b""

    async def behave(head: RequestHead, chunks: AsyncIterable[bytes]) -> Reply:
        async for _ in chunks:
            pass
        reached.append(head.path)
        return Reply(status=200, headers=[(b"content-length", b"0")], body=nothing())

    near, far = memory_stream_pair()
    front = one_road(road, behave)
    data = b""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(front.lookout.run)
        wire, ends = Wire(far, Seconds(60)), Ends(None, None, False)
        nursery.start_soon(Conversation(front, wire, ends, closing=bool, place=Clients(1).place).run)
        try:
            for start in range(0, len(request), piece):
                await near.send_all(request[start : start + piece])
                await trio.testing.wait_all_tasks_blocked()
        except trio.BrokenResourceError:
            pass  # it was refused before its end
        while part := await near.receive_some():
            data += part
        nursery.cancel_scope.cancel()
    return int(data.split(b" ", 2)[1]), data, reached


def test_there_are_enough() -> None:
    assert len(set(malformed.ALL)) == len(malformed.ALL) >= 150


@pytest.mark.parametrize("request_", malformed.ALL, ids=range(len(malformed.ALL)))
async def test_it_is_refused(autojump_clock: MockClock, request_: bytes) -> None:
    """The same on both roads, in one piece or in small ones; and what comes behind it is not looked at."""
    for piece in (1_000_000, 1009 if len(request_) > 5000 else 7):
        answers = set()
        for road in ("fast", "hypercorn"):
            status, data, reached = await said(road, request_ + BEHIND, piece=piece)
            assert status in STATUSES
            assert not reached
            head, _, body = data.partition(b"\r\n\r\n")
            assert b"\r\nConnection: close" in head
            assert json.loads(body)["error"]["type"] == "invalid_request_error"
            answers.add(data)
        assert len(answers) == 1
