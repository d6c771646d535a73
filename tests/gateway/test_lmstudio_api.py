"""LM Studio's REST API, by the examples of its documentation: models, answers with their stats, load and unload."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from gguf_files import tiny_llama
from real_engines import smollm2
from serving import Got, fake, recorded, serving

from llmsup.config.schema import Config, ModelSpec, Server
from llmsup.fleet.model.states import State
from llmsup.gateway.api.lmstudio_answers import Generated
from llmsup.gateway.api.lmstudio_models import short
from llmsup.gateway.body import JsonBody
from llmsup.units import Seconds

STATS = {"tokens_per_second": 55.5, "time_to_first_token": 0.111, "generation_time": 0.954}
CHAT = {
    "messages": [
        {"role": "system", "content": "Always answer in rhymes."},
        {"role": "user", "content": "Introduce yourself."},
    ],
    "temperature": 0.7,
    "max_tokens": -1,
}


def events(got: Got) -> list[Any]:
    """A stream's, without [DONE], which must be its last."""
    assert got.headers["content-type"] == "text/event-stream"
    *said, done = [part.removeprefix(b"data: ") for part in got.body.removesuffix(b"\n\n").split(b"\n\n")]
    assert done == b"[DONE]"
    return [json.loads(data) for data in said]


@pytest.mark.client("LM Studio's REST API, as documented", "GET /api/v0/models")
@pytest.mark.client("LM Studio's REST API, as documented", "GET /api/v1/models")
async def test_models_are_listed_with_what_their_files_say(tmp_path: Path) -> None:
    """Nothing is loaded for it; what isn't known is null; what can't be served isn't there."""
    chat = tiny_llama(tmp_path / "lmstudio-community/tiny/tiny-Q4_K_M.gguf")
    specs = [
        ModelSpec(name="tiny", path=str(chat), presets={"wild": {"temperature": 2}}),
        ModelSpec(name="org/vectors", path=str(chat), kind="embedding"),
        ModelSpec(name="gone", path=str(tmp_path / "gone.gguf")),
        fake("hidden", unlisted=True),
        fake("command"),
    ]
    async with serving(*specs) as served:
        got = await served.client.get("/api/v0/models")
        listed = {entry["id"]: entry for entry in got.json["data"]}
        assert got.json["object"] == "list"
        assert set(listed) == {"command", "org/vectors", "tiny", "tiny:wild"}
        assert {name: value for name, value in listed["tiny"].items() if name != "publisher"} == {
            "id": "tiny",
            "object": "model",
            "type": "llm",
            "arch": "llama",
            "compatibility_type": "gguf",
            "quantization": "Q4_K_M",
            "state": "not-loaded",
            "max_context_length": 4096,
            "capabilities": [],
        }
        assert listed["org/vectors"]["type"] == "embeddings"
        assert (listed["command"]["arch"], listed["command"]["max_context_length"]) == (None, None)
        for name in ("org/vectors", "org%2Fvectors", "tiny:wild"):
            one = await served.client.get(f"/api/v0/models/{name}")
            assert one.json == listed[name.replace("%2F", "/")]
        native = {entry["key"]: entry for entry in (await served.client.get("/api/v1/models")).json["models"]}
        assert native["tiny"]["quantization"]["name"] == "Q4_K_M"
        assert native["tiny"]["capabilities"] == {"vision": False, "trained_for_tool_use": False}
        assert (native["tiny"]["display_name"], native["tiny"]["loaded_instances"]) == ("Tiny", [])
        assert native["tiny"]["size_bytes"] == chat.stat().st_size
        assert native["org/vectors"]["type"] == "embedding"
        assert not {"architecture", "capabilities", "description"} & set(native["org/vectors"])  # as documented
        assert served.fleet.running() == []


