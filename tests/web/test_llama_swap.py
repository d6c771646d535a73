"""llama-swap's dashboard, pointed at llmsup: what its page requests, in the order in which it does."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
from peers_seen import serving_with, several
from serving import PATIENCE, Served, fake, serving

from llmsup.config.schema import Server
from llmsup.engines.pool import Answer
from llmsup.fleet.model.states import State
from llmsup.peers.offer import Offer
from llmsup.peers.peer import PeerState


class Page:
    """The page's side of the stream, which understands as much of it as that does."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self._rest = b""
        self.models: dict[str, dict[str, Any]] = {}
        self.logs = {"proxy": "", "upstream": ""}
        self.in_flight: dict[str, dict[str, Any]] = {}
        self.done: list[int] = []
        self.types: list[str] = []

    async def until(self, predicate: Any) -> None:
        with trio.fail_after(PATIENCE):
            while not predicate():
                piece = await self._answer.body()
                assert piece
                self._rest += piece
                *events, self._rest = self._rest.split(b"\n\n")
                for event in events:
                    self.hear(event)

    def hear(self, event: bytes) -> None:
        if event.startswith(b":"):
            return
        kind, data = event.split(b"\n")
        assert kind == b"event:message"
        envelope = json.loads(data.removeprefix(b"data:"))
        assert envelope.keys() == {"type", "data"}
        self.types.append(envelope["type"])
        said = json.loads(envelope["data"])
        match envelope["type"]:
            case "modelStatus":
                self.models = {model["id"]: model for model in said}
            case "logData":
                self.logs[said["source"]] += said["data"]
            case "inflight" if said["operation"] == "snapshot":
                self.in_flight = {each["id"]: each for each in said["requests"]}
            case "inflight" if said["operation"] == "upsert":
                self.in_flight[said["request"]["id"]] = said["request"]
            case "inflight":
                del self.in_flight[said["id"]]
            case "activity":
                self.done.append(said["id"])

    def state(self, model: str) -> str:
        state: str = self.models[model]["state"]
        return state


@asynccontextmanager
async def opened(served: Served) -> AsyncIterator[Page]:
    """The page's EventSource."""
    answer = await served.client.send("GET", "/api/events", headers=[(b"accept", b"text/event-stream")])
    headers = {name.lower(): value for name, value in answer.headers}
    assert (answer.status, headers[b"content-type"]) == (200, b"text/event-stream; charset=utf-8")
    try:
        yield Page(answer)
    finally:
        await answer.close()


async def test_the_dashboard() -> None:
    """One visit, from the opening of the page on."""
    slow = fake("org/slow", "--tokens", 1000, "--tps", 50, aliases=("s",), description="takes its time")
    async with serving(fake("m", "--print", "hello of m"), slow) as served, opened(served) as page:
        client = served.client
        await page.until(lambda: "inflight" in page.types)
        assert page.types[-4:] == ["modelStatus", "uiConfig", "profileChanged", "inflight"]
        assert {name: page.state(name) for name in page.models} == {"m": "stopped", "org/slow": "stopped"}
        assert page.models["org/slow"]["aliases"] == ["s"]
        assert page.models["org/slow"]["description"] == "takes its time"
        assert (await client.get("/api/profiles")).json == {"active": None, "profiles": []}
        assert isinstance((await client.get("/api/version")).json["version"], str)
        got = await client.get("/api/performance")
        assert (got.status, got.json) == (503, {"enabled": False})
        assert (await client.get("/api/metrics/activity?limit=25&page=1&sort=id&order=desc")).json["data"] == []

        # Its button that loads a model.
        assert (await client.get("/upstream/m/?_=1764165600000")).status in (200, 404)  # the engine's own answer
        await page.until(lambda: page.state("m") == "ready" and "hello of m" in page.logs["upstream"] and page.done)
        assert served.model("m").state is State.READY
        assert "hello of m" not in page.logs["proxy"]

        async with client.stream("s") as pieces:  # a request in flight, under an alias
            await anext(pieces)
            await page.until(lambda: page.in_flight)
            (request,) = page.in_flight.values()
            assert (request["model"], request["req_path"]) == ("org/slow", "/v1/chat/completions")
            assert (request["method"], request["req_headers"]) == ("POST", {})
            got = await client.ask("POST", f"/api/inflight/{request['id']}/cancel")
            assert (got.status, got.error["code"]) == (501, "not_implemented")
        await page.until(lambda: not page.in_flight and len(page.done) == 2)

        rows = (await client.get("/api/metrics/activity")).json
        assert [row["model"] for row in rows["data"]] == ["org/slow", "m"]
        assert rows["data"][0]["error_msg"] == "client left"
        assert (rows["total"], rows["total_pages"], rows["page"], rows["limit"]) == (2, 1, 1, 25)
        assert not any(row["has_capture"] for row in rows["data"])
        assert (await client.get("/api/metrics/stats")).json["total_requests"] == 2
        assert (await client.get("/api/captures/1")).status == 404

        got = await client.ask("POST", "/api/models/unload/org/slow")
        assert (got.status, got.body) == (200, b"OK")
        await page.until(lambda: page.state("org/slow") == "stopped")
        assert page.state("m") == "ready"
        assert (await client.ask("POST", "/api/models/unload")).json == {"msg": "ok"}
        await page.until(lambda: page.state("m") == "stopped")


