"""What is said on one client's connection, and when it ends: the front alone, on a clock that jumps, with something
simple at the end of each road.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import AsyncIterable, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
from roads import Behaviour, one_road
from trio.testing import MockClock, lockstep_stream_pair, memory_stream_pair, wait_all_tasks_blocked

from llmsup.engines.http import Headers
from llmsup.errors import Error
from llmsup.gateway.message import Duplex, Reply, RequestHead
from llmsup.units import Seconds
from llmsup.web.clients import Clients
from llmsup.web.conversation import HEAD_TIME, KEEP_ALIVE, Conversation
from llmsup.web.head import MAX_HEAD
from llmsup.web.pipe import Ends
from llmsup.web.wire import LINGER, Wire

GET = b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n"
SECRET = b"Bearer sesame"


async def pieces(*data: bytes, error: Error | None = None) -> AsyncIterator[bytes]:
    """A body."""
    for piece in data:
        yield piece
    if error:
        raise error


async def hello(head: RequestHead, chunks: AsyncIterable[bytes]) -> Reply:
    """Reads the whole body and says how long it was; the path says how."""
    size = 0
    if head.path != "/early":
        async for chunk in chunks:
            size += len(chunk)
    body = f"{head.method} {head.path} {size}".encode()
    headers = [(b"X-Case", b"\xff\xc3\xa9")]
    if head.path != "/stream":
        headers.append((b"Content-Length", b"%d" % len(body)))
    return Reply(status=200, headers=headers, body=pieces(body), reason=b"Fine")


class Client:
    """The other end."""

    def __init__(self, stream: Any, conversation: Conversation) -> None:
        self.stream = stream
        self.conversation = conversation
        self.over = trio.Event()
        self._data = b""

    async def send(self, data: bytes) -> None:
        await self.stream.send_all(data)

    async def answer(self) -> tuple[bytes, bytes]:
        """The head and the body of the next answer that tells its length."""
        while b"\r\n\r\n" not in self._data:
            await self._more()
        head, _, self._data = self._data.partition(b"\r\n\r\n")
        match = re.search(rb"content-length: (\d+)", head, re.IGNORECASE)
        length = int(match[1]) if match else 0
        while len(self._data) < length:
            await self._more()
        body, self._data = self._data[:length], self._data[length:]
        return head, body

    async def rest(self) -> bytes:
        """Everything up to the end."""
        while data := await self.stream.receive_some():
            self._data += data
        return self._data

    async def _more(self) -> None:
        data = await self.stream.receive_some()
        assert data, f"it ended after {self._data!r}"
        self._data += data


@pytest.fixture(params=["fast", "hypercorn"])
def road(request: pytest.FixtureRequest) -> str:
    """The road that all requests take."""
    road: str = request.param
    return road


fast_only = pytest.mark.parametrize("road", ["fast"], indirect=True)


@asynccontextmanager
async def connected(road: str, behave: Behaviour = hello, stream: Any = None) -> AsyncIterator[Client]:
    """A client; `stream` is both ends of its connection, if it isn't to be the usual one."""
    near, far = stream or memory_stream_pair()
    ends, front = Ends(("127.0.0.1", 1), ("127.0.0.1", 2), secure=False), one_road(road, behave)
    client = Client(
        near, Conversation(front, Wire(far, Seconds(60)), ends, closing=lambda: False, place=Clients(100).place)
    )
    async with trio.open_nursery() as nursery:

        async def serve() -> None:
            await client.conversation.run()
            client.over.set()

        nursery.start_soon(front.lookout.run)
        nursery.start_soon(serve)
        yield client
        nursery.cancel_scope.cancel()


def at_once() -> bool:
    """No time has gone by but that after which it is looked whether clients are still there."""
    return trio.current_time() < 0.1


# How long it stays open...


async def test_it_ends_if_no_request_comes(road: str, autojump_clock: MockClock) -> None:
    async with connected(road) as client:
        assert await client.rest() == b""
        assert trio.current_time() == pytest.approx(HEAD_TIME)


async def test_it_ends_after_a_while_without_another_request(road: str, autojump_clock: MockClock) -> None:
    async with connected(road) as client:
        for _ in range(3):
            await client.send(GET)
            _, body = await client.answer()
            assert body == b"GET /a 0"
            await trio.sleep(KEEP_ALIVE - 1)
        await client.send(GET)
        await client.answer()
        began = trio.current_time()
        assert await client.rest() == b""
        assert trio.current_time() - began == pytest.approx(KEEP_ALIVE)