async def test_an_answer_has_stats_of_the_engines_timings(tmp_path: Path) -> None:
    record = tmp_path / "record"
    spec = fake("m", "--timings", "--tokens", 2, "--record", record, ctx_size=2048, given=frozenset(("ctx_size",)))
    async with serving(spec) as served:
        got = await served.client.post("/api/v0/chat/completions", model="m", **CHAT, stream=False, ttl=300)
        assert got.json["choices"][0]["message"]["content"] == "token0 token1 "
        assert got.json["stats"] == {**STATS, "stop_reason": "eosFound"}
        info = {"arch": None, "quant": None, "format": None, "context_length": 2048}
        assert got.json["model_info"] == info
        assert got.json["runtime"] == {"name": "command", "version": "b1-fake", "supported_formats": []}
        got = await served.client.post("/api/v0/completions", model="m", prompt="the meaning of life is", stop="\n")
        assert (got.json["choices"][0]["text"], got.json["model_info"]) == ("token0 token1 ", info)
        got = await served.client.post("/api/v0/embeddings", model="m", input="Some text to embed")
        assert got.json["data"][0]["embedding"] == [0.5, -0.5]
        assert "stats" not in got.json
        listed = (await served.client.get("/api/v0/models/m")).json
        assert (listed["state"], listed["loaded_context_length"]) == ("loaded", 2048)
    asked = [entry for entry in recorded(record, "request") if entry["method"] == "POST"]
    paths = ["/v1/chat/completions", "/v1/completions", "/v1/embeddings"]
    assert [entry["path"] for entry in asked] == paths


async def test_the_last_event_of_a_stream_has_them() -> None:
    """The others are as the engine sent them; where an engine tells no timings, there is nothing to add."""
    async with serving(fake("m", "--timings", "--tokens", 2), fake("plain", "--tokens", 2)) as served:
        got = await served.client.post("/api/v0/chat/completions", model="m", **CHAT, stream=True)
        *words, last = events(got)
        assert [word["choices"][0]["delta"]["content"] for word in words] == ["token0 ", "token1 "]
        assert last["stats"] == {**STATS, "stop_reason": "maxPredictedTokensReached"}
        assert last["runtime"]["version"] == "b1-fake"
        assert not any("stats" in word for word in words)
        got = await served.client.post("/api/v0/chat/completions", model="plain", **CHAT, stream=True)
        assert [word["choices"][0]["delta"]["content"] for word in events(got)] == ["token0 ", "token1 "]


async def test_stats_wait_for_the_event_that_is_really_the_last() -> None:
    """A second choice may end after the first one, and usage comes after both; no word waits for another."""
    async with serving(fake("m")) as served:
        answer = Generated(JsonBody(b"{}"))
        answer.model = served.model("m")
        word = b'{"choices":[{"finish_reason":null,"index":1,"delta":{"content":"\\"finish_reason\\":\\"stop\\""}}]}'
        ends = b'{"choices":[{"finish_reason":"tool_calls","index":0,"delta":{}}]}'
        usage = b'{"choices":[],"usage":{"total_tokens":3},"timings":{"prompt_ms":5,"predicted_ms":null}}'
        assert answer.event(word) == b"data: %s\n\n" % word
        assert answer.event(ends) == b""
        assert answer.event(word) == b"data: %s\n\ndata: %s\n\n" % (ends, word)
        assert answer.event(ends) == b""
        assert answer.event(usage) == b"data: %s\n\n" % ends
        last, done = answer.end().removesuffix(b"\n\n").split(b"\n\n")
        assert json.loads(last.removeprefix(b"data: "))["stats"] == {
            "time_to_first_token": 0.005,
            "stop_reason": "toolCalls",
        }
        assert done == b"data: [DONE]"
        failed = answer.event(b'{"error":{"code":500,"message":"no more","type":"server_error"}}')
        assert json.loads(failed.removeprefix(b"data: "))["error"] == {
            "type": "internal_error",
            "code": "server_error",
            "message": "no more",
        }


@pytest.mark.client("LM Studio's REST API, as documented", "POST /api/v1/models/load")
@pytest.mark.client("LM Studio's REST API, as documented", "POST /api/v1/models/unload")
async def test_load_and_unload() -> None:
    async with serving(fake("m", ctx_size=512, given=frozenset(("ctx_size",)))) as served:
        got = await served.client.post(
            "/api/v1/models/load", model="m", context_length=16384, flash_attention=True, echo_load_config=True
        )
        assert served.model("m").state is State.READY
        loaded = json.loads(got.body)
        assert loaded.pop("load_time_seconds") >= 0
        config = {"context_length": 512}
        assert loaded == {"type": "llm", "instance_id": "m", "status": "loaded", "load_config": config}
        (entry,) = (await served.client.get("/api/v1/models")).json["models"]
        assert entry["loaded_instances"] == [{"id": "m", "config": config}]
        got = await served.client.post("/api/v1/models/load", model="m")
        assert "load_config" not in got.json
        got = await served.client.post("/api/v1/models/unload", instance_id="m")
        assert (got.status, got.json) == (200, {"instance_id": "m"})
        assert served.model("m").state is State.UNLOADED


