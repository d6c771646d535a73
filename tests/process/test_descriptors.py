"""Open files: how many there may be, and that too many connections harm no request in progress."""

from __future__ import annotations

import errno
import json
import logging
import os
import re
import resource
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
from roads import roads
from serving import FAKE, PATIENCE, Client
from trio.testing import wait_all_tasks_blocked

from llmsup.process.descriptors import FEWEST, RESERVE, for_clients, raise_limit
from llmsup.process.watched import Watched
from llmsup.web.clients import LINGERING, SPARE
from llmsup.web.conversation import HEAD_TIME
from llmsup.web.server import WebServer, listen

UNLIMITED = resource.RLIM_INFINITY


@pytest.mark.parametrize(
    ("soft", "hard", "refused_beyond", "now"),
    [
        (1024, 524288, UNLIMITED, 65536),  # systemd's
        (1024, 4096, UNLIMITED, 4096),
        (256, 256, UNLIMITED, 256),
        (200_000, 200_000, UNLIMITED, 200_000),
        (65536, 65536, UNLIMITED, 65536),
        (256, UNLIMITED, 61440, 24576),  # macOS', with two values of kern.maxfilesperproc
        (256, UNLIMITED, 10240, 10240),
        (1024, 524288, 0, 1024),  # forbidden
    ],
)
def test_the_limit_is_raised(
    monkeypatch: pytest.MonkeyPatch, soft: int, hard: int, refused_beyond: int, now: int
) -> None:
    """As far as the system lets us and as is of use, and never lowered."""
    limits = [soft, hard]

    def set_(_: int, wanted: tuple[int, int]) -> None:
        if refused_beyond != UNLIMITED and wanted[0] > refused_beyond:
            raise ValueError("current limit exceeds maximum limit")
        limits[:] = wanted

    monkeypatch.setattr(resource, "getrlimit", lambda _: tuple(limits))
    monkeypatch.setattr(resource, "setrlimit", set_)
    assert raise_limit() == now
    assert limits == [now, hard]


def test_how_many_are_for_clients() -> None:
    """Each may need a second one, to an engine, and that leaves the reserve alone."""
    for limit in (256, 1024, 65536):
        assert 2 * for_clients(limit) + RESERVE <= limit
    assert for_clients(64) == FEWEST


