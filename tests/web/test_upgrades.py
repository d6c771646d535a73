"""WebSocket and other protocols under /upstream: bytes in both directions, and the lease for as long as they go on."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
from attrs import evolve
from serving import PATIENCE, Served, fake, recorded, serving, until_recorded
from wsproto import ConnectionType, WSConnection
from wsproto.events import (
    AcceptConnection,
    CloseConnection,
    Event,
    RejectConnection,
    RejectData,
    Request,
    TextMessage,
)

from llmsup.config.keys import hash_of
from llmsup.config.schema import Bridge, Config, KeySpec, ModelSpec, Server
from llmsup.fleet.model.states import State
from llmsup.units import NEVER, Seconds

ENGINE = Path(__file__).parents[1] / "helpers" / "upgrade_engine.py"


def switcher(record: Path, **spec: Any) -> ModelSpec:
    command = (sys.executable, str(ENGINE), "--socket", "${SOCKET}", "--record", str(record))
    return evolve(fake("org/m"), command=command, **spec)


class WebSocket:
    """A client of the protocol, by somebody else's book."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self.stream = stream
        self._connection = WSConnection(ConnectionType.CLIENT)

    async def send(self, event: Event) -> None:
        await self.stream.send_all(self._connection.send(event))

    async def next(self) -> Event | None:
        """The next event; None at the end of the connection."""
        with trio.fail_after(PATIENCE):
            while True:
                for event in self._connection.events():
                    return event
                data = await self.stream.receive_some()
                if not data:
                    return None
                self._connection.receive_data(bytes(data))


@asynccontextmanager
async def websocket(served: Served, path: str = "/upstream/org/m/ws", **headers: str) -> AsyncIterator[WebSocket]:
    stream = await served.client.connect()
    async with stream:
        client = WebSocket(stream)
        extra = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
        await client.send(Request(host="localhost", target=path, extra_headers=extra, subprotocols=["a", "b"]))
        yield client


async def test_a_websocket(tmp_path: Path) -> None:
    """To a model that isn't loaded yet, whose id has a slash."""
    record = tmp_path / "record"
    async with serving(switcher(record)) as served:
        async with websocket(served, "/upstream/org/m/ws?client=7", authorization="Bearer mine") as client:
            assert isinstance(await client.next(), AcceptConnection)
            assert await client.next() == TextMessage(data="hello")
            for text in ("one", "two"):
                await client.send(TextMessage(data=text))
                assert await client.next() == TextMessage(data=text)
            assert served.model("org/m").queue.in_flight == 1
            await client.send(CloseConnection(code=1000))
            assert isinstance(await client.next(), CloseConnection)
            assert await client.next() is None
        await served.until("org/m", lambda m: not m.queue.busy)
    (request,) = recorded(record, "request")
    assert request["path"] == "/ws?client=7"
    assert request["headers"]["sec-websocket-protocol"] == "a, b"
    assert "authorization" not in request["headers"]


async def test_the_engine_hangs_up(tmp_path: Path) -> None:
    async with serving(switcher(tmp_path / "record")) as served, websocket(served) as client:
        await client.next()
        await client.next()
        await client.send(TextMessage(data="bye"))
        assert await client.next() is None
        await served.until("org/m", lambda m: not m.queue.busy)


async def test_the_client_hangs_up(tmp_path: Path) -> None:
    record = tmp_path / "record"
    async with serving(switcher(record)) as served:
        async with websocket(served) as client:
            await client.next()
        await until_recorded(record, "left")
        await served.until("org/m", lambda m: not m.queue.busy)
        assert served.model("org/m").state is State.READY


@pytest.mark.parametrize("force", [True, False])
async def test_the_model_is_unloaded(tmp_path: Path, force: bool) -> None:
    """An unload gives it `drain_timeout`, like any request; then both sides are closed."""
    spec = switcher(tmp_path / "record", drain_timeout=Seconds(3600 if force else 0.2))
    async with serving(spec) as served, websocket(served) as client:
        await client.next()
        await client.next()
        got = await served.client.post("/models/unload", model="org/m", force=force)
        assert (got.status, got.json["success"]) == (200, True)
        assert await client.next() is None
        assert served.model("org/m").state is State.UNLOADED


