"""The API of a whole llmsup with fake engines: the shapes that clients and scripts rely on."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
import trio
from attrs import evolve
from serving import PATIENCE, Client, fake, recorded, serving

from llmsup.config.schema import RequestEdits, Server
from llmsup.fleet.model.states import State
from llmsup.units import Seconds

RUNNING_KEYS = frozenset(
    [
        "model",
        "state",
        "pid",
        "proxy",
        "cmd",
        "ttl",
        "in_flight",
        "waiting",
        "loaded_at",
        "last_used",
        "expires_at",
        "load_seconds",
        "footprint_bytes",
        "footprint_source",
        "priority",
        "pinned",
        "restarts",
        "description",
    ]
)


async def test_running_lists_most_to_least_worth_keeping() -> None:
    specs = [fake("a", priority="low"), fake("b"), fake("c", pinned=True), fake("d")]
    async with serving(*specs) as served:
        assert (await served.client.get("/running")).json == []
        for name in ("c", "b", "a", "d"):
            await served.client.chat(name)
        entries = (await served.client.get("/running")).json
        names = [entry["model"] for entry in entries]
        assert (names[0], names[-1]) == ("c", "a")  # the others by their loss, which is measured
        assert set(entries[0]) >= RUNNING_KEYS
        b = entries[names.index("b")]
        assert b["state"] == "ready"
        assert b["ttl"] == 1800
        assert b["expires_at"] == pytest.approx(time.time() + 1800, abs=60)
        assert b["last_used"] == pytest.approx(time.time(), abs=60)
        assert "fake_engine.py" in b["cmd"]
        assert b["proxy"].startswith("unix:/")
        assert entries[0]["expires_at"] is None  # pinned
        wrapped = (await served.client.get("/running?format=llama-swap")).json
        assert {entry["model"] for entry in wrapped["running"]} == {"c", "d", "b", "a"}


async def test_two_models_run_side_by_side_and_nothing_is_unloaded_for_the_other() -> None:
    async with serving(fake("a"), fake("b")) as served:
        for name in ("a", "b", "a", "b"):
            assert (await served.client.chat(name)).status == 200
        assert [served.model(name).state for name in "ab"] == [State.READY] * 2
        assert [served.model(name).crashes for name in "ab"] == [0, 0]


async def test_models_are_listed_with_their_status() -> None:
    specs = [fake("a", aliases=("gpt-x",), presets={"wild": {"temperature": 2}}), fake("hidden", unlisted=True)]
    async with serving(*specs) as served:
        for path in ("/models", "/v1/models"):
            listing = (await served.client.get(path)).json
            assert listing["object"] == "list"
            assert [entry["id"] for entry in listing["data"]] == ["a", "a:wild"]
        await served.client.chat("gpt-x")
        entry = (await served.client.get("/v1/models/gpt-x")).json
        assert (entry["id"], entry["status"]["value"], entry["kind"]) == ("a", "loaded", "chat")
        assert {"context_length", "size_bytes", "object", "created", "owned_by"} <= set(entry)
        assert (await served.client.get("/v1/models/nope")).status == 404


async def test_load_and_unload() -> None:
    async with serving(fake("a"), fake("b")) as served:
        got = (await served.client.post("/models/load", model="a")).json
        assert got["success"] is True
        assert served.model("a").state is State.READY
        got = (await served.client.post("/models/unload", model="a")).json
        assert (got["success"], got["model"]) == (True, "a")
        assert got["freed_bytes"] > 0
        assert got["seconds"] >= 0
        got = (await served.client.post("/models/unload", model="a")).json
        assert (got["success"], got["freed_bytes"]) == (True, 0)
        assert (await served.client.post("/models/unload", model="nope")).status == 404
        assert (await served.client.post("/models/unload")).status == 400
        await served.client.chat("a")
        await served.client.chat("b")
        assert (await served.client.post("/models/unload", all=True)).json["success"] is True
        assert (await served.client.get("/running")).json == []


async def test_llama_swaps_spellings_of_unload() -> None:
    async with serving(fake("a")) as served:
        await served.client.chat("a")
        assert (await served.client.ask("POST", "/api/models/unload/a")).body == b"OK"
        assert (await served.client.get("/running")).json == []
        assert (await served.client.get("/unload")).body == b"OK"
        assert (await served.client.ask("POST", "/api/models/unload")).json == {"msg": "ok"}
        assert (await served.client.ask("POST", "/api/models/unload/nope")).status == 404


async def test_a_model_goes_when_it_is_idle_and_comes_back() -> None:
    async with serving(fake("a", ttl=Seconds(0.3))) as served:
        await served.client.chat("a")
        await served.until("a", lambda m: m.state is State.UNLOADED)
        assert "idle for 0.30 s (its ttl)" in served.model("a").reason
        assert (await served.client.chat("a")).status == 200


async def test_who_waits_is_told_that_the_model_was_unloaded() -> None:
    async with serving(fake("a", "--load-time", 60)) as served, trio.open_nursery() as nursery:

        async def ask() -> None:
            got = await served.client.chat("a")
            assert (got.status, got.error["code"]) == (503, "unloading")
            assert "retry-after" in got.headers

        nursery.start_soon(ask)
        await served.until("a", lambda m: m.state is State.STARTING and m.queue.waiting)
        await served.client.post("/models/unload", model="a")


async def test_a_stream_is_told_that_the_model_was_unloaded() -> None:
    async with serving(fake("a", "--tokens", 10_000, "--tps", 50)) as served:
        async with served.client.stream("a") as pieces:
            first = await anext(aiter(pieces))
            assert first.startswith(b"data: ")
            got = await served.client.post("/models/unload", model="a", force=True)
            assert got.json["seconds"] < 5
            rest = b"".join([piece async for piece in pieces])
        assert b'"code":"unloading"' in rest
        assert b"asked for over the API" in rest


async def test_a_stream_that_waits_for_its_model_gets_comments() -> None:
    server = Server(loading_comments=Seconds(0.1))
    async with serving(fake("a", "--load-time", 0.5), server=server) as served:
        async with served.client.stream("a") as pieces:
            text = b"".join([piece async for piece in pieces])
        assert text.startswith(b": loading a ")
        assert text.rstrip().endswith(b"data: [DONE]")


async def test_a_stream_with_comments_gets_its_errors_as_events() -> None:
    server = Server(loading_comments=Seconds(0.05))
    async with serving(fake("a", "--load-time", 60, "--exit-after", 0.3, "--exit-code", 5), server=server) as served:
        async with served.client.stream("a") as pieces:
            text = b"".join([piece async for piece in pieces])
        assert b": loading a" in text
        assert b'data: {"error":' in text
        assert b"exited with code 5" in text


async def test_streams_pass_byte_by_byte(tmp_path: Path) -> None:
    """A piece is here before the engine makes the next, and says that proxies must not collect."""
    async with serving(fake("a", "--tokens", 3, "--tps", 4)) as served:
        answer = await served.client.send("POST", "/v1/chat/completions", {"model": "a", "stream": True})
        headers = {name.lower(): value for name, value in answer.headers}
        assert headers[b"x-accel-buffering"] == b"no"
        assert headers[b"content-type"].startswith(b"text/event-stream")
        times = []
        while await answer.body():
            times.append(trio.current_time())
        await answer.close()
        assert len(times) >= 3
        assert times[2] - times[0] > 0.2  # they did not come together


async def test_upstream_passes_anything_on(tmp_path: Path) -> None:
    record = tmp_path / "record"
    async with serving(fake("pub/model", "--record", record)) as served:
        await served.client.chat("pub/model")  # these are looks
        got = await served.client.get("/upstream/pub/model/props?x=1")
        assert got.status == 200
        assert recorded(record, "request")[-1]["path"] == "/props?x=1"
        assert (await served.client.get("/upstream/pub%2Fmodel/props")).status == 200
        got = await served.client.get("/upstream/pub/model")
        assert (got.status, got.headers["location"]) == (308, "/upstream/pub/model/")
        got = await served.client.get("/upstream/pub/model?x=1")
        assert got.headers["location"] == "/upstream/pub/model/?x=1"
        assert (await served.client.get("/upstream/nope/props")).status == 404
        assert (await served.client.ask("HEAD", "/upstream/pub/model/props")).status == 200


async def test_keys_never_reach_the_engine_and_other_headers_do(tmp_path: Path) -> None:
    record = tmp_path / "record"
    async with serving(fake("a", "--record", record)) as served:
        headers = [(b"authorization", b"Bearer sk-secret"), (b"x-api-key", b"k"), (b"x-session", b"7")]
        body = {"model": "a", "messages": []}
        assert (await served.client.ask("POST", "/v1/chat/completions", body, headers)).status == 200
        seen = json.dumps(recorded(record, "request")[-1])
        assert "sk-secret" not in seen
        assert '"x-api-key"' not in seen.lower()
        assert "x-session" in seen.lower()
        assert "sk-secret" not in "\n".join(served.tree.book.tail())


async def test_bodies_are_edited_as_configured_and_untouched_otherwise(tmp_path: Path) -> None:
    plain = fake("plain")
    edited = fake(
        "edited",
        sampling={"top_n_sigma": 1.5, "temperature": 0.1},
        presets={"wild": {"temperature": 1.9}},
        request=RequestEdits(set={"chat_template_kwargs.enable_thinking": False}, strip=("logit_bias",)),
        upstream_model="other",
    )
    async with serving(plain, edited) as served:
        odd = b'{ "model" : "plain",\n "messages": [], "x": 1.000 }'
        got = await served.client.ask("POST", "/v1/chat/completions", odd)
        assert got.json["request_body"] == json.loads(odd)
        assert got.status == 200
        got = await served.client.chat("edited:wild", logit_bias={"1": 2}, top_n_sigma=0.5)
        seen = got.json["request_body"]
        assert seen["temperature"] == 1.9
        assert seen["top_n_sigma"] == 0.5
        assert seen["chat_template_kwargs"] == {"enable_thinking": False}
        assert seen["model"] == "other"
        assert "logit_bias" not in seen


async def test_forms_are_routed_by_their_model_field() -> None:
    async with serving(fake("a")) as served:
        form = b'--B\r\nContent-Disposition: form-data; name="file"; filename="x.wav"\r\n\r\n' + bytes(5000)
        form += b'\r\n--B\r\nContent-Disposition: form-data; name="model"\r\n\r\na\r\n--B--\r\n'
        headers = [(b"content-type", b"multipart/form-data; boundary=B")]
        got = await served.client.ask("POST", "/v1/audio/transcriptions", form, headers)
        assert got.status == 200
        assert "bytes" in got.json["text"]


async def test_a_default_model_and_the_query_may_name_it() -> None:
    async with serving(fake("a"), fake("b"), server=Server(default_model="b")) as served:
        assert (await served.client.post("/v1/chat/completions", messages=[])).status == 200
        assert served.model("b").state is State.READY
        assert (await served.client.post("/tokenize?model=a", content="x")).status == 200
        assert served.model("a").state is State.READY


async def test_paths_and_methods_that_there_are_not() -> None:
    async with serving(fake("a")) as served:
        got = await served.client.get("/nothing")
        assert (got.status, got.error["code"]) == (404, "not_found")
        got = await served.client.get("/v1/chat/completions")
        assert (got.status, got.error["code"]) == (405, "method_not_allowed")


async def test_a_name_with_a_line_in_it_is_no_models() -> None:
    """It is told like every other name that no model has."""
    async with serving(fake("a")) as served:
        for path in ("/memory/nl%0Ax", "/logs/nl%0Ax", "/logs/stream/nl%0Ax", "/v1/models/%0A"):
            got = await served.client.get(path)
            assert (got.status, got.error["code"]) == (404, "model_not_found"), path
        assert (await served.client.get("/logs/nl%0Ax")).error["message"].startswith("There is no model 'nl\\nx'.")


async def test_keys_origins_and_hosts_are_checked_before_anything_is_loaded() -> None:
    async with serving(fake("a"), server=Server(api_keys=("k1", "k2"))) as served:

        async def ask(*headers: tuple[bytes, bytes], path: str = "/v1/chat/completions") -> tuple[int, str]:
            got = await served.client.ask("POST", path, {"model": "a", "messages": []}, list(headers))
            return got.status, got.json.get("error", {}).get("code", "")

        key = (b"authorization", b"Bearer k2")
        assert await ask() == (401, "invalid_api_key")
        assert await ask((b"x-api-key", b"nope")) == (401, "invalid_api_key")
        assert await ask(path="/models/load") == (401, "invalid_api_key")
        assert await ask(key, (b"origin", b"https://evil.example")) == (403, "forbidden_origin")
        assert await ask(key, (b"sec-fetch-site", b"cross-site")) == (403, "forbidden_origin")
        assert (await served.client.get("/health")).status == 200
        assert (await served.client.get("/running")).status == 401
        assert served.model("a").state is State.UNLOADED
        assert await ask(key, (b"origin", b"http://localhost:3000")) == (200, "")

        raw = await served.client.connect()
        async with raw:
            await raw.send_all(b"GET /running HTTP/1.1\r\nhost: evil.example\r\nauthorization: Bearer k1\r\n\r\n")
            assert b" 403 " in bytes(await raw.receive_some(4096))


async def test_friendly_pages_may_read_the_answers() -> None:
    async with serving(fake("a")) as served:
        origin = (b"origin", b"app://obsidian.md")
        ask = [origin, (b"access-control-request-method", b"POST")]
        got = await served.client.ask("OPTIONS", "/v1/chat/completions", headers=ask)
        assert got.status == 204
        assert got.headers["access-control-allow-origin"] == "app://obsidian.md"
        got = await served.client.ask("GET", "/v1/models", headers=[origin])
        assert got.headers["access-control-allow-origin"] == "app://obsidian.md"
        got = await served.client.get("/v1/models")
        assert "access-control-allow-origin" not in got.headers


async def test_logs() -> None:
    async with serving(fake("a", "--print", "hello from a"), fake("b")) as served:
        await served.client.chat("a")
        assert b"hello from a" in (await served.client.get("/logs/a")).body
        assert b"[a] hello from a" in (await served.client.get("/logs")).body
        assert (await served.client.get("/logs/nope")).status == 404
        answer = await served.client.send("GET", "/logs/stream/a")
        with trio.fail_after(PATIENCE):
            assert b"hello from a" in await answer.body()
            served.model("a").book.write("a live line")
            assert b"a live line" in await answer.body()
        await answer.close()


async def test_a_stream_may_finish_when_llmsup_is_told_to_stop() -> None:
    """Within shutdown_grace; who comes then is told that it stops."""
    server = Server(shutdown_grace=Seconds(20))
    async with serving(fake("a", "--tokens", 20, "--tps", 20), server=server) as served:
        other = Client(served.client.port)
        async with served.client.stream("a") as pieces:
            first = await anext(aiter(pieces))
            served.tree.stop()
            await served.tree.until(lambda: served.fleet.closing)
            got = await other.chat("a")
            assert (got.status, got.error["code"]) == (503, "shutting_down")
            assert (await other.get("/health")).status == 503
            rest = first + b"".join([piece async for piece in pieces])
        assert rest.rstrip().endswith(b"data: [DONE]")
        assert rest.count(b"data: ") >= 20
        await other.pool.close()


async def test_who_does_not_finish_in_time_is_told_that_llmsup_stops() -> None:
    """No silent end: a stream gets an error event, a request that waits for its model a 503."""
    server = Server(shutdown_grace=Seconds(0.2))
    specs = [fake("a", "--tokens", 10_000, "--tps", 20), fake("slow", "--load-time", 60)]
    async with serving(*specs, server=server) as served, trio.open_nursery() as nursery:

        async def wait() -> None:
            got = await served.client.chat("slow")
            assert (got.status, got.error["code"]) == (503, "shutting_down")

        async with served.client.stream("a") as pieces:
            await anext(aiter(pieces))
            nursery.start_soon(wait)
            await served.until("slow", lambda m: m.queue.waiting)
            served.tree.stop()
            rest = b"".join([piece async for piece in pieces])
        assert b'"code":"shutting_down"' in rest


async def test_preload_and_max_in_flight(tmp_path: Path) -> None:
    spec = evolve(fake("a", "--tokens", 3, "--tps", 20), preload=True, max_in_flight=1)
    async with serving(spec) as served:
        await served.until("a", lambda m: m.state is State.READY)
        most = 0

        async def watch() -> None:
            nonlocal most
            while True:
                most = max(most, served.model("a").queue.in_flight)
                await served.model("a").change()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(watch)
            async with trio.open_nursery() as clients:
                for _ in range(4):
                    clients.start_soon(served.client.chat, "a")
            nursery.cancel_scope.cancel()
        assert most == 1
