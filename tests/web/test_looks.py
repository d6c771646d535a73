"""A look is not a use: asking how a model is neither loads it nor keeps it loaded. And llama-server's own paths."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio
from serving import PATIENCE, Client, Got, fake, recorded, serving

from llmsup.config.schema import Server
from llmsup.fleet.model.states import State
from llmsup.units import Seconds

LOOKS = (
    "/props?model=m",
    "/slots?model=m",
    "/lora-adapters?model=m",
    "/metrics?model=m",
    "/health?model=m",
    "/v1/health?model=m",
    "/slots?fail_on_no_slot=1&model=m&autoload=false",
    "/upstream/m/health",
    "/upstream/m/v1/health",
    "/upstream/m/props",
    "/upstream/m/metrics",
    "/upstream/m/slots",
    "/upstream/m/models",
    "/upstream/m/v1/models",
    "/upstream/m/favicon.ico",
    "/upstream/m/props/",
    "/upstream/m/%70rops",
    "/upstream/m/status",
    "/upstream/m/ui/index.html",
)
IDLE_PATHS = ("/status", "/ui/*")


async def test_nothing_is_loaded_for_a_look() -> None:
    """It is told so, and that asking again by itself would not help."""
    async with serving(fake("m", idle_paths=IDLE_PATHS)) as served:
        for path in LOOKS:
            got = await served.client.get(path)
            assert (got.status, got.error["code"]) == (503, "model_not_loaded"), path
            assert "autoload=true" in got.error["message"]
            assert got.headers["x-should-retry"] == "false"
            head = await served.client.ask("HEAD", path)
            assert (head.status, head.body) == (503, b"")
        model = served.model("m")
        assert (model.state, list(model.history.entries), model.run) == (State.UNLOADED, [], None)


async def test_a_look_at_a_loaded_model_does_not_keep_it(tmp_path: Path) -> None:
    """The engine answers; but the model was used when it was used."""
    record = tmp_path / "record"
    async with serving(fake("m", "--record", record, idle_paths=IDLE_PATHS)) as served:
        await served.client.chat("m")
        await served.until("m", lambda model: not model.queue.busy)
        queue, model = served.model("m").queue, served.model("m")
        before = (queue.last_used, queue.kept_until, model.expires_at, model.demand.last_asked, model.demand.rate)
        for path in LOOKS:
            got = await served.client.get(path)
            assert got.headers["server"] == "fake", path
            assert (queue.in_flight, queue.waiting) == (0, 0)
        assert (
            queue.last_used,
            queue.kept_until,
            model.expires_at,
            model.demand.last_asked,
            model.demand.rate,
        ) == before
        got = await served.client.get("/props?model=m")
        assert (got.status, got.json["model_path"]) == (200, "fake")
        asked = [entry["path"] for entry in recorded(record, "request")]
        assert "/slots?fail_on_no_slot=1&model=m&autoload=false" in asked
        await served.client.get("/upstream/m/echo-headers")
        await served.until("m", lambda model: model.queue.last_used != before[0])


async def test_a_model_that_is_only_looked_at_goes_by_its_ttl() -> None:
    """However often that is."""
    async with serving(fake("m", ttl=Seconds(1))) as served:
        await served.client.chat("m")
        with trio.fail_after(PATIENCE):
            while (await served.client.get("/props?model=m")).status == 200:
                pass
        await served.until("m", lambda model: model.state is State.UNLOADED)


@pytest.mark.parametrize("path", ["/props?model=m&autoload=true", "/upstream/m/props?autoload=1"])
async def test_autoload_makes_it_a_use(path: str) -> None:
    """As llama-server's router has it."""
    async with serving(fake("m")) as served:
        got = await served.client.get(path)
        assert (got.status, got.json["model_path"]) == (200, "fake")
        assert served.model("m").state is State.READY


@pytest.mark.parametrize("path", ["/v1/chat/completions?autoload=false", "/upstream/m/echo-headers?a=b&autoload=0"])
async def test_without_autoload_nothing_is_loaded(path: str) -> None:
    """A use of what is loaded, else refused, as llama-server's router has it."""
    method = "POST" if "chat" in path else "GET"
    async with serving(fake("m")) as served:
        body = {"model": "m", "messages": []}
        got = await served.client.ask(method, path, body)
        assert (got.status, got.error["code"]) == (503, "model_not_loaded")
        assert served.model("m").state is State.UNLOADED
        await served.client.post("/models/load", model="m")
        await served.until("m", lambda model: not model.queue.busy)
        before = served.model("m").queue.last_used
        assert (await served.client.ask(method, path, body)).status == 200
        await served.until("m", lambda model: not model.queue.busy and model.queue.last_used != before)