@pytest.mark.client(
    "lmstudio (Python, JavaScript)", "its websockets", missing="a protocol of LM Studio's own; OpenAI's client does"
)
@pytest.mark.client(
    "LM Studio's REST API, as documented", "POST /api/v1/models/download", missing="`llmsup` downloads nothing"
)
async def test_what_it_does_not_have_is_refused() -> None:
    """Its SDKs look for a greeting before they open a websocket: without one they say that there is no LM Studio."""
    async with serving(fake("m")) as served:
        assert (await served.client.get("/lmstudio-greeting")).status == 404
        assert (await served.client.post("/api/v1/models/download", model="x")).status == 501


@pytest.mark.client("LM Studio's REST API, as documented", "errors")
async def test_errors_are_in_its_shape() -> None:
    """Whoever finds them; nothing is loaded for a bad request."""
    key = [(b"authorization", b"Bearer k")]
    async with serving(fake("m"), server=Server(api_keys=("k",))) as served:

        async def fails(method: str, path: str, body: Any = None, *, known: bool = True) -> tuple[int, str, str]:
            got = await served.client.ask(method, path, body, key if known else None)
            return got.status, got.error["type"], got.error["code"]

        chat, load, unload = "/api/v0/chat/completions", "/api/v1/models/load", "/api/v1/models/unload"
        missing, bad = (404, "model_not_found", "model_not_found"), (400, "invalid_request", "invalid_request")
        assert await fails("GET", "/api/v0/models", known=False) == (401, "invalid_request", "invalid_api_key")
        assert await fails("POST", chat, {"model": "x"}) == missing
        assert await fails("GET", "/api/v0/models/x") == missing
        assert await fails("POST", load, {"model": "x"}) == missing
        assert await fails("POST", unload, {"instance_id": "x"}) == missing
        assert await fails("POST", load) == bad
        assert await fails("POST", load, {"model": 1}) == bad
        assert await fails("POST", load, {"model": "m", "context_length": "8k"}) == bad
        assert await fails("POST", unload, {"model": "m"}) == bad
        assert await fails("POST", chat, b"{") == (400, "invalid_request", "invalid_json")
        assert await fails("GET", chat) == (405, "invalid_request", "method_not_allowed")
        assert await fails("POST", "/api/v1/no", {}) == (404, "invalid_request", "not_found")
        assert served.fleet.running() == []


@pytest.mark.parametrize(("parameters", "said"), [(134_515_008, "135M"), (7_241_732_096, "7.24B"), (12, "12")])
def test_parameters_are_told_as_people_say_them(parameters: int, said: str) -> None:
    assert short(parameters) == said


@pytest.mark.client("LM Studio's REST API, as documented", "POST /api/v0/chat/completions")
@pytest.mark.client("LM Studio's REST API, as documented", "POST /api/v0/chat/completions", streamed=True)
async def test_a_real_engine() -> None:
    """Its timings are stats, and the model is told of by its header; so is an error of its own."""
    spec = ModelSpec(name="chat", path=str(smollm2()), engine="bundled", ctx_size=512, parallel=1, threads=1)
    async with serving(config=Config(models={"chat": spec}, server=Server(shutdown_grace=Seconds(1)))) as served:
        hi = [{"role": "user", "content": "hi"}]
        got = await served.client.post(
            "/api/v0/chat/completions", model="chat", messages=hi, max_tokens=4, temperature=0
        )
        info = {"arch": "llama", "quant": "Q4_1", "format": "gguf", "context_length": 512}
        assert got.json["model_info"] == info
        got2 = await served.client.post(
            "/api/v0/chat/completions", model="chat", messages=hi, max_tokens=4, temperature=0, stream=True,
            stream_options={"include_usage": True},
        )  # fmt: skip
        last = events(got2)[-1]
        assert [got.json["usage"], got.json["runtime"]] == [last["usage"] | got.json["usage"], last["runtime"]]
        for said in (got.json, last):
            assert said["stats"].pop("stop_reason") == "maxPredictedTokensReached"
            assert set(said["stats"]) == set(STATS)
            assert all(value > 0 for value in said["stats"].values())
        refused = await served.client.post("/api/v0/chat/completions", model="chat", messages=hi * 300)
        assert (refused.status, refused.error["type"]) == (400, "invalid_request")
        assert refused.error["code"] == "exceed_context_size_error"
        (entry,) = (await served.client.get("/api/v1/models")).json["models"]
        assert (entry["params_string"], entry["architecture"], entry["format"]) == ("135M", "llama", "gguf")
        assert entry["loaded_instances"] == [{"id": "chat", "config": {"context_length": 512}}]
