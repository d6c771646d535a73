"""Clients that leave, at every stage and in every way: everyday traffic, of which the log says so in one line. And what
the log says of an answer that was whole, and of one that an engine broke off.
"""

from __future__ import annotations

import gzip
import logging
import socket
import struct
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
from serving import PATIENCE, fake, serving
from trio.testing import wait_all_tasks_blocked

from llmsup.config.schema import Server
from llmsup.gateway.reading import read_body
from llmsup.gateway.room import Room, Share
from llmsup.process.watched import Watched
from llmsup.units import Bytes

MIB = 1024**2
LINE = b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n"
JSON = b'{"model": "%s", "stream": %s, "messages": []}'
FORM = b'--x\r\nContent-Disposition: form-data; name="model"\r\n\r\nm'


def whole(body: bytes) -> bytes:
    """A request with that body."""
    return LINE + b"Content-Length: %d\r\n\r\n" % len(body) + body


SENDING = {
    "head": LINE,
    "nothing of the body": LINE + b"Content-Length: 1000\r\n\r\n",
    "body": LINE + b"Content-Length: 1000\r\n\r\n{",
    "large body": LINE + b"Content-Length: 4000000\r\n\r\n" + b" " * 2 * MIB,
    "chunks": LINE + b"Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n",
    "a chunk": LINE + b"Transfer-Encoding: chunked\r\n\r\nff\r\n{",
    "form": LINE + b"Content-Type: multipart/form-data; boundary=x\r\nContent-Length: 1000\r\n\r\n" + FORM,
    "gzip": LINE + b"Content-Encoding: gzip\r\nContent-Length: 1000\r\n\r\n" + gzip.compress(bytes(1000))[:15],
    "upstream": LINE.replace(b"/v1/chat/completions", b"/upstream/m/x") + b"Content-Length: 1000\r\n\r\n{",
}


class Log(logging.Handler, Watched):
    """What is logged of requests and connections."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)
        Watched.__init__(self)
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)
        self.notify()

    async def line(self, part: str) -> str:
        """The first line that has this in it."""
        with trio.fail_after(PATIENCE):
            await self.until(lambda: any(part in record.getMessage() for record in self.records))
        return next(record.getMessage() for record in self.records if part in record.getMessage())


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> Iterator[Log]:
    """The log of the front and the gateway, from INFO on."""
    caplog.set_level(logging.INFO)
    handler = Log()
    for name in ("llmsup.web", "llmsup.gateway", "hypercorn"):
        logging.getLogger(name).addHandler(handler)
    yield handler
    for name in ("llmsup.web", "llmsup.gateway", "hypercorn"):
        logging.getLogger(name).removeHandler(handler)


@asynccontextmanager
async def leaving(
    port: int, sent: bytes, how: str, log: Log, arrived: trio.Event | None = None
) -> AsyncIterator[trio.SocketStream]:
    """A client that has sent this much, and goes once that has `arrived`, or has come as far as it can. (Of one whose
    reset comes before it was accepted, or that leaves Hypercorn in the moment of its head, nothing is seen at all.)
    """
    async with await trio.open_tcp_stream("127.0.0.1", port) as client:
        with trio.fail_after(PATIENCE):
            await client.send_all(sent)
            await (wait_all_tasks_blocked(0.01) if arrived is None else arrived.wait())
        yield client
        if how == "reset":
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        elif how == "half closed":
            await client.send_eof()
            await log.line("client left")


ways = pytest.mark.parametrize("how", ["closed", "reset", "half closed"])


def only(log: Log, line: str) -> None:
    """Nothing else is said, and nothing is wrong."""
    assert [record.getMessage() for record in log.records] == [line]
    assert log.records[0].levelno == logging.INFO
    assert not log.records[0].exc_info


@ways
@pytest.mark.parametrize("stage", SENDING)
async def test_while_it_sends(log: Log, stage: str, how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    arrived = trio.Event()

    async def reading(*parts: Any, **more: Any) -> Any:
        arrived.set()
        return await read_body(*parts, **more)

    monkeypatch.setattr("llmsup.gateway.gateway.read_body", reading)
    async with serving(fake("m")) as served:
        async with leaving(served.client.port, SENDING[stage], how, log, None if stage == "head" else arrived):
            pass
        line = await log.line("client left")
        await served.client.get("/health")  # whatever else would be said has been said
        only(log, line)


@ways
async def test_while_it_waits_for_room_for_its_body(log: Log, how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody reads from it then; and the others, who have the room, take minutes."""
    waits, take, seen = trio.Event(), Room._take_large, 0

    async def taking(room: Room, share: Share, size: int) -> None:
        nonlocal seen
        seen += 1
        if seen == 3:
            waits.set()
        await take(room, share, size)

    monkeypatch.setattr(Room, "_take_large", taking)
    body = JSON.replace(b"[]", b'["%s"]') % (b"slow", b"false", b"A" * 4 * MIB)
    spec = fake("slow", "--load-time", 60)
    async with serving(spec, server=Server(max_body=Bytes(5 * MIB))) as served, trio.open_nursery() as nursery:
        for _ in range(2):
            nursery.start_soon(served.client.ask, "POST", "/v1/chat/completions", body)
        await served.until("slow", lambda m: m.queue.waiting == 2)
        async with leaving(served.client.port, whole(body)[:100_000], how, log):
            with trio.fail_after(PATIENCE):
                await waits.wait()
        only(log, await log.line("client left"))
        nursery.cancel_scope.cancel()


@ways
async def test_while_its_model_loads(log: Log, how: str) -> None:
    async with serving(fake("m", "--load-time", 60)) as served:
        async with leaving(served.client.port, whole(JSON % (b"m", b"false")), how, log):
            await served.until("m", lambda m: m.queue.waiting == 1)
        line = await log.line("client left")
        assert "m: client left in" in line
        only(log, line)


@ways
async def test_in_the_middle_of_its_answer(log: Log, how: str) -> None:
    """The status is what it saw; that it was no whole answer is said, too."""
    async with serving(fake("m", "--tokens", 100_000, "--tps", 50)) as served:
        async with leaving(served.client.port, whole(JSON % (b"m", b"true")), how, log) as client:
            with trio.fail_after(PATIENCE):
                assert await client.receive_some()
        assert "m: 200 cut short (client left) in" in await log.line("client left")


@pytest.mark.parametrize("stream", [True, False])
async def test_a_whole_answer(log: Log, stream: bool) -> None:
    async with serving(fake("m")) as served:
        assert b"}" in (await served.client.chat("m", stream=stream)).body
        only(log, await log.line("m: 200 in"))


async def test_a_stream_that_the_engine_breaks_off(log: Log) -> None:
    async with serving(fake("m", "--tokens", 10, "--die-after-chunks", 3)) as served:
        assert b"engine_died" in (await served.client.chat("m", stream=True)).body
        assert "m: 200 cut short (engine_died) in" in await log.line("POST")
