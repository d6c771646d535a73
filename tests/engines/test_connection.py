"""One connection to an engine: what is sent, and what comes back as it comes."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock, memory_stream_pair, wait_all_tasks_blocked

from llmsup.engines import connection as connection_module
from llmsup.engines.connection import Connection, Disconnected
from llmsup.engines.http import AnswerHead
from llmsup.engines.response import MAX_FRAMING
from llmsup.errors import EngineBadAnswer
from llmsup.process.quick_stream import READ, QuickStream

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"transfer-encoding: chunked\r\n\r\n"


@asynccontextmanager
async def asked(*reads: bytes, method: str = "GET", ends: bool = False) -> AsyncIterator[Connection]:
    """A connection that has sent a request to an engine that says `reads`, each in a read of its own, and then
    closes its side if it `ends`.
    """
    near, far = memory_stream_pair()

    async def speak() -> None:
        for data in reads:
            await far.send_all(data)
            await wait_all_tasks_blocked()
        if ends:
            await far.send_stream.aclose()

    connection = Connection(near)
    await connection.send(method, b"/", [], b"")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(speak)
        with trio.fail_after(5):
            yield connection
        nursery.cancel_scope.cancel()


async def answer(*reads: bytes, method: str = "GET", ends: bool = False) -> tuple[AnswerHead, list[bytes], bool]:
    """The whole answer that an engine gives: its head, the pieces of its body, and whether another may follow."""
    async with asked(*reads, method=method, ends=ends) as connection:
        head = await connection.head()
        pieces = []
        while piece := await connection.body():
            pieces.append(piece)
        assert await connection.body() == b""  # the end stays the end
        return head, pieces, connection.reusable


# What is sent...


async def sent(method: str, target: bytes, headers: list[tuple[bytes, bytes]], body: bytes) -> bytes:
    near, far = memory_stream_pair()
    await Connection(near).send(method, target, headers, body)
    await near.send_eof()
    return b"".join([data async for data in far])


async def test_a_request_goes_out_as_it_is_given() -> None:
    """Target, header and body bytes are not touched; framing is added."""
    headers = [(b"X-Thing", b"caf\xc3\xa9 \xff"), (b"x-thing", b"again")]
    assert await sent("POST", b"/a%2Fb?c=%20d", headers, b"\x00body") == (
        b"POST /a%2Fb?c=%20d HTTP/1.1\r\nhost: localhost\r\nX-Thing: caf\xc3\xa9 \xff\r\nx-thing: again\r\n"
        b"content-length: 5\r\n\r\n\x00body"
    )


async def test_only_what_may_have_a_body_says_how_long_it_is() -> None:
    """An empty POST says so; a GET says nothing, unless there is a body after all."""
    assert b"content-length: 0\r\n" in await sent("POST", b"/", [], b"")
    assert b"content-length" not in await sent("GET", b"/", [], b"")
    assert b"content-length: 1\r\n" in await sent("DELETE", b"/", [], b"x")


@pytest.mark.parametrize("size", [READ - 1, READ, READ + 1, 5_000_000])
async def test_a_large_request_arrives_whole(size: int) -> None:
    """A body that is too large to be copied is sent like any other."""
    body = b"x" * size
    assert (await sent("POST", b"/", [], body)).partition(b"\r\n\r\n")[2] == body


async def test_sending_to_an_engine_that_is_gone() -> None:
    """Nothing of an answer had come."""
    near, far = memory_stream_pair()
    await far.aclose()
    connection = Connection(near)
    await connection.send("GET", b"/", [], b"")  # it may have said why before it went: `head` finds out
    with pytest.raises(Disconnected) as gone:
        await connection.head()
    assert not gone.value.began


# The kinds of answers...


@pytest.mark.parametrize(
    ("reads", "pieces"),
    [
        ([OK + b"content-length: 5\r\n\r\nhello"], [b"hello"]),
        ([OK + b"content-length: 5\r\n\r\nhe", b"l", b"lo"], [b"he", b"l", b"lo"]),
        ([OK + b"content-length: 0\r\n\r\n"], []),
        ([CHUNKED + b"5\r\nhello\r\n0\r\n\r\n"], [b"hello"]),
        ([CHUNKED + b"2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n"], [b"hello"]),
        ([CHUNKED, b"2\r\nhe\r\n3\r\nllo\r\n", b"1\r\n!\r\n0\r\n\r\n"], [b"hello", b"!"]),
        ([CHUNKED + b"5", b"\r", b"\nhe", b"llo", b"\r\n0\r\n", b"\r\n"], [b"he", b"llo"]),
        ([CHUNKED + b"5;ext=1\r\nhello\r\n0\r\n\r\n"], [b"hello"]),
        ([CHUNKED + b"5\r\nhello\r\n0\r\nx-trailer: 1\r\n\r\n"], [b"hello"]),
        ([CHUNKED + b"0\r\n\r\n"], []),
        ([b"HTTP/1.1 204 No Content\r\n\r\n"], []),
        ([b"HTTP/1.1 304 Not Modified\r\ncontent-length: 100\r\n\r\n"], []),
        ([b"HTTP/1.1 100 Continue\r\n\r\n" + OK + b"content-length: 2\r\n\r\nhi"], [b"hi"]),
        ([b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n", OK, b"content-length: 2\r\n\r\nhi"], [b"hi"]),
        ([OK[:9], OK[9:] + b"content-le", b"ngth: 2\r", b"\n\r", b"\nhi"], [b"hi"]),
    ],
)
async def test_an_answer_that_says_where_it_ends(reads: list[bytes], pieces: list[bytes]) -> None:
    """The body is what the engine wrote, in the pieces in which it came; then the connection is free again."""
    head, got, reusable = await answer(*reads)
    final = b"".join(reads).rpartition(b"HTTP/1.1 ")[2]
    assert (head.status, got, reusable) == (int(final[:3]), pieces, True)


@pytest.mark.parametrize("version", [b"HTTP/1.0", b"HTTP/1.1"])
async def test_a_body_that_ends_with_the_connection(version: bytes) -> None:
    """Without a length, the end of the connection is the end of the body, and no error."""
    head, pieces, reusable = await answer(version + b" 200 OK\r\nserver: x\r\n\r\nhel", b"lo", ends=True)
    assert (head.status, pieces, reusable) == (200, [b"hel", b"lo"], False)


async def test_a_coding_other_than_chunked_ends_with_the_connection() -> None:
    """RFC 9112 §6.3: where `chunked` is not the last coding, the answer is read until the connection closes."""
    _, pieces, reusable = await answer(OK + b"transfer-encoding: gzip\r\n\r\nhello", ends=True)
    assert (pieces, reusable) == ([b"hello"], False)


@pytest.mark.parametrize("framing", [b"content-length: 100\r\n", b"transfer-encoding: chunked\r\n", b""])
async def test_the_answer_to_head_has_no_body(framing: bytes) -> None:
    """Whatever length it declares, nothing more is waited for."""
    head, pieces, _ = await answer(OK + framing + b"\r\n", method="HEAD")
    assert (head.status, pieces) == (200, [])


async def test_headers_come_as_they_were_sent() -> None:
    """Order, case, repetition, empty values and bytes beyond ASCII are the engine's own; trailers stay out."""
    head, _, _ = await answer(
        b"HTTP/1.1 418 I'm a teapot\r\nX-Empty:\r\nX-Bytes: \xff\xc3\xa9\r\nx-two: b\r\nX-TWO: a\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n0\r\nx-trailer: 1\r\n\r\n"
    )
    assert head == AnswerHead(
        418,
        [
            (b"X-Empty", b""),
            (b"X-Bytes", b"\xff\xc3\xa9"),
            (b"x-two", b"b"),
            (b"X-TWO", b"a"),
            (b"Transfer-Encoding", b"chunked"),
        ],
        b"I'm a teapot",
    )