@pytest.mark.parametrize("idle", [0.0, KEEP_ALIVE / 2, KEEP_ALIVE - 0.01])
async def test_a_request_may_take_its_time(road: str, autojump_clock: MockClock, idle: float) -> None:
    """Also one that comes just before its connection would have ended."""

    async def slow(head: RequestHead, chunks: AsyncIterable[bytes]) -> Reply:
        await trio.sleep(10_000)
        return await hello(head, chunks)

    async with connected(road, slow) as client:
        await client.send(GET)
        await client.answer()
        assert trio.current_time() == pytest.approx(10_000, abs=1)
        await trio.sleep(idle)
        began = trio.current_time()
        await client.send(GET)
        await client.answer()
        assert trio.current_time() - began == pytest.approx(10_000, abs=1)


@pytest.mark.parametrize("first", [True, False])
async def test_a_head_that_does_not_end(road: str, autojump_clock: MockClock, first: bool) -> None:
    """Also one of which a byte comes now and then."""
    async with connected(road) as client:
        if not first:
            await client.send(GET)
            await client.answer()
            await trio.sleep(KEEP_ALIVE / 2)
        began = trio.current_time()

        async def drip() -> None:
            for byte in GET:
                await client.send(bytes((byte,)))
                await trio.sleep(2)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(drip)
            head, body = await client.answer()
            assert trio.current_time() - began == pytest.approx(HEAD_TIME)
            nursery.cancel_scope.cancel()
        assert head.startswith(b"HTTP/1.1 408 Request Timeout\r\n")
        assert json.loads(body)["error"]["code"] == "request_timeout"
        await client.stream.send_stream.aclose()
        assert await client.rest() == b""


@pytest.mark.parametrize("sent", [b"", b"GET /a HT"])
async def test_it_ends_with_the_client(road: str, autojump_clock: MockClock, sent: bytes) -> None:
    """At once, also if there has been no request: nothing is left half closed for a minute."""
    async with connected(road) as client:
        await client.send(sent)
        await client.stream.send_stream.aclose()
        await client.over.wait()
        assert at_once()


@pytest.mark.parametrize(
    "request_", [GET, GET + GET, GET.replace(b"\r\n\r\n", b"\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n")]
)
async def test_the_application_is_told_when_the_client_leaves(
    road: str, autojump_clock: MockClock, request_: bytes
) -> None:
    """Also when the next request, or an offer that nobody takes, lies in the way."""
    told = trio.Event()

    async def waits(head: RequestHead, chunks: AsyncIterable[bytes]) -> Reply:
        try:
            await trio.sleep_forever()
        finally:
            told.set()

    async with connected(road, waits) as client:
        await client.send(request_)
        await wait_all_tasks_blocked()
        assert not told.is_set()
        await client.stream.send_stream.aclose()
        await told.wait()
        await client.over.wait()
        assert at_once()


@pytest.mark.parametrize("path", [b"/a", b"/stream"])
@pytest.mark.parametrize("how", [b"HTTP/1.0\r\n", b"HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"])
async def test_a_connection_that_was_announced_as_closing_is_closed(
    road: str, autojump_clock: MockClock, how: bytes, path: bytes
) -> None:
    async with connected(road) as client:
        # Some old clients send an empty line after a body; it must not spoil the answer.
        await client.send(b"POST " + path + b" " + how + b"Content-Length: 3\r\n\r\nabc\r\n")
        data = await client.rest()
        assert b"Connection: close" in data
        assert b"POST " + path + b" 3" in data
        assert at_once()
        await client.stream.send_stream.aclose()
        await client.over.wait()
        assert at_once()


async def test_a_client_that_does_not_close_its_side_is_not_waited_for(road: str, autojump_clock: MockClock) -> None:
    async with connected(road) as client:
        await client.send(b"GET /a HTTP/1.0\r\n\r\n")
        await client.rest()
        await client.over.wait()
        assert trio.current_time() == pytest.approx(LINGER, abs=0.1)


# What is understood...


async def test_the_answer_is_as_it_was_given(road: str, autojump_clock: MockClock) -> None:
    """Hypercorn has its own words for a status."""
    async with connected(road) as client:
        await client.send(GET)
        head, _ = await client.answer()
        words = b"Fine" if road == "fast" else b"OK"
        assert head.split(b"\r\n") == [b"HTTP/1.1 200 " + words, b"X-Case: \xff\xc3\xa9", b"Content-Length: 8"]