@pytest.fixture
def many_files() -> Iterator[None]:
    """Let this process have the other ends of all those connections."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    raise_limit()
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@asynccontextmanager
async def limited(tmp_path: Path, *, files: int, hard: bool = True) -> AsyncIterator[tuple[Client, Path]]:
    """A `llmsup serve` that may have so many open files; gives a client of it and its log."""
    config, log = tmp_path / "llmsup.toml", tmp_path / "log"
    command = [sys.executable, str(FAKE), "--socket", "${SOCKET}", "--tokens", "1000000", "--tps", "50"]
    config.write_text(f"[models.m]\ncommand = {json.dumps(command)}\n")
    words = [sys.executable, "-m", "llmsup", "serve", "--config", str(config), "--listen", "127.0.0.1:0"]
    shell = f'ulimit {"" if hard else "-S"} -n {files} && exec "$@"'
    environment = {**os.environ, "HOME": str(tmp_path), "PYTHONPATH": str(Path(__file__).parents[2])}
    with log.open("wb") as stderr:
        process = subprocess.Popen(["bash", "-c", shell, "-", *words], stderr=stderr, env=environment)  # noqa: ASYNC220
    try:
        with trio.fail_after(PATIENCE):
            while not (found := re.search(r"listening on 127.0.0.1:(\d+)", log.read_text())):  # noqa: ASYNC110 -- it is a file
                await trio.sleep(0.02)
        client = Client(int(found[1]))
        yield client, log
        await client.pool.close()
    finally:
        process.send_signal(signal.SIGTERM)
        process.send_signal(signal.SIGTERM)
        with trio.CancelScope(shield=True, deadline=trio.current_time() + PATIENCE):
            await trio.to_thread.run_sync(process.wait)


@pytest.mark.slow
async def test_idle_connections_make_way(tmp_path: Path, many_files: None) -> None:
    """400 of them, where 256 files may be open: requests in progress go on, and new ones are still accepted."""
    async with limited(tmp_path, files=256) as (client, log):
        async with client.stream("m") as pieces:
            await anext(pieces)
            with ExitStack() as idle:
                for number in range(400):
                    one = idle.enter_context(socket.create_connection(("127.0.0.1", client.port), PATIENCE))
                    if number % 2:
                        one.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
                        assert one.recv(4096).startswith(b"HTTP/1.1 200 ")
                    if number % 20 == 0:
                        await anext(pieces)
                for _ in range(5):
                    assert (await client.get("/health")).status == 200
                    async with client.stream("m") as others:
                        await anext(others)
                await anext(pieces)
        lines = log.read_text().splitlines()
    assert "only 256 files may be open" in "\n".join(lines)
    assert len(lines) < 40  # the start has fifteen; each request has one
    assert "Too many open files" not in log.read_text()


@pytest.mark.slow
async def test_the_server_raises_its_limit(tmp_path: Path, many_files: None) -> None:
    async with limited(tmp_path, files=256, hard=False) as (client, log):
        with ExitStack() as idle:
            for _ in range(400):
                idle.enter_context(socket.create_connection(("127.0.0.1", client.port), PATIENCE))
            assert (await client.get("/health")).status == 200
        assert "files may be open" not in log.read_text()


# The web server alone...

HEALTH = b"GET /health HTTP/1.1\r\nHost: localhost\r\n"


async def to_the_end(stream: trio.abc.Stream) -> bytes:
    data = b""
    with trio.fail_after(PATIENCE):
        while part := await stream.receive_some():
            data += part
    return data


class Waiting(Watched):
    """An app that answers /health at once, and the rest never."""

    def __init__(self) -> None:
        super().__init__()
        self.busy = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if not scope["path"].startswith("/health"):
            self.busy += 1
            self.notify()
            while (await receive())["type"] != "http.disconnect":
                pass
            return
        headers = [(b"content-length", b"0")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


@asynccontextmanager
async def serving(limit: int, *, busy: int = 0) -> AsyncIterator[tuple[WebServer, Client]]:
    """A server that allows so many connections, some of which are at work."""
    sockets, app = listen("127.0.0.1:0"), Waiting()
    server = WebServer(roads(app), sockets)
    server.clients.limit = limit
    async with trio.open_nursery() as nursery:
        await nursery.start(server.run)
        client = Client(sockets[0].getsockname()[1])
        for _ in range(busy):
            nursery.start_soon(client.send, "GET", "/wait")
        with trio.fail_after(PATIENCE):
            await app.until(lambda: app.busy == busy)
        yield server, client
        nursery.cancel_scope.cancel()
    await client.pool.close()


async def test_all_connections_are_at_work() -> None:
    """Who comes then is told so at once; `/health` is answered."""
    async with serving(3, busy=3) as (_, client):
        for _ in range(3):
            got = await client.get("/v1/models")
            assert (got.status, got.error["code"]) == (503, "too_many_connections")
            assert got.headers["retry-after"] == "1"
            assert (await client.get("/health")).status == 200


async def test_a_connection_waits_until_there_is_room(many_files: None) -> None:
    """Not one more than the spare ones is open at any time; silent ones go, and then the others get in."""
    async with serving(3, busy=3) as (server, client):
        with ExitStack() as silent:
            for _ in range(2 * SPARE):
                silent.enter_context(socket.create_connection(("127.0.0.1", client.port), PATIENCE))
            assert (await client.get("/health")).status == 200
            assert len(server.clients) <= 3 + SPARE + LINGERING


@pytest.mark.slow  # a thousand connections
async def test_one_shot_clients_near_the_limit() -> None:
    """None is closed unanswered for another's sake: not while it has only just come, nor because those before it are
    still saying good-bye.
    """
    async with serving(4) as (_, client), trio.open_nursery() as nursery:
        answers: list[bytes] = []

        async def ask_again_and_again() -> None:
            for _ in range(25):
                async with await client.connect() as stream:
                    await stream.send_all(HEALTH + b"Connection: close\r\n\r\n")
                    answers.append(await to_the_end(stream))

        async with trio.open_nursery() as asking:
            for _ in range(40):
                asking.start_soon(ask_again_and_again)
        assert len(answers) == 1000
        assert {answer[:13] for answer in answers} == {b"HTTP/1.1 200 "}
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("said", [b"", HEALTH])
async def test_who_has_just_come_or_said_something_stays(said: bytes) -> None:
    """Others come, more than there may be; it is answered all the same."""
    async with serving(3, busy=2) as (_, client), await client.connect() as stream:
        await stream.send_all(said)
        for _ in range(3):
            async with await client.connect() as other:
                await other.send_all(HEALTH + b"\r\n")
                assert (await other.receive_some()).startswith(b"HTTP/1.1 200 ")
        await stream.send_all((HEALTH + b"Connection: close\r\n\r\n").removeprefix(said))
        assert (await to_the_end(stream)).startswith(b"HTTP/1.1 200 ")


HALF = [HEALTH, b"POST /wait HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n{"]


@pytest.mark.parametrize("half", HALF, ids=["heads", "bodies"])
async def test_half_requests_in_all_places(half: bytes, caplog: pytest.LogCaptureFixture) -> None:
    """`/health` is answered long before any of them has had its time; who has a place keeps it, and the rest is told
    that there is none. Somebody who is refused and doesn't go holds nothing up.
    """
    async with serving(3) as (server, client), AsyncExitStack() as opened:
        streams = []
        for _ in range(4 * SPARE):
            streams.append(await opened.enter_async_context(await client.connect()))
            await streams[-1].send_all(half)
        for _ in range(3):
            with trio.fail_after(HEAD_TIME / 2):
                assert (await client.get("/health")).status == 200
        assert len(server.clients) <= 3 + SPARE + LINGERING
        for stream in streams[3 : 3 + SPARE]:
            answer = await to_the_end(stream)
            assert answer.startswith(b"HTTP/1.1 503 ")
            assert b"too_many_connections" in answer
        if half == HEALTH:
            for stream in streams[:3]:
                await stream.send_all(b"\r\n")
                assert (await stream.receive_some()).startswith(b"HTTP/1.1 200 ")
    (record,) = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert "all 3 connections" in record.getMessage()


async def test_silent_ones_in_all_places() -> None:
    """They have only just come, so they stay for now; a request waits until one of them has to make way."""
    async with serving(3) as (_, client), AsyncExitStack() as opened:
        for _ in range(3):
            await opened.enter_async_context(await client.connect())
        await wait_all_tasks_blocked(0.05)
        assert (await client.get("/health/x")).status == 200


async def test_a_spare_one_gets_a_place_when_there_is_one() -> None:
    async with serving(1) as (_, client), await client.connect() as first, await client.connect() as second:
        await first.send_all(HEALTH)
        await second.send_all(b"GET /health/x HTTP/1.1\r\n")
        await wait_all_tasks_blocked()
        await first.aclose()
        await wait_all_tasks_blocked(0.05)
        await second.send_all(b"Host: localhost\r\n\r\n")
        assert (await second.receive_some()).startswith(b"HTTP/1.1 200 ")


@pytest.mark.slow
@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ECONNABORTED])
async def test_accept_fails(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, number: int) -> None:
    """It is told once, without a traceback, and goes on when there is room again."""
    accept = socket.socket.accept
    fails = 5

    def failing(self: socket.socket) -> tuple[socket.socket, object]:
        nonlocal fails
        if fails:
            fails -= 1
            raise OSError(number, os.strerror(number))
        return accept(self)

    monkeypatch.setattr(socket.socket, "accept", failing)
    async with serving(3) as (_, client):
        assert (await client.get("/health")).status == 200
    (record,) = caplog.records
    assert os.strerror(number) in record.getMessage()
    assert not record.exc_info


async def test_who_comes_together_is_let_in_together() -> None:
    """One a turn would have the last wait for the requests of all before it, again and again."""
    async with serving(100) as (server, client):
        with ExitStack() as many:
            for _ in range(50):
                many.enter_context(socket.create_connection(("127.0.0.1", client.port), PATIENCE))
            with trio.fail_after(PATIENCE):
                while not len(server.clients):
                    await trio.lowlevel.checkpoint()
            assert len(server.clients) == 50