async def test_hints_before_the_answer_leave_no_trace() -> None:
    """The headers of an interim answer are not those of the answer."""
    head, _, _ = await answer(b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n" + OK + b"content-length: 0\r\n\r\n")
    assert head.headers == [(b"content-length", b"0")]


async def test_the_body_is_not_collected() -> None:
    """Each piece is there as soon as the engine has sent it; without waiting for more."""
    near, far = memory_stream_pair()
    connection = Connection(near)
    await connection.send("POST", b"/", [], b"{}")
    await far.send_all(CHUNKED + b"2\r\nhe\r\n")
    with trio.fail_after(5):
        assert (await connection.head()).status == 200
        assert await connection.body() == b"he"
        await far.send_all(b"3\r\nllo\r\n")
        assert await connection.body() == b"llo"
        assert not connection.reusable  # not at its end yet
        await far.send_all(b"0\r\n\r\n")
        assert await connection.body() == b""
        assert connection.reusable


async def test_a_large_answer_arrives_whole() -> None:
    """Many reads, one body."""
    body = bytes(range(256)) * 20_000
    _, pieces, reusable = await answer(OK + b"content-length: %d\r\n\r\n" % len(body) + body)
    assert b"".join(pieces) == body
    assert max(map(len, pieces)) <= READ
    assert reusable


@settings(deadline=None)
@given(st.lists(st.binary(min_size=1, max_size=40), max_size=8), st.data())
def test_it_does_not_matter_how_an_answer_is_cut(chunks: list[bytes], data: st.DataObject) -> None:
    """However the network cuts an answer into reads, it is the same answer."""
    whole = CHUNKED + b"".join(b"%x\r\n%s\r\n" % (len(c), c) for c in chunks) + b"0\r\n\r\n"
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=12)))
    reads = [whole[a:b] for a, b in zip([0, *cuts], [*cuts, len(whole)], strict=True) if a < b]

    async def main() -> None:
        head, pieces, reusable = await answer(*reads)
        assert (head.status, b"".join(pieces), reusable) == (200, b"".join(chunks), True)

    trio.run(main, clock=MockClock(autojump_threshold=0))