async def test_requests_that_are_sent_ahead_are_answered_in_order(road: str, autojump_clock: MockClock) -> None:
    async with connected(road) as client:
        await client.send(b"".join(GET.replace(b"/a", b"/%d" % n) + b"\r\n" for n in range(5)))
        for number in range(5):
            head, body = await client.answer()
            assert head.startswith(b"HTTP/1.1 200 ")
            assert body == b"GET /%d 0" % number


async def test_how_much_may_be_sent_ahead(road: str, autojump_clock: MockClock) -> None:
    """A client can't make us keep what it likes."""

    async def never(head: RequestHead, chunks: AsyncIterable[bytes]) -> Reply:
        await trio.sleep_forever()
        raise AssertionError

    async with connected(road, never) as client:
        await client.send(GET)
        for _ in range(10):
            await client.send(bytes(MAX_HEAD))
            await wait_all_tasks_blocked()
        assert len(client.conversation._wire.ahead) <= 2 * MAX_HEAD


@fast_only  # on the other road, it is Quart that reads past them
async def test_a_body_that_nobody_wanted(road: str, autojump_clock: MockClock) -> None:
    """The connection goes on after a short one, and ends with its answer if it doesn't come, or is a long one."""
    head = b"POST /early HTTP/1.1\r\nHost: x\r\nContent-Length: "
    async with connected(road) as client:
        await client.send(head + b"1000\r\n\r\n" + bytes(500))
        await client.send(bytes(500) + GET)
        assert (await client.answer())[1] == b"POST /early 0"
        assert (await client.answer())[1] == b"GET /a 0"
        await client.send(head + b"100000000\r\n\r\n" + bytes(100_000))
        answer, body = await client.answer()
        assert b"Connection: close" in answer
        assert body == b"POST /early 0"
        await client.over.wait()
        assert trio.current_time() <= 2 * LINGER


@pytest.mark.parametrize("sent", [b"abc", b""])
async def test_a_body_may_be_asked_for(road: str, autojump_clock: MockClock, sent: bytes) -> None:
    """Once somebody wants it, and if it isn't there already."""
    head = b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n"
    async with connected(road) as client:
        await client.send(head + sent)
        if not sent:
            assert await client.answer() == (b"HTTP/1.1 100 Continue", b"")
            await client.send(b"abc")
        assert (await client.answer())[1] == b"POST /a 3"


@fast_only
async def test_a_body_that_is_not_asked_for_is_not_waited_for(road: str, autojump_clock: MockClock) -> None:
    head = b"POST /early HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n"
    async with connected(road) as client:
        await client.send(head)
        answer, body = await client.answer()
        assert b"Connection: close" in answer
        assert body == b"POST /early 0"
        assert at_once()


