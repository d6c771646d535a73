"""Clients that send large, slow or unwanted bodies to a whole llmsup: what they are told, and that it ends there."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
import trio
from serving import PATIENCE, fake, recorded, serving
from trio.testing import wait_all_tasks_blocked

from llmsup.config.schema import Server
from llmsup.fleet.model.states import State
from llmsup.gateway import reading, room
from llmsup.units import Bytes, Seconds
from llmsup.web.upload import HELD, LINGER_BYTES, Upload

MIB = 1024**2

KERNEL = 24 * MIB
"""More than the buffers of both sides of a connection on the same machine hold."""


async def to_the_end(stream: trio.abc.Stream) -> bytes:
    """Everything until the server closes its side."""
    answer = b""
    with trio.fail_after(PATIENCE):
        while data := await stream.receive_some(65536):
            answer += data
    return answer


async def one_answer(stream: trio.abc.Stream) -> bytes:
    """The head and the body of an error."""
    answer = b""
    with trio.fail_after(PATIENCE):
        while b"}}" not in answer:
            data = await stream.receive_some(65536)
            assert data, "the connection was closed without an answer"
            answer += data
    return answer


async def send_until_cut(stream: trio.abc.Stream, total: int) -> int:
    """Send a body of so many bytes, for as long as the server takes it; says how many it took."""
    sent = 0
    with trio.fail_after(PATIENCE):
        try:
            while sent < total:
                await stream.send_all(bytes(65536))
                sent += 65536
        except trio.BrokenResourceError:
            pass
    return sent


def head(path: str, length: int, *headers: str) -> bytes:
    lines = (f"POST {path} HTTP/1.1", "host: localhost", f"content-length: {length}", *headers)
    return "".join(f"{line}\r\n" for line in (*lines, "")).encode()


REFUSED = [
    ("/v1/chat/completions", 413, "body_too_large"),
    ("/models/load", 413, "body_too_large"),
    ("/nothing", 404, "not_found"),
    ("/upstream/nope/x", 404, "model_not_found"),
]


@pytest.mark.parametrize(("path", "status", "code"), REFUSED)
async def test_a_refused_upload_ends_with_its_connection(path: str, status: int, code: str) -> None:
    """400 MiB are on their way: the answer comes at once, little of them is taken, and the connection is closed."""
    async with serving(fake("m"), server=Server(max_body=Bytes(MIB))) as served:
        stream = await served.client.connect()
        async with stream:
            await stream.send_all(head(path, 400 * MIB))
            answer = await one_answer(stream)
            assert f" {status} ".encode() in answer[:20]
            assert code.encode() in answer
            assert b"connection: close" in answer.lower()
            assert await send_until_cut(stream, 400 * MIB) < LINGER_BYTES + KERNEL


@pytest.mark.parametrize(("path", "status", "code"), REFUSED)
async def test_who_sends_everything_before_reading_gets_the_answer(path: str, status: int, code: str) -> None:
    """As most clients do: a reset would throw it away."""
    async with serving(fake("m"), server=Server(max_body=Bytes(MIB))) as served:
        stream = await served.client.connect()
        async with stream:
            await stream.send_all(head(path, 20 * MIB))
            assert await send_until_cut(stream, 20 * MIB) == 20 * MIB
            answer = await one_answer(stream)
        assert f" {status} ".encode() in answer[:20]
        assert code.encode() in answer


async def test_a_small_body_that_nobody_wants_costs_no_connection() -> None:
    """It is read past, as it was on its way anyway."""
    async with serving(fake("m")) as served:
        first = await served.client.send("GET", "/health", b"{}")
        await first.close()
        for path in ("/nothing", "/reload-config", "/upstream/nope"):
            got = await served.client.ask("POST", path, b"x" * 200_000)
            assert "connection" not in got.headers, path
        answer = await served.client.send("GET", "/health", b"{}")
        assert answer._connection is first._connection
        await answer.close()


@pytest.mark.slow
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/upstream/m/x", "/models/load", "/bridge"])
@pytest.mark.parametrize("sent", [b"", b'{"model":'])
async def test_a_body_that_stands_still_ends(path: str, sent: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is told so, and the connection is closed. (The limit is a minute.)"""
    monkeypatch.setattr(reading, "SILENCE", 0.2)
    async with serving(fake("m")) as served:
        stream = await served.client.connect()
        async with stream:
            await stream.send_all(head(path, 1000) + sent)
            answer = await to_the_end(stream)
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert b'"body_timeout"' in answer
        assert served.model("m").state is State.UNLOADED


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/upstream/m/x", "/models/load"])
@pytest.mark.parametrize("before", [b"", b"5\r\nhello\r\n"])
async def test_a_chunk_that_will_be_too_large(path: str, before: bytes) -> None:
    """It is refused by its size: nothing of it has to come."""
    async with serving(fake("m"), server=Server(max_body=Bytes(1000))) as served:
        stream = await served.client.connect()
        async with stream:
            start = f"POST {path} HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n".encode()
            await stream.send_all(start + before + b"3e9\r\n")
            answer = await one_answer(stream)
            assert answer.startswith(b"HTTP/1.1 413 ")
            assert b"body_too_large" in answer
            assert b"server.max_body" in answer
            assert b"connection: close" in answer.lower()
        assert served.model("m").state is State.UNLOADED