async def test_other_paths_of_an_engine_load_it() -> None:
    """A GET that is no look, and what isn't a GET."""
    async with serving(fake("a"), fake("b"), fake("c", idle_paths=("/echo-headers",))) as served:
        assert (await served.client.get("/upstream/a/echo-headers")).status == 200
        assert (await served.client.post("/props", model="b")).status == 200
        assert (await served.client.get("/upstream/c/echo-headers")).status == 503
        assert (await served.client.post("/upstream/c/echo-headers")).status == 200


async def test_while_it_loads_a_look_is_told_to_come_back() -> None:
    """It doesn't wait."""
    async with serving(fake("m", "--never-ready")) as served:
        await served.client.post("/models/load", model="m", wait=False)
        await served.until("m", lambda model: model.state is State.STARTING)
        got = await served.client.get("/props?model=m")
        assert (got.status, got.error["code"], got.headers["retry-after"]) == (503, "model_not_loaded", "1")


async def test_a_look_never_waits_behind_others() -> None:
    """The model's only place is taken for as long as the test may last."""
    slow = fake("m", "--tokens", 1000, "--tps", 20, max_in_flight=1)
    async with serving(slow) as served, served.client.stream("m") as pieces:
        await anext(pieces)
        assert (await served.client.get("/slots?model=m")).headers["server"] == "fake"


async def test_a_look_at_what_is_not_there() -> None:
    """404 and 400 as everywhere, in llama.cpp's words."""
    async with serving(fake("m")) as served:
        got = await served.client.get("/props?model=nope")
        assert (got.status, got.error["code"], got.error["type"]) == (404, "model_not_found", "not_found_error")
        got = await served.client.get("/slots")
        assert (got.status, got.error["code"], got.error["type"]) == (400, "model_required", "invalid_request_error")


async def test_the_default_model_is_looked_at_where_none_is_named() -> None:
    async with serving(fake("m"), server=Server(default_model="m")) as served:
        assert (await served.client.get("/slots")).error["code"] == "model_not_loaded"
        await served.client.post("/v1/chat/completions", messages=[])
        assert (await served.client.get("/slots")).headers["server"] == "fake"


# What is ours...


async def test_without_a_model_health_metrics_and_props_are_our_own() -> None:
    async with serving(fake("m")) as served:
        for path in ("/health", "/v1/health"):
            assert (await served.client.get(path)).json["status"] == "ok"
        assert b"llmsup_memory_ceiling_bytes" in (await served.client.get("/metrics")).body
        assert (await served.client.get("/props")).json["role"] == "router"


async def test_only_our_own_health_is_for_everybody() -> None:
    """Whether a model is there is for those who have a key."""
    async with serving(fake("m"), server=Server(api_keys=("k",))) as served:
        assert (await served.client.get("/health")).status == 200
        for path in ("/health?model=m", "/v1/health", "/v1/health?model=m", "/props"):
            assert (await served.client.get(path)).status == 401


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/slots", "/health", "/logs/m"])
async def test_what_a_path_takes_is_told_to_those_who_ask(path: str) -> None:
    """OPTIONS that is no browser's question; llama-server and llama-swap answer it on every path."""
    async with serving(fake("m")) as served:
        got = await served.client.ask("OPTIONS", path)
        assert (got.status, got.body) == (204, b"")
        assert got.headers["allow"] in ("POST, OPTIONS", "GET, HEAD, OPTIONS")
        assert (await served.client.ask("OPTIONS", "/nope")).status == 404
        assert served.fleet.running() == []


async def test_a_model_alone_in_a_path_is_its_engines_root(tmp_path: Path) -> None:
    """llama-swap's page loads a model like that. It was redirected to itself, with one more slash each time."""
    record = tmp_path / "record"
    async with serving(fake("m", "--record", record)) as served:
        for path, root in (("/upstream/m/?_=1", "/?_=1"), ("/upstream/m//", "//")):
            got = await served.client.get(path)
            assert got.headers["server"] == "fake"
            assert recorded(record, "request")[-1]["path"] == root
        assert (await served.client.get("/upstream/m?a=b")).headers["location"] == "/upstream/m/?a=b"


# llama-server's spellings...


async def posted(client: Client, path: str, **body: object) -> Got:
    return await client.post(path, model="m", **body)