@pytest.mark.parametrize(
    ("sent", "status", "code"),
    [
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"505 HTTP Version Not Supported", "http_version_not_supported"),
        (b"GET / HTTP/3.0\r\nAuthorization: " + SECRET + b"\r\n\r\n", b"505", "http_version_not_supported"),
        (b"CONNECT x:443 HTTP/1.1\r\nHost: x\r\nAuthorization: " + SECRET + b"\r\n\r\n", b"501", "not_implemented"),
        (b"GET http://localhost/a HTTP/1.1\r\nHost: localhost\r\n\r\n", b"400", "malformed_request"),
        (b"GET x HTTP/1.1\r\nHost: x\r\nAuthorization: " + SECRET + b"\r\n\r\n", b"400", "malformed_request"),
        (b"GET / HTTP/1.1\r\nAuthorization: " + SECRET + b"\r\n\r\n", b"400", "malformed_request"),
        (b"GET / HTTP/1.1\r\nHost: x\r\n" + SECRET + b"\r\n\r\n", b"400", "malformed_request"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + SECRET, b"400", "malformed_request"),
        (b"GET / HTTP/1.1\r\nx: " + b"y" * (MAX_HEAD + 1), b"431", "head_too_large"),
        (b"GET / HTTP/1.1\r\nHost: x\r\n" + b"x: y\r\n" * 100 + b"\r\n", b"431", "head_too_large"),
        (b"GET /" + b"y" * 9000, b"414", "target_too_long"),
        (b"GET /" + b"y" * 9000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", b"414", "target_too_long"),
        (b"BREW / HTTP/1.1\r\nHost: x\r\nAuthorization: " + SECRET + b"\r\n\r\n", b"501", "not_implemented"),
        (
            b"POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" + SECRET + b"\r\n",
            b"400 Bad Request",
            "malformed_request",
        ),
        (b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n", b"400", "malformed_request"),
    ],
)
async def test_what_is_refused(
    road: str, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture, sent: bytes, status: bytes, code: str
) -> None:
    """With an answer that says why, and nothing of what came in it or in the log."""
    caplog.set_level(logging.DEBUG)
    async with connected(road) as client:
        await client.send(sent)
        data = await client.rest()
        head, _, body = data.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 " + status)
        assert json.loads(body)["error"]["code"] == code
        assert SECRET not in data
    assert not caplog.records


# What goes wrong...


async def test_a_bug_is_told(road: str, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture) -> None:
    """Without what was asked; what an exception says of itself is the log's business."""

    async def buggy(head: RequestHead, chunks: AsyncIterable[bytes]) -> Reply:
        raise KeyError(head.headers)

    async with connected(road, buggy) as client:
        await client.send(GET.replace(b"Host: x", b"Host: x\r\nAuthorization: " + SECRET))
        head, body = await client.answer()
        assert head.startswith(b"HTTP/1.1 500 ")
        assert SECRET not in body
        assert await client.rest() == b""
    (record,) = caplog.records
    assert SECRET.decode() not in record.getMessage()


async def test_an_answer_that_breaks_off_is_seen_to_be_short(road: str, autojump_clock: MockClock) -> None:
    async def breaks(head: RequestHead, chunks: AsyncIterable[bytes]) -> Reply:
        return Reply(status=200, headers=[], body=pieces(b"half", error=Error("broken")))

    async with connected(road, breaks) as client:
        await client.send(GET)
        data = await client.rest()
        assert data.endswith(b"4\r\nhalf\r\n")
        assert b"\r\n0\r\n" not in data


async def test_a_client_that_takes_nothing_is_cut_off(road: str, autojump_clock: MockClock) -> None:
    async def floods(head: RequestHead, chunks: AsyncIterable[bytes]) -> Reply:
        return Reply(status=200, headers=[], body=pieces(bytes(1000)))

    async with connected(road, floods, lockstep_stream_pair()) as client:
        await client.send(GET)
        await client.over.wait()
        assert trio.current_time() == pytest.approx(60, abs=1)


async def test_a_slow_client_is_not_cut_off(road: str, autojump_clock: MockClock) -> None:
    """It takes something within the minute, if not all of it."""
    size = 10 * 65536

    async def big(head: RequestHead, chunks: AsyncIterable[bytes]) -> Reply:
        return Reply(status=200, headers=[(b"content-length", b"%d" % size)], body=pieces(bytes(size)))

    async with connected(road, big, lockstep_stream_pair()) as client:
        await client.send(GET)
        taken = 0
        while taken < size:
            taken += len(await client.stream.receive_some(32768))
            await trio.sleep(25)


# Another protocol...


@fast_only
async def test_the_connection_becomes_another_protocols(road: str, autojump_clock: MockClock) -> None:
    async def tunnel(client: Duplex) -> None:
        while data := await client.receive():
            await client.send(data.upper())
        await client.send(b"BYE")

    async def echo(head: RequestHead, chunks: AsyncIterable[bytes]) -> Reply:
        headers: Headers = [(b"connection", b"Upgrade"), (b"upgrade", b"echo")]
        return Reply(status=101, headers=headers, body=pieces(), tunnel=tunnel)

    offer = GET.replace(b"\r\n\r\n", b"\r\nConnection: keep-alive, Upgrade\r\nUpgrade: echo\r\n\r\n")
    async with connected(road, echo) as client:
        await client.send(offer + b"ahead ")
        head, _ = await client.answer()
        assert head.startswith(b"HTTP/1.1 101 Switching Protocols\r\n")
        await client.send(b"x" * 100_000)
        await client.stream.send_stream.aclose()
        assert await client.rest() == b"AHEAD " + b"X" * 100_000 + b"BYE"
        await client.over.wait()


@pytest.mark.parametrize(
    "offer",
    [
        b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk",
        b"Upgrade: websocket",
        b"Connection: Upgrade",
    ],
)
async def test_what_is_no_offer_is_ignored(road: str, autojump_clock: MockClock, offer: bytes) -> None:
    """Java's client offers h2c with each first request; it gets its answer in HTTP/1.1, and the connection goes on."""
    async with connected(road) as client:
        for _ in range(2):
            await client.send(GET.replace(b"\r\n\r\n", b"\r\n" + offer + b"\r\n\r\n"))
            assert (await client.answer())[1] == b"GET /a 0"
