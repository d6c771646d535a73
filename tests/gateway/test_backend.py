"""The seam in front of models: whatever can be leased is served, though no engine of ours is behind it."""

from __future__ import annotations

import gc
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Self

import msgspec
import pytest
import trio
from attrs import evolve
from serving import Served, fake, serving
from trio.testing import wait_all_tasks_blocked

from llmsup.config.schema import ModelSpec, RequestEdits
from llmsup.engines.address import TcpAddress
from llmsup.engines.connection import Disconnected
from llmsup.engines.http import HeaderLines
from llmsup.engines.pool import ConnectionPool
from llmsup.errors import EngineDied, Error, ModelNotFound, ModelNotLoaded
from llmsup.fleet.backend import BackendRun, Trail
from llmsup.gateway.exchange import Exchange, Order
from llmsup.gateway.message import Reply
from llmsup.units import Seconds

STREAM = b'data: {"choices": [{"delta": {"content": "far"}}]}\n\ndata: [DONE]\n\n'
WHOLE = (
    b'{"choices": [{"message": {"role": "assistant", "content": "far away"}}],'
    b' "timings": {"cache_n": 5, "prompt_n": 7, "prompt_ms": 250.5}}'
)


class Elsewhere:
    """A plain HTTP server, not started by us, and all that leases ask of it.

    Attributes:
        spec, would_wait, pool, body_defaults: As the seam has them.
        requests: The bodies that came.
        inside: How many leases there are now.
        hangs_up: It closes connections without a word.
        answers: What it was told of its answers, if it `listens`.
    """

    def __init__(self, port: int) -> None:
        self.spec = ModelSpec(name="far/away", upstream_model="its-own-name", request=RequestEdits(set={"top_k": 7}))
        self.would_wait = False
        self.pool = ConnectionPool.to(TcpAddress("127.0.0.1", port, headers=((b"authorization", b"Bearer peer"),)))
        self.body_defaults: Mapping[str, Any] = {"min_p": 0.25}
        self.requests: list[tuple[bytes, Any]] = []
        self.inside = 0
        self.entered = 0
        self.explained = 0
        self.hangs_up = False
        self.loaded = True
        self.kept = Seconds(-1)
        self.listens = False
        self.keeps_slots = False
        self.where = self.renames = self.places = ""
        self.spreads = False
        self.answers: list[tuple[int, int, float | None]] = []

    # The backend...

    def enter(self, ttl: Seconds = Seconds(0), client: str = "", trail: Trail | None = None) -> Elsewhere.Lease:
        assert trail is None
        self.inside += 1
        self.entered += 1
        return Elsewhere.Lease(self)

    def keep(self, seconds: Seconds) -> None:
        self.kept = seconds

    def look(self) -> Elsewhere.Lease:
        if not self.loaded:
            raise ModelNotLoaded("far/away is not loaded there.")
        return self.enter()

    async def explain(self, run: BackendRun, gone: Disconnected) -> Error:
        assert run is self
        self.explained += 1
        return EngineDied(f"The machine of {self.spec.name} hung up {gone}.")

    # Its run...

    async def ended_because(self, patience: float) -> Error | None:
        return None

    def answered(self, computed: int, cached: int, seconds: float | None) -> None:
        self.answers.append((computed, cached, seconds))

    async def died_of(self, patience: float) -> Error | None:
        return None

    def refuses(self, status: int) -> bool:
        raise AssertionError("nothing of the sort is asked of what has no name of its own")

    def broke(self, reason: str, detail: str = "") -> Error:
        raise AssertionError("nor is that asked")

    def directed(
        self, target: bytes, headers: HeaderLines, via: tuple[str, ...], *, by_path: bool
    ) -> tuple[bytes, HeaderLines]:
        raise AssertionError("nor this")

    class Lease:
        """Served at once."""

        awaits = ""
        others = False

        def __init__(self, backend: Elsewhere) -> None:
            self.served_by: BackendRun | None = backend
            self.waited = Seconds(0)
            self._backend: Elsewhere | None = backend

        async def run(self, timeout: Seconds) -> BackendRun:
            assert self.served_by is not None
            return self.served_by

        def __enter__(self) -> Self:
            return self

        def __exit__(self, *_: object) -> None:
            if self._backend is not None:
                self._backend.inside -= 1
                self._backend = None

    # The server...

    async def serve(self, stream: trio.SocketStream) -> None:
        """One connection; each request comes in as many pieces as it likes, and is small."""
        async with stream:
            data = b""
            while piece := await stream.receive_some():
                data += piece
                head, blank, body = data.partition(b"\r\n\r\n")
                length = next((int(line[15:]) for line in head.split(b"\r\n") if line[:15] == b"content-length:"), 0)
                if not blank or len(body) < length:
                    continue
                self.requests.append((head, msgspec.json.decode(body) if body else None))
                if self.hangs_up:
                    return
                streams = b'"stream":true' in body.replace(b" ", b"")
                kind, answer = (b"text/event-stream", STREAM) if streams else (b"application/json", WHOLE)
                framing = b"content-type: %b\r\ncontent-length: %d\r\n\r\n" % (kind, len(answer))
                await stream.send_all(b"HTTP/1.1 200 OK\r\n" + framing + answer)
                data = b""


