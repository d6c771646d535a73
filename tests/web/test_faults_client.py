"""Clients that misbehave or leave, and what must be gone afterwards."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest
import trio
from hypercorn.trio.tcp_server import TCPServer
from quart.wrappers.response import ResponseBody
from serving import PATIENCE, fake, recorded, serving, until_recorded

from llmsup.config.schema import Server
from llmsup.fleet.model.states import State
from llmsup.units import Bytes, Seconds
from llmsup.web import leasing


async def test_leaves_while_loading() -> None:
    """Its place in the queue is gone at once; the load goes on, because clients retry."""
    async with serving(fake("m", "--load-time", 0.5)) as served:
        with trio.move_on_after(0.2):
            await served.client.chat("m")
        await served.until("m", lambda m: not m.queue.waiting)
        assert served.model("m").state is State.STARTING
        await served.until("m", lambda m: m.state is State.READY)
        assert served.model("m").queue.in_flight == 0


async def test_leaves_mid_stream(tmp_path: Path) -> None:
    """The engine's connection is closed within 100 ms (measured with room for a slow machine: 2 s)."""
    record = tmp_path / "record"
    async with serving(fake("m", "--tokens", 10_000, "--tps", 50, "--record", record)) as served:
        async with served.client.stream("m") as pieces:
            async for _ in pieces:
                break
        left = trio.current_time()
        await until_recorded(record, "client_left")
        assert trio.current_time() - left < 2
        await served.until("m", lambda m: not m.queue.busy)
        assert len(recorded(record, "start")) == 1


@pytest.mark.road("hypercorn")
async def test_leaves_between_the_handlers_return_and_the_body(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The moment in which Quart forgets a response: its body is never entered, so nothing in the body may own the
    lease.
    """
    record = tmp_path / "record"
    entered = trio.Event()

    class Stuck(ResponseBody):
        """A body that is not entered in time."""

        def __init__(self, _: object) -> None: ...

        async def __aenter__(self) -> Any:
            entered.set()
            await trio.sleep_forever()

        async def __aexit__(self, *_: object) -> None:
            raise AssertionError("never entered, never left")

    async with serving(fake("m", "--tokens", 10_000, "--tps", 50, "--record", record)) as served:
        monkeypatch.setattr(leasing, "RelayBody", Stuck)
        async with trio.open_nursery() as nursery:
            body = {"model": "m", "stream": True}
            nursery.start_soon(served.client.send, "POST", "/v1/chat/completions", body)
            with trio.fail_after(PATIENCE):
                await entered.wait()
            assert served.model("m").queue.in_flight == 1
            nursery.cancel_scope.cancel()
        await served.client.pool.close()
        await until_recorded(record, "client_left")
        await served.until("m", lambda m: not m.queue.busy)


async def test_stops_reading(tmp_path: Path) -> None:
    """It is cut off after a while; its lease and its slot are gone, and a forced unload never waits for it."""
    record = tmp_path / "record"
    spec = fake("m", "--tokens", 1_000_000, "--record", record)
    async with serving(spec, stalled=0.5) as served:
        with socket.create_connection(("127.0.0.1", served.client.port)) as deaf:
            body = b'{"model": "m", "stream": true, "messages": []}'
            deaf.sendall(
                b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-length: %d\r\n\r\n" % len(body)
            )
            deaf.sendall(body)
            await until_recorded(record, "client_left")  # our side of the engine's connection
            await served.until("m", lambda m: not m.queue.busy)


async def test_stops_reading_and_the_model_is_unloaded_by_force() -> None:
    async with serving(fake("m", "--tokens", 1_000_000), stalled=30) as served:
        with socket.create_connection(("127.0.0.1", served.client.port)) as deaf:
            body = b'{"model": "m", "stream": true, "messages": []}'
            deaf.sendall(
                b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-length: %d\r\n\r\n" % len(body)
            )
            deaf.sendall(body)
            await served.until("m", lambda m: m.queue.in_flight)
            got = await served.client.post("/models/unload", model="m", force=True)
            assert got.json["seconds"] < 10  # not the 30 of the client that doesn't read
            assert served.model("m").state is State.UNLOADED


async def test_says_that_its_body_is_too_large() -> None:
    """Refused before a byte of it is read."""
    async with serving(fake("m"), server=Server(max_body=Bytes(1000))) as served:
        stream = await served.client.connect()
        async with stream:
            await stream.send_all(
                b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1000000\r\n\r\n"
            )
            answer = b""
            with trio.fail_after(PATIENCE):
                while b"body_too_large" not in answer:
                    answer += await stream.receive_some(4096)
        assert answer.startswith(b"HTTP/1.1 413 ")


async def test_sends_a_body_without_end() -> None:
    """Refused as soon as it is too large, not when it has ended."""
    async with serving(fake("m"), server=Server(max_body=Bytes(100_000))) as served:
        stream = await served.client.connect()
        async with stream:
            await stream.send_all(
                b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n"
            )
            answer = b""

            async def flood(task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
                task_status.started()
                try:
                    while True:
                        await stream.send_all(b"8000\r\n" + bytes(0x8000) + b"\r\n")
                except trio.BrokenResourceError:
                    pass  # it was cut off, as it should be

            async with trio.open_nursery() as nursery:
                await nursery.start(flood)
                with trio.fail_after(PATIENCE):
                    answer = bytes(await stream.receive_some(4096))
                nursery.cancel_scope.cancel()
        assert b" 413 " in answer


async def test_bad_bodies() -> None:
    """Each is told what is wrong, in OpenAI's shape, and nothing is loaded for it."""
    async with serving(fake("m")) as served:
        for body, code in (
            (b"", "invalid_json"),
            (b"not json", "invalid_json"),
            (b"[1, 2]", "invalid_json"),
            (b'{"model": "m"', "invalid_json"),
            (b'{"model": 7}', "model_required"),
            (b'{"messages": []}', "model_required"),
            (b'{"model": ""}', "model_required"),
        ):
            got = await served.client.ask("POST", "/v1/chat/completions", body)
            assert (got.status, got.error["code"]) == (400, code), body
            assert set(got.error) >= {"message", "type", "param", "code"}
        got = await served.client.chat("mm")
        assert (got.status, got.error["code"]) == (404, "model_not_found")
        assert "'m'" in got.error["message"]
        assert served.model("m").state is State.UNLOADED


async def test_too_many_wait() -> None:
    server = Server(max_queue=2)
    async with serving(fake("m", "--load-time", 1), server=server) as served, trio.open_nursery() as nursery:
        nursery.start_soon(served.client.chat, "m")
        nursery.start_soon(served.client.chat, "m")
        await served.until("m", lambda m: m.queue.waiting == 2)
        got = await served.client.chat("m")
        assert (got.status, got.error["code"]) == (429, "queue_full")
        assert "retry-after" in got.headers


async def test_waits_too_long() -> None:
    async with serving(fake("m", "--load-time", 5, queue_timeout=Seconds(0.2))) as served:
        got = await served.client.chat("m")
        assert (got.status, got.error["code"]) == (504, "queue_timeout")


def test_the_method_we_replace_is_still_there() -> None:
    """web/hypercorn_server.py mends this one; a new Hypercorn must be looked at before the pin moves."""
    assert TCPServer.protocol_send.__code__.co_varnames[:2] == ("self", "event")