async def test_an_unload_waits_for_its_end(tmp_path: Path) -> None:
    spec = switcher(tmp_path / "record", drain_timeout=Seconds(3600))
    async with serving(spec) as served, trio.open_nursery() as nursery:
        async with websocket(served) as client:
            await client.next()
            await client.next()
            nursery.start_soon(lambda: served.client.post("/models/unload", model="org/m"))
            await served.until("org/m", lambda m: m.state is State.DRAINING)
            await client.send(TextMessage(data="still here"))
            assert await client.next() == TextMessage(data="still here")
        await served.until("org/m", lambda m: m.state is State.UNLOADED)


async def test_llmsup_stops(tmp_path: Path) -> None:
    async with serving(switcher(tmp_path / "record")) as served, websocket(served) as client:
        await client.next()
        await client.next()
        served.tree.stop()
        served.tree.stop()
        assert await client.next() is None


async def test_any_protocol_as_bytes(tmp_path: Path) -> None:
    """A lot of them, both ways at once, the first right behind the request."""
    block = bytes(range(256)) * 4096
    async with serving(switcher(tmp_path / "record")) as served, await served.client.connect() as stream:
        head = b"GET /upstream/org/m/echo HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n"
        data = b""

        async def send() -> None:
            await stream.send_all(head + b"ahead")
            await stream.send_all(block * 4)

        with trio.fail_after(PATIENCE):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(send)
                while len(data.partition(b"\r\n\r\n")[2]) < 5 + 4 * len(block):
                    data += await stream.receive_some()
        head, _, data = data.partition(b"\r\n\r\n")
        assert head.split(b"\r\n")[0] == b"HTTP/1.1 101 Switching Protocols"
        assert {b"upgrade: echo", b"connection: upgrade"} <= {line.lower() for line in head.split(b"\r\n")}
        assert data == b"ahead" + block * 4


async def test_the_engine_does_not_take_the_offer(tmp_path: Path) -> None:
    """Its answer is an answer like any other, and the connection goes on."""
    async with serving(switcher(tmp_path / "record")) as served, websocket(served, "/upstream/org/m/else") as client:
        rejected = await client.next()
        assert isinstance(rejected, RejectConnection)
        assert rejected.status_code == 404
        data, finished = b"", False
        while not finished:
            event = await client.next()
            assert isinstance(event, RejectData)
            data, finished = data + event.data, event.body_finished
        assert data == b"none"


@pytest.mark.parametrize(("path", "status"), [("/upstream/nobody/ws", 404), ("/v1/realtime?model=org/m", 404)])
async def test_where_nothing_is_relayed(tmp_path: Path, path: str, status: int) -> None:
    async with serving(switcher(tmp_path / "record")) as served:
        async with websocket(served, path) as client:
            rejected = await client.next()
            assert isinstance(rejected, RejectConnection)
            assert rejected.status_code == status
        assert served.model("org/m").state is State.UNLOADED


async def test_who_may(tmp_path: Path) -> None:
    """The same rules as for any request: a web page elsewhere may not, and without a key nobody may."""
    async with serving(switcher(tmp_path / "record"), server=Server(api_keys=("sesame",))) as served:
        for headers, status in (
            ({}, 401),
            ({"authorization": "Bearer sesame", "origin": "https://evil.com"}, 403),
        ):
            async with websocket(served, **headers) as client:
                rejected = await client.next()
                assert isinstance(rejected, RejectConnection)
                assert rejected.status_code == status
        async with websocket(served, authorization="Bearer sesame") as client:
            assert isinstance(await client.next(), AcceptConnection)


async def test_a_websocket_counts_for_its_keys_limits(tmp_path: Path) -> None:
    """As long as it is open; it is in its usage, too."""
    key = KeySpec(name="one", hash=hash_of("sk-one"), max_in_flight=1)
    config = Config(models={"org/m": switcher(tmp_path / "record")}, bridge=Bridge(every=NEVER), keys={"one": key})
    async with serving(config=config) as served:

        async def usage() -> dict[str, Any]:
            got = await served.client.ask("GET", "/usage", None, [(b"authorization", b"Bearer sk-one")])
            told: dict[str, Any] = got.json["keys"][0]
            return told

        async with websocket(served, authorization="Bearer sk-one") as client:
            assert isinstance(await client.next(), AcceptConnection)
            assert (await usage())["in_flight"] == 1
            async with websocket(served, authorization="Bearer sk-one") as second:
                refused = await second.next()
                assert isinstance(refused, RejectConnection)
                assert refused.status_code == 429
        await served.until("org/m", lambda model: not model.queue.busy)
        told = await usage()
        assert (told["requests"], told["refused"]) == (1, 1)