async def test_its_scripts() -> None:
    """What people have in theirs: who runs, in its envelope; the logs; unload all."""
    async with serving(fake("m", "--print", "hello of m")) as served:
        assert (await served.client.get("/running?format=llama-swap")).json == {"running": []}
        await served.client.chat("m")
        (entry,) = (await served.client.get("/running?format=llama-swap")).json["running"]
        assert {"model", "state", "cmd", "proxy", "ttl", "description"} <= entry.keys()
        assert entry["state"] == "ready"
        assert b"hello of m" in (await served.client.get("/logs")).body
        (row,) = (await served.client.get("/api/metrics")).json
        assert (row["model"], row["resp_status_code"], row["req_path"]) == ("m", 200, "/v1/chat/completions")
        assert row["resp_content_type"].startswith("application/json")
        told = row["tokens"]
        assert told["output_tokens"] > 0
        stats = (await served.client.get("/api/metrics/stats")).json
        assert (stats["total_output_tokens"], stats["total_input_tokens"]) == (
            told["output_tokens"],
            told["input_tokens"],
        )
        got = await served.client.get("/unload")
        assert (got.status, got.body) == (200, b"OK")
        assert (await served.client.get("/running?format=llama-swap")).json == {"running": []}


@pytest.mark.parametrize(("source", "has"), [("upstream", True), ("proxy", False), ("m", True)])
async def test_logs_by_their_source(source: str, has: bool) -> None:
    """The engines' lines, llmsup's own, or one model's."""
    async with serving(fake("m", "--print", "hello of m")) as served:
        await served.client.chat("m")
        served.fleet.book.write("hello of llmsup")
        answer = await served.client.send("GET", f"/logs/stream/{source}")
        with trio.fail_after(PATIENCE):
            text = await answer.body()
        await answer.close()
        assert (b"hello of m" in text) is has
        assert (b"hello of llmsup" in text) is (source == "proxy")


async def test_a_model_may_be_called_as_a_source_is() -> None:
    async with serving(fake("proxy", "--print", "hello of a model")) as served:
        await served.client.chat("proxy")
        answer = await served.client.send("GET", "/logs/stream/proxy")
        with trio.fail_after(PATIENCE):
            assert b"hello of a model" in await answer.body()
        await answer.close()


async def test_the_page_is_told_of_models_that_come_and_go() -> None:
    async with serving(fake("a")) as served, opened(served) as page:
        await page.until(lambda: "inflight" in page.types)
        entries = {name: model.entry for name, model in served.fleet.models.items()}
        served.fleet.apply({})
        await page.until(lambda: not page.models)
        served.fleet.apply(entries)
        await page.until(lambda: page.models.keys() == {"a"})


async def test_pages_of_activity() -> None:
    async with serving(fake("a"), fake("b", "--exit-after", 0)) as served:
        for model in ("a", "a", "b"):
            await served.client.chat(model)
        get = served.client.get
        rows = (await get("/api/metrics/activity?limit=2&page=2&order=asc")).json
        assert ([row["id"] for row in rows["data"]], rows["total"], rows["total_pages"]) == ([3], 3, 2)
        assert (rows["data"][0]["resp_status_code"], rows["data"][0]["error_msg"]) == (503, "model_failed")
        assert [row["id"] for row in (await get("/api/metrics/activity?model=a")).json["data"]] == [2, 1]
        assert (await get("/api/metrics/stats?model=a")).json["total_requests"] == 2
        assert [row["id"] for row in (await get("/api/metrics/activity?min_id=2&max_id=2")).json["data"]] == [2]
        assert (await get("/api/metrics/activity?start=2020-01-01T00:00:00Z")).json["total"] == 3
        assert (await get("/api/metrics/activity?end=2020-01-01T00:00:00Z")).json["total"] == 0
        for bad in ("limit=0", "limit=1000", "page=x", "sort=size", "order=up", "start=soon", "min_id=-1"):
            got = await get(f"/api/metrics/activity?{bad}")
            assert (got.status, got.error["code"]) == (400, "invalid_request"), bad


async def test_there_are_no_profiles() -> None:
    async with serving() as served:
        got = await served.client.ask("PUT", "/api/profiles/active", {"name": None})
        assert (got.status, got.json) == (200, {"active": None})
        assert (await served.client.ask("PUT", "/api/profiles/active", {"name": "x"})).status == 404


async def test_the_page_needs_a_key_where_one_is_needed() -> None:
    """A browser asks for it and sends it as Basic's password, to the stream as well."""
    async with serving(fake("m"), server=Server(api_keys=("k",))) as served:
        for path in ("/api/events", "/api/metrics", "/api/profiles"):
            assert (await served.client.get(path)).status == 401


async def test_models_of_peers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is listed with one peer that answers, if any does; what becomes of it is told."""
    async with (
        serving_with(monkeypatch, fake("m"), peers=several()) as (served, peers),
        opened(served) as page,
    ):
        await page.until(lambda: page.models)
        told = {name: (each["state"], each["peerID"]) for name, each in page.models.items()}
        assert told["m"] == ("stopped", "")
        assert told["twice"] == ("ready", "studio")
        assert told["only-on-box"] == ("stopped", "box")
        box = peers.all["box"]
        box.offers = {"only-on-box": Offer(name="only-on-box", loaded=True)}
        box.state = PeerState.UP
        served.fleet.notify()
        await page.until(lambda: page.models["only-on-box"]["state"] == "ready")