@pytest.mark.parametrize(
    ("path", "asked"),
    [
        ("/chat/completions", "/v1/chat/completions"),
        ("/responses", "/v1/responses"),
        ("/chat/completions/input_tokens", "/v1/chat/completions/input_tokens"),
        ("/v1/responses/input_tokens", "/v1/responses/input_tokens"),
        ("/v1/chat/completions/control", "/v1/chat/completions/control"),
        ("/v/chat/completions", "/chat/completions"),
        ("/v/embeddings", "/embeddings"),
        ("/slots/0?action=erase", "/slots/0?action=erase"),
        ("/slots/%0d%0aX:%20y?a", "/slots/%0D%0AX:%20y?a"),
        ("/props", "/props"),
    ],
)
async def test_where_a_request_goes(tmp_path: Path, path: str, asked: str) -> None:
    """To the path that the engine has, query and all."""
    record = tmp_path / "record"
    async with serving(fake("m", "--record", record)) as served:
        got = await posted(served.client, path)
        assert got.headers["server"] == "fake"
        assert recorded(record, "request")[-1]["path"].lower() == asked.lower()


async def test_a_form_goes_without_v1_too(tmp_path: Path) -> None:
    """The model stands in one of its fields."""
    form = b'--x\r\nContent-Disposition: form-data; name="model"\r\n\r\nm\r\n--x--\r\n'
    record = tmp_path / "record"
    async with serving(fake("m", "--record", record)) as served:
        headers = [(b"content-type", b"multipart/form-data; boundary=x")]
        got = await served.client.ask("POST", "/audio/transcriptions", form, headers)
        assert (got.status, got.json["text"]) == (200, f"{len(form)} bytes")
        assert recorded(record, "request")[-1]["path"] == "/v1/audio/transcriptions"


async def test_adapters_are_set_with_an_array(tmp_path: Path) -> None:
    """So its model stands in the query, and the body goes out as it came."""
    record = tmp_path / "record"
    async with serving(fake("m", "--record", record)) as served:
        got = await served.client.ask("POST", "/lora-adapters?model=m", b'[{"id": 0, "scale": 0.5}]')
        assert got.headers["server"] == "fake"
        assert recorded(record, "request")[-1]["body"] == [{"id": 0, "scale": 0.5}]


@pytest.mark.parametrize(
    ("path", "near"),
    [
        ("/v1/chat/completion", "/v1/chat/completions"),
        ("/openai/v1/chat/completions", "/v1/chat/completions"),
        ("/modles/load", "/models/load"),
        ("/v1/messages/count-tokens", "/v1/messages/count_tokens"),
    ],
)
async def test_an_unknown_path_is_told_the_nearest(path: str, near: str) -> None:
    async with serving(fake("m")) as served:
        got = await served.client.post(path, model="m")
        assert (got.status, got.error["code"]) == (404, "not_found")
        assert got.error["message"].endswith(f"Did you mean {near}?")
        assert served.fleet.running() == []


@pytest.mark.parametrize(
    ("path", "allowed"),
    [("/v1/chat/completions", "POST"), ("/props", "GET, HEAD, POST"), ("/slots/0", "POST"), ("/slots", "GET, HEAD")],
)
async def test_a_method_that_a_path_does_not_take(path: str, allowed: str) -> None:
    """What it takes, whether that is ours or an engine's."""
    async with serving(fake("m")) as served:
        got = await served.client.ask("PATCH", path)
        assert (got.status, got.error["code"], got.headers["allow"]) == (405, "method_not_allowed", allowed)


# Anthropic's errors...


@pytest.mark.parametrize(
    ("body", "status", "kind", "code"),
    [
        ({"model": "nope"}, 404, "not_found_error", "model_not_found"),
        ({}, 400, "invalid_request_error", "model_required"),
        ({"model": "broken"}, 503, "overloaded_error", "model_failed"),
        ({"model": "dies"}, 502, "api_error", "engine_died"),
    ],
)
async def test_anthropics_errors_have_their_shape_outside_a_stream(
    body: dict[str, object], status: int, kind: str, code: str
) -> None:
    specs = [fake("broken", "--exit-after", 0), fake("dies", "--die-before-first-byte", 1)]
    async with serving(*specs) as served:
        got = await served.client.post("/v1/messages?beta=true", messages=[], **body)
        assert (got.status, got.json["type"]) == (status, "error")
        assert (got.error["type"], got.error["code"]) == (kind, code)
        assert (await served.client.get("/v1/messages")).json["type"] == "error"
        assert (await served.client.post("/v1/messages/batches")).error["type"] == "not_found_error"