async def test_large_bodies_have_so_much_memory_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two wait for a model, and have all of it; a third is told so after a while, a small one isn't kept out. The room
    is theirs again when they leave.
    """
    monkeypatch.setattr(room, "PATIENCE", 0.2)
    body = b'{"model": "slow", "image": "%s"}' % (b"A" * 4 * MIB)
    specs = [fake("slow", "--load-time", 60), fake("m")]
    async with serving(*specs, server=Server(max_body=Bytes(5 * MIB))) as served:
        async with trio.open_nursery() as nursery:
            for _ in range(2):
                nursery.start_soon(served.client.ask, "POST", "/v1/chat/completions", body)
            await served.until("slow", lambda m: m.queue.waiting == 2)
            got = await served.client.ask("POST", "/v1/chat/completions", body)
            assert (got.status, got.error["code"]) == (503, "bodies_full")
            assert "retry-after" in got.headers
            assert (await served.client.chat("m")).status == 200
            nursery.cancel_scope.cancel()
        await served.until("slow", lambda m: not m.queue.waiting)
        assert (await served.client.ask("POST", "/v1/chat/completions", body.replace(b"slow", b"m"))).status == 200


async def test_room_is_given_back_when_an_engine_has_answered() -> None:
    """Streams go on for minutes; their bodies are long gone. (Five of 4 MiB in room for two.)"""
    body = b'{"model": "m", "stream": true, "image": "%s"}' % (b"A" * 4 * MIB)
    async with serving(fake("m", "--tokens", 10_000, "--tps", 20), server=Server(max_body=Bytes(5 * MIB))) as served:
        answers = []
        for _ in range(5):
            with trio.fail_after(PATIENCE):
                answers.append(await served.client.send("POST", "/v1/chat/completions", body))
        assert [answer.status for answer in answers] == [200] * 5
        assert served.model("m").queue.in_flight == 5
        for answer in answers:
            await answer.close()


# The body between Hypercorn and its reader...


async def test_a_body_comes_as_fast_as_it_is_read(nursery: trio.Nursery) -> None:
    """Little is held, and all of it comes."""
    upload, sent = Upload(), 0
    chunk = bytes(HELD // 4)

    async def send() -> None:
        nonlocal sent
        for _ in range(100):
            await upload.put(chunk)
            sent += len(chunk)
        upload.set_complete()

    nursery.start_soon(send)
    await wait_all_tasks_blocked()
    assert sent < HELD
    read = len(await anext(upload))
    assert read == HELD
    await wait_all_tasks_blocked()
    assert sent < 2 * HELD
    async for data in upload:
        assert len(data) <= HELD
        read += len(data)
    assert read == 100 * len(chunk)


async def test_a_body_that_nobody_wants_is_thrown_away(nursery: trio.Nursery) -> None:
    """Who sends it is not kept waiting: that it left could not be seen."""
    upload = Upload()
    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as sending:
            sending.start_soon(upload.put, bytes(2 * HELD))
            await wait_all_tasks_blocked()
            upload.discard()
        await upload.put(bytes(LINGER_BYTES))
    assert upload.wasted == LINGER_BYTES
    assert not await upload.linger(Seconds(0.01))
    await upload.put(b"x")
    assert not await upload.linger(Seconds(1000))  # enough is enough


async def test_a_body_that_comes_beside_a_stream_holds_nothing_up() -> None:
    """`GET /events` with a body that nobody reads: were it left lying, that the client leaves could not be seen."""
    async with serving(fake("m")) as served:
        stream = await served.client.connect()
        async with stream:
            await stream.send_all(b"GET /events HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n")
            with trio.fail_after(PATIENCE):
                assert b" 200 " in await stream.receive_some(65536)
                for _ in range(2 * KERNEL // 65536):
                    await stream.send_all(b"10000\r\n" + bytes(65536) + b"\r\n")


# What a body is written in...


async def test_compressed_and_marked_bodies(tmp_path: Path) -> None:
    """The engine gets them as they were, and nothing is said about a compression that is gone."""
    record = tmp_path / "record"
    body = json.dumps({"model": "m", "messages": [], "x": "é"}).encode()
    async with serving(fake("m", "--record", record)) as served:
        packed = gzip.compress(body)
        for data, headers in (
            (packed, [(b"content-encoding", b"gzip")]),
            (b"\xef\xbb\xbf" + body, []),
            (gzip.compress(b"\xef\xbb\xbf" + body), [(b"content-encoding", b"gzip")]),
        ):
            got = await served.client.ask("POST", "/v1/chat/completions", data, headers)
            assert got.status == 200
            assert got.json["request_body"] == json.loads(body)
            assert "content-encoding" not in json.dumps(recorded(record, "request")[-1]).lower()
        got = await served.client.ask("POST", "/models/unload", gzip.compress(b'{"model": "m"}'), headers)
        assert got.json["success"] is True
        got = await served.client.ask("POST", "/v1/chat/completions", packed, [(b"content-encoding", b"br")])
        assert (got.status, got.error["code"]) == (415, "unsupported_encoding")
        assert "Content-Encoding: br" in got.error["message"]
        assert got.headers["accept-encoding"] == "gzip, deflate, zstd"
