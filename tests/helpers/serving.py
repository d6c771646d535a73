"""A whole llmsup in the test's own event loop, on an ephemeral port, and a small client for it."""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import trio
from attrs import evolve, frozen

from llmsup.config.schema import Bridge, Config, ModelSpec, Server
from llmsup.engines.address import TcpAddress
from llmsup.engines.dial import connect
from llmsup.engines.http import Headers
from llmsup.engines.kinds import KINDS
from llmsup.engines.pool import Answer, ConnectionPool
from llmsup.engines.registry import Kinds
from llmsup.fleet.fleet import Fleet
from llmsup.fleet.model.model import Model
from llmsup.gateway.routes import Routes
from llmsup.tree import Tree
from llmsup.units import NEVER, Seconds
from llmsup.web.server import listen

FAKE = Path(__file__).parents[1] / "helpers" / "fake_engine.py"

ROAD = "fast"
"""Which road the requests of a test take: `fast`, or `hypercorn` (server.fast = false). `conftest` has both tried."""

PATIENCE = 30
"""Seconds after which a test counts as hung. Generous: it says nothing about speed."""


def fake(name: str, *switches: object, **spec: Any) -> ModelSpec:
    """A model whose engine is the fake one."""
    command = (sys.executable, str(FAKE), "--socket", "${SOCKET}", *map(str, switches))
    return evolve(
        ModelSpec(name=name, command=command, stop_grace=Seconds(2), drain_timeout=Seconds(5)),
        **spec,
    )


@frozen
class Got:
    """A whole answer."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> dict[str, Any]:
        error: dict[str, Any] = self.json["error"]
        return error


class Client:
    """A client of one server.

    Attributes:
        patience: Seconds after which it counts as hung.
    """

    patience: float = PATIENCE

    def __init__(self, port: int) -> None:
        self.port = port
        self.pool = ConnectionPool(self.connect)

    async def connect(self) -> trio.abc.Stream:
        return await connect(TcpAddress("127.0.0.1", self.port))

    async def send(self, method: str, path: str, body: Any = None, headers: Headers | None = None) -> Answer:
        data = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        return await self.pool.request(method, path.encode(), headers or [], data)

    async def ask(self, method: str, path: str, body: Any = None, headers: Headers | None = None) -> Got:
        with trio.fail_after(self.patience):
            answer = await self.send(method, path, body, headers)
            try:
                parts = []
                while part := await answer.body():
                    parts.append(part)
            finally:
                await answer.close()
        return Got(answer.status, {n.decode().lower(): v.decode() for n, v in answer.headers}, b"".join(parts))

    async def get(self, path: str) -> Got:
        return await self.ask("GET", path)

    async def post(self, path: str, **body: Any) -> Got:
        return await self.ask("POST", path, body)

    async def chat(self, model: str, **body: Any) -> Got:
        messages = [{"role": "user", "content": "hi"}]
        return await self.post("/v1/chat/completions", model=model, messages=messages, **body)

    @asynccontextmanager
    async def stream(self, model: str, **body: Any) -> AsyncIterator[AsyncIterator[bytes]]:
        """A streamed chat: yields its pieces as they come; leaving early hangs up."""
        with trio.fail_after(self.patience):
            answer = await self.send(
                "POST", "/v1/chat/completions", {"model": model, "stream": True, "messages": [], **body}
            )

        async def pieces() -> AsyncIterator[bytes]:
            while True:
                with trio.fail_after(self.patience):  # never round a yield
                    part = await answer.body()
                if not part:
                    return
                yield part

        try:
            assert answer.status == 200, answer.status
            async with aclosing(pieces()) as parts:  # type: ignore[type-var]  # it is an async generator
                yield parts
        finally:
            await answer.close()


@frozen
class Served:
    """A running llmsup."""

    tree: Tree
    fleet: Fleet
    client: Client

    def model(self, name: str) -> Model:
        return self.fleet.models[name]

    async def until(self, model: str, predicate: Callable[[Model], object]) -> None:
        """Wait until a model is as wanted, with a bound."""
        with trio.fail_after(PATIENCE):
            await self.model(model).until(lambda: predicate(self.model(model)))


@asynccontextmanager
async def serving(
    *models: ModelSpec,
    server: Server | None = None,
    config: Config | None = None,
    stalled: float = 60,
    reread: Callable[[], Config] | None = None,
    watched: Path | None = None,
    kinds: Kinds = KINDS,
    routes: Routes | None = None,
    second: bool = False,
) -> AsyncIterator[Served]:
    """A llmsup that serves these models, `second`: on two ports; it has stopped in order when the block is left."""
    # No bridge, unless a test asks for one: its run at the start is told, and looks at the disk.
    config = config or Config(server=server or Server(), models={m.name: m for m in models}, bridge=Bridge(every=NEVER))
    config = evolve(config, server=evolve(config.server, fast=ROAD == "fast"))
    sockets = listen("127.0.0.1:0") + (listen("127.0.0.1:0") if second else [])
    tree = Tree(
        config, sockets, stalled=Seconds(stalled), reread=reread, config_file=watched, kinds=kinds, routes=routes
    )
    async with trio.open_nursery() as nursery:
        fleet = await nursery.start(tree.run)
        client = Client(sockets[0].getsockname()[1])
        try:
            yield Served(tree, fleet, client)
        finally:
            with trio.CancelScope(shield=True, deadline=trio.current_time() + PATIENCE):
                await client.pool.close()
            tree.stop()
            tree.stop()


def recorded(path: Path, event: str) -> list[dict[str, Any]]:
    """What a fake engine wrote down (--record), of one kind."""
    lines = path.read_text().splitlines() if path.exists() else []
    return [entry for entry in map(json.loads, lines) if entry["event"] == event]


async def until_recorded(path: Path, event: str, count: int = 1) -> list[dict[str, Any]]:
    """Wait for a fake engine to write something down; a file can only be looked at again and again."""
    with trio.fail_after(PATIENCE):
        while len(found := recorded(path, event)) < count:  # noqa: ASYNC110 -- it is a file
            await trio.sleep(0.005)
    return found