@asynccontextmanager
async def both() -> AsyncIterator[tuple[Served, Elsewhere]]:
    """A llmsup with a model of its own, and that backend."""
    async with trio.open_nursery() as nursery:
        listener = (await trio.open_tcp_listeners(0, host="127.0.0.1"))[0]
        elsewhere = Elsewhere(listener.socket.getsockname()[1])
        nursery.start_soon(partial(trio.serve_listeners, elsewhere.serve, [listener], handler_nursery=nursery))
        async with serving(fake("here")) as served:
            served.fleet.serve_elsewhere([elsewhere])
            yield served, elsewhere
        assert elsewhere.inside == 0, "a lease was not given up"
        await elsewhere.pool.close()
        nursery.cancel_scope.cancel()


async def test_it_is_served_like_a_model() -> None:
    """Its name is found, the body edited for it, its address's headers are sent; the one beside it has its engine."""
    async with both() as (served, elsewhere):
        got = await served.client.chat("FAR/away", temperature=0.5)
        assert (got.status, got.body) == (200, WHOLE)
        head, body = elsewhere.requests[0]
        assert b"\r\nauthorization: Bearer peer\r\n" in head
        assert (body["model"], body["top_k"], body["min_p"]) == ("its-own-name", 7, 0.25)
        assert (await served.client.chat("here")).status == 200
        assert len(elsewhere.requests) == 1


async def test_it_streams() -> None:
    async with both() as (served, _), served.client.stream("far/away") as pieces:
        assert b"".join([piece async for piece in pieces]) == STREAM


async def test_it_is_told_of_each_answer_once() -> None:
    """Repeated requests take a shorter way, on which the answer isn't read piece by piece unless somebody listens."""
    async with both() as (served, elsewhere):
        for _ in range(2):
            assert (await served.client.chat("far/away")).status == 200
        assert not elsewhere.answers
        elsewhere.listens = True
        for count in range(1, 4):
            got = await served.client.chat("far/away")
            assert (got.status, got.body) == (200, WHOLE)
            await wait_all_tasks_blocked(0.01)
            assert elsewhere.answers == [(7, 5, 0.2505)] * count


@pytest.mark.parametrize("path", ["/slots/0?action=save", "/slots/0?x=1&action=restore", "/slots/0?action=s%61ve&x=1"])
async def test_files_of_slots_that_llmsup_keeps_are_no_clients_business(path: str) -> None:
    """They would fill its directory, and a conversation of somebody else's might come out of it."""
    async with both() as (served, elsewhere):
        elsewhere.keeps_slots = True
        got = await served.client.post(path, model="far/away", filename="x")
        assert (got.status, got.error["code"], got.error["type"]) == (501, "not_implemented", "not_supported_error")
        assert "--slot-save-path" in got.error["message"]
        assert not elsewhere.requests
        assert (await served.client.post("/slots/0?action=erase", model="far/away")).status == 200
        elsewhere.keeps_slots = False
        assert (await served.client.post(path, model="far/away", filename="x")).status == 200


async def test_requests_leave_nothing_to_the_garbage_collector() -> None:
    """They did: an exchange and its body knew each other, and to collect them took a twentieth of the time."""
    async with both() as (served, _):
        gc.collect()
        gc.disable()
        try:
            for _ in range(3):
                assert (await served.client.chat("far/away")).status == 200
                async with served.client.stream("far/away") as pieces:
                    assert b"".join([piece async for piece in pieces]) == STREAM
            await wait_all_tasks_blocked(0.01)
            assert not [each for each in gc.get_objects() if isinstance(each, Exchange | Order | Reply)]
        finally:
            gc.enable()


async def test_why_it_hung_up_is_what_it_says() -> None:
    """After a second try, on a lease of its own."""
    async with both() as (served, elsewhere):
        elsewhere.hangs_up = True
        got = await served.client.chat("far/away")
        assert got.error["message"].startswith("The machine of far/away hung up")
        assert (got.status, elsewhere.entered, elsewhere.explained) == (EngineDied.status, 2, 2)


async def test_a_look_is_answered_by_it_or_refused() -> None:
    async with both() as (served, elsewhere):
        assert (await served.client.get("/upstream/far/away/props")).status == 200
        elsewhere.loaded = False
        got = await served.client.get("/upstream/far/away/props")
        assert got.error["code"] == ModelNotLoaded.code


async def test_a_model_here_has_its_name_and_what_needs_an_engine_says_that_there_is_none() -> None:
    async with both() as (served, elsewhere):
        got = await served.client.post("/models/load", model="far/away")
        assert (got.status, got.error["code"]) == (404, ModelNotFound.code)
        elsewhere.spec = evolve(elsewhere.spec, name="here")
        served.fleet.serve_elsewhere([elsewhere])
        assert (await served.client.chat("here")).status == 200
        assert not elsewhere.requests
        with pytest.raises(ModelNotFound):
            served.fleet.enter(elsewhere)


async def test_once_it_is_gone_nobody_enters() -> None:
    async with both() as (served, elsewhere):
        served.fleet.serve_elsewhere([])
        assert (await served.client.chat("far/away")).status == 404
        with pytest.raises(ModelNotFound):
            served.fleet.enter(elsewhere)