# Keeping the connection...


@pytest.mark.parametrize(
    "head",
    [
        OK + b"connection: close\r\ncontent-length: 2\r\n",
        OK + b"Connection: Keep-Alive, Close\r\ncontent-length: 2\r\n",
        b"HTTP/1.0 200 OK\r\ncontent-length: 2\r\n",
    ],
)
async def test_an_engine_may_want_no_second_request(head: bytes) -> None:
    """`Connection: close`, in any spelling, and HTTP/1.0 are believed."""
    _, pieces, reusable = await answer(head + b"\r\nhi")
    assert (pieces, reusable) == ([b"hi"], False)


@pytest.mark.parametrize("extra", [b"garbage", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"])
async def test_an_engine_that_talks_out_of_turn_is_not_asked_again(extra: bytes) -> None:
    """The answer is fine, but what follows it would be taken for the answer to the next request."""
    _, pieces, reusable = await answer(OK + b"content-length: 2\r\n\r\nhi" + extra)
    assert (pieces, reusable) == ([b"hi"], False)


async def test_nothing_of_one_answer_is_left_in_the_next() -> None:
    """A second request on the same connection starts afresh."""
    near, far = memory_stream_pair()
    connection = Connection(near)
    for body in (b"one", b"three"):
        await connection.send("GET", b"/", [], b"")
        await far.send_all(OK + b"x-%s: 1\r\ncontent-length: %d\r\n\r\n%s" % (body, len(body), body))
        with trio.fail_after(5):
            head = await connection.head()
            assert head.headers == [(b"x-" + body, b"1"), (b"content-length", b"%d" % len(body))]
            assert (await connection.body(), await connection.body()) == (body, b"")


async def test_an_idle_connection_that_the_engine_closed_can_be_told() -> None:
    """On a real socket, being readable while idle means that it is of no use any more."""
    near, far = map(QuickStream, socket.socketpair())
    connection = Connection(near)
    assert not connection.readable
    await far.aclose()
    assert connection.readable
    await connection.close()


@pytest.mark.parametrize("speaks", [True, False])
async def test_an_engine_that_ended_is_not_waited_for(monkeypatch: pytest.MonkeyPatch, speaks: bool) -> None:
    """On a real socket: who waits already begins to wait with a bound, and gets what had been sent."""
    monkeypatch.setattr(connection_module, "LAST_WORDS", 0.2)
    near, far = map(QuickStream, socket.socketpair())
    connection = Connection(near)
    await connection.send("GET", b"/", [], b"")
    async with trio.open_nursery() as nursery:

        async def wait() -> None:
            if speaks:
                assert (await connection.head()).status == 200
            with pytest.raises(Disconnected):
                await connection.body() if speaks else await connection.head()

        nursery.start_soon(wait)
        await wait_all_tasks_blocked()
        connection.engine_ended()
        if speaks:
            await far.send_all(OK + b"content-length: 5\r\n\r\n")
    await connection.close()
    far.close()


# Breaking...


@pytest.mark.parametrize(
    ("reads", "began"),
    [
        ([], False),
        ([b"H"], True),
        ([OK + b"content-length: 5\r\n"], True),
        ([b"HTTP/1.1 100 Continue\r\n\r\n"], True),
    ],
)
async def test_the_engine_hangs_up_before_the_head_is_there(reads: list[bytes], began: bool) -> None:
    """The error says whether anything had come."""
    async with asked(*reads, ends=True) as connection:
        with pytest.raises(Disconnected) as gone:
            await connection.head()
    assert gone.value.began is began
    assert str(gone.value) == ("mid-answer" if began else "before the first byte")


@pytest.mark.parametrize("body", [b"content-length: 5\r\n\r\nhel", b"transfer-encoding: chunked\r\n\r\n3\r\nhel\r\n"])
async def test_the_engine_hangs_up_mid_answer(body: bytes) -> None:
    """What had come is given out, then the error; it is not the end."""
    async with asked(OK + body, ends=True) as connection:
        await connection.head()
        assert await connection.body() == b"hel"
        with pytest.raises(Disconnected) as gone:
            await connection.body()
        assert gone.value.began
        assert not connection.reusable


@pytest.mark.parametrize(
    "words",
    [
        b"garbage\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00",
        b"HTTP/2 200\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        OK + b"content-length: five\r\n\r\nhello",
        OK + b"content-length: 2\r\ncontent-length: 3\r\n\r\nhi",
        b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n",
    ],
)
async def test_what_is_not_http_is_said_to_be_so(words: bytes) -> None:
    """An engine that doesn't speak HTTP is at fault; the request does not wait for it."""
    async with asked(words) as connection:
        with pytest.raises(EngineBadAnswer, match="is not HTTP"):
            await connection.head()


async def test_a_body_that_is_not_http() -> None:
    """A chunk whose size is no number ends the answer with an error."""
    async with asked(CHUNKED + b"3\r\nhel\r\n", b"zz\r\n") as connection:
        await connection.head()
        assert await connection.body() == b"hel"
        with pytest.raises(EngineBadAnswer):
            await connection.body()


async def test_closing_is_seen_on_both_sides() -> None:
    """Who waits for the answer gets `Disconnected`; the engine sees the end, also if the closer is cancelled."""
    near, far = memory_stream_pair()
    connection = Connection(near)
    await connection.send("GET", b"/", [], b"")

    async def wait() -> None:
        with pytest.raises(Disconnected):
            await connection.head()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        await wait_all_tasks_blocked()
        with trio.CancelScope() as scope:
            scope.cancel()
            await connection.close()
    with trio.fail_after(5):
        assert (await far.receive_some()).startswith(b"GET / ")
        assert await far.receive_some() == b""


# What has no end...


def endless(piece: bytes) -> list[bytes]:
    return [piece] * (MAX_FRAMING // len(piece) + 1)


async def refusal(*reads: bytes) -> str:
    async with asked(*reads) as connection:
        with pytest.raises(EngineBadAnswer) as caught:  # noqa: PT012 -- wherever in the answer it is noticed
            await connection.head()
            while await connection.body():
                pass
    return str(caught.value)


async def test_a_head_has_a_bound() -> None:
    field = b"x-y: " + b"z" * 9000 + b"\r\n"
    assert "head" in await refusal(OK, *endless(field))
    assert "head" in await refusal(OK, b"x-one: ", *endless(b"z" * 9000))
    assert "head" in await refusal(*endless(b"HTTP/1.1 100 Continue\r\nx: " + b"z" * 9000 + b"\r\n\r\n"))
    head, _, _ = await answer(OK, field * 5, b"content-length: 0\r\n\r\n")
    assert len(head.headers) == 6


async def test_trailers_and_chunk_extensions_have_a_bound() -> None:
    assert "trailers" in await refusal(CHUNKED, b"1\r\na\r\n0\r\n", *endless(b"x-y: " + b"z" * 9000 + b"\r\n"))
    assert "trailers" in await refusal(CHUNKED, b"1;", *endless(b"e" * 9000))
    head, pieces, reusable = await answer(CHUNKED, b"1\r\na\r\n", b"0\r\nx-checksum: 1\r\n\r\n")
    assert (head.headers, pieces, reusable) == ([(b"transfer-encoding", b"chunked")], [b"a"], True)


# Another protocol...

SWITCHED = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"


async def test_another_protocol_begins_right_after_the_head() -> None:
    near, far = memory_stream_pair()
    connection = Connection(near)
    await connection.send("GET", b"/ws", [(b"connection", b"Upgrade"), (b"upgrade", b"websocket")], b"")
    await far.receive_some()
    await far.send_all(SWITCHED + b"\x81\x02hi")
    head = await connection.head()
    assert (head.status, head.reason) == (101, b"Switching Protocols")
    assert await connection.receive() == b"\x81\x02hi"
    await connection.transmit(b"\x81\x03you")
    assert await far.receive_some() == b"\x81\x03you"
    await far.send_stream.aclose()
    assert await connection.receive() == b""
    assert not connection.reusable


async def test_nobody_asked_for_another_protocol() -> None:
    assert "switched to another protocol" in await refusal(SWITCHED + b"\x81\x02hi")
    await refusal(b"HTTP/1.1 101 Switching Protocols\r\n\r\nsomething")
