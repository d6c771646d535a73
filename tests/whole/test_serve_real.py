"""The main road with real engines and a real model: SmolLM2 on the bundled engine and on a real llama-server."""

from __future__ import annotations

import json
from typing import Any

import openai
import psutil
import pytest
import trio
from attrs import evolve
from gguf_files import tiny_llama
from real_engines import llama_server, smollm2
from serving import PATIENCE, Served, serving

from llmsup.config.schema import Config, EngineSpec, ModelSpec, Server
from llmsup.engines.llama_server.flags import HTTP_THREADS
from llmsup.fleet.model.states import State
from llmsup.units import Seconds

ENGINES = ["bundled", "llama-server"]


def config(engine: str, **spec: Any) -> Config:
    """A chat model and an embedder from one file, small enough for two cores."""
    chat = ModelSpec(name="chat", path=str(smollm2()), engine=engine, ctx_size=512, parallel=1, threads=1)
    chat = evolve(chat, sampling={"top_n_sigma": 1.5, "top_k": 7}, **spec)
    embed = evolve(chat, name="embed", kind="embedding", args=("--pooling", "mean"), sampling={})
    engines = {}
    if engine == "llama-server":
        engines = {engine: EngineSpec(name=engine, command=(str(llama_server()),))}
    return Config(models={"chat": chat, "embed": embed}, engines=engines, server=Server(shutdown_grace=Seconds(1)))


@pytest.mark.parametrize("engine", ENGINES)
async def test_the_main_road(engine: str) -> None:
    """Chat, streamed chat, completion, embeddings, tokenize; two models at once; TTL, and back again."""
    async with serving(config=config(engine)) as served:
        client = served.client
        got = await client.chat("chat", max_tokens=4)
        assert got.status == 200, got.body
        assert got.json["choices"][0]["message"]["content"]
        assert got.json["model"] == "chat"

        async with client.stream("chat", messages=[{"role": "user", "content": "hi"}], max_tokens=4) as pieces:
            text = b"".join([piece async for piece in pieces])
        events = [line.removeprefix(b"data: ") for line in text.split(b"\n\n") if line.startswith(b"data: ")]
        assert events[-1] == b"[DONE]"
        assert "".join(_delta(event) for event in events[:-1])

        got = await client.post("/completion", model="chat", prompt="Once upon", n_predict=2, seed=1)
        assert got.json["tokens_predicted"] == 2
        assert got.json["generation_settings"]["top_k"] == 7
        # The bundled engine can't take this one at launch, so it is written into the body.
        assert got.json["generation_settings"]["top_n_sigma"] == pytest.approx(1.5)
        got = await client.post("/completion", model="chat", prompt="Once", n_predict=1, top_n_sigma=3.0)
        assert got.json["generation_settings"]["top_n_sigma"] == pytest.approx(3.0)

        got = await client.post("/tokenize", model="chat", content="Hello world")
        assert got.json["tokens"]

        got = await client.post("/v1/embeddings", model="embed", input="hello")
        assert len(got.json["data"][0]["embedding"]) == 576

        running = (await client.get("/running")).json
        assert {entry["model"] for entry in running} == {"chat", "embed"}
        assert len({entry["pid"] for entry in running}) == 2
        assert all(entry["footprint_bytes"] > 2**20 for entry in running)

        pids = [entry["pid"] for entry in running]
        got = await client.post("/models/unload", all=True)
        assert got.json["success"] is True
        assert not any(map(psutil.pid_exists, pids))
        assert (await client.chat("chat", max_tokens=1)).status == 200


@pytest.mark.parametrize("engine", ENGINES)
async def test_llama_servers_own_paths(engine: str) -> None:
    """Those without /v1, those that count tokens, and those that tell of one model, which load none."""
    hi = [{"role": "user", "content": "hi"}]
    async with serving(config=config(engine)) as served:
        client = served.client
        assert (await client.get("/props?model=chat")).error["code"] == "model_not_loaded"
        assert served.fleet.running() == []
        got = await client.post("/chat/completions", model="chat", messages=hi, max_tokens=2)
        assert got.json["object"] == "chat.completion"
        got = await client.post("/responses", model="chat", input="hi", max_output_tokens=2)
        assert got.json["object"] == "response"
        got = await client.post("/v1/messages", model="chat", messages=hi, max_tokens=2)
        assert got.json["type"] == "message"
        await served.until("chat", lambda model: not model.queue.busy)
        used = served.model("chat").queue.last_used
        props = (await client.get("/props?model=chat")).json
        assert props["default_generation_settings"]["params"]["top_k"] == 7
        (slot,) = (await client.get("/slots?model=chat")).json
        assert slot["n_ctx"] == 512
        assert (await client.get("/lora-adapters?model=chat")).json == []
        for path in ("/health?model=chat", "/v1/health?model=chat", "/upstream/chat/health"):
            assert (await client.get(path)).json == {"status": "ok"}
        assert (await client.ask("HEAD", "/props?model=chat")).body == b""
        assert served.model("chat").queue.last_used == used
        got = await client.ask("POST", "/lora-adapters?model=chat", b"[]")
        assert got.json == {"success": True}


@pytest.mark.parametrize("engine", ENGINES)
async def test_idle_models_go_and_come_back(engine: str) -> None:
    async with serving(config=config(engine, ttl=Seconds(0.5))) as served:
        assert (await served.client.chat("chat", max_tokens=1)).status == 200
        await served.until("chat", lambda m: m.state is State.UNLOADED)
        assert "its ttl" in served.model("chat").reason
        assert (await served.client.chat("chat", max_tokens=1)).status == 200


@pytest.mark.parametrize("engine", ENGINES)
async def test_a_forced_unload_while_it_generates(engine: str) -> None:
    """A llama-server with a request in flight hangs on SIGTERM until its clients are gone: ours go first."""
    async with (
        serving(config=config(engine, stop_grace=Seconds(30))) as served,
        served.client.stream("chat", messages=[{"role": "user", "content": "Count."}], n_predict=-1) as pieces,
    ):
        await anext(aiter(pieces))
        got = await served.client.post("/models/unload", model="chat", force=True)
        assert got.json["seconds"] < 2
        assert b'"code":"unloading"' in b"".join([piece async for piece in pieces])


async def test_a_llama_server_ends_in_good_order() -> None:
    """Told as its own router would tell it. When its standard input just ended beside the SIGTERM, two of its threads
    left at once: code 1, now and then SIGABRT, and then a debugger came first, with all the memory still taken.
    """
    async with serving(config=config("llama-server")) as served:
        await served.client.post("/models/load", model="chat")
        run = served.model("chat").run
        assert run
        engine = run.engine
        assert engine
        await served.client.post("/models/unload", model="chat")
        assert await engine.wait() == 0


@pytest.mark.parametrize("engine", ENGINES)
async def test_a_client_that_leaves_frees_its_slot(engine: str) -> None:
    """There is one slot: were it not freed, the second request would wait for the end of the first."""
    async with serving(config=config(engine)) as served:
        async with served.client.stream(
            "chat", messages=[{"role": "user", "content": "Count."}], n_predict=-1
        ) as pieces:
            await anext(aiter(pieces))
        await served.until("chat", lambda m: not m.queue.busy)
        assert (await served.client.chat("chat", max_tokens=1)).status == 200


@pytest.mark.parametrize("engine", ENGINES)
async def test_an_engine_has_http_threads_from_the_start(engine: str) -> None:
    """Each kept connection holds one. With llama-server's few, bursts now and then wait seconds for a connection of
    somebody else to time out; that is too rare for a test, so this looks at the threads (tools/bench_proxy.py shows
    the slowest request).
    """
    async with serving(config=config(engine)) as served:
        await served.client.post("/models/load", model="chat")
        pid = (await served.client.get("/running")).json[0]["pid"]
        assert psutil.Process(pid).num_threads() > HTTP_THREADS


@pytest.mark.parametrize("engine", ENGINES)
async def test_bad_files_say_why_and_the_rest_serve(engine: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    """What can be seen from its header isn't even started; what only the engine sees is told in its words."""
    folder = tmp_path_factory.mktemp("bad")
    (folder / "not.gguf").write_bytes(b"this is no model at all" * 100)
    (folder / "half.gguf").write_bytes(smollm2().read_bytes()[: 4 * 2**20])
    tiny_llama(folder / "tiny.gguf")
    base = config(engine)
    models = {
        name: evolve(base.models["chat"], name=name, path=str(folder / file))
        for name, file in (("not", "not.gguf"), ("half", "half.gguf"), ("gone", "gone.gguf"), ("tiny", "tiny.gguf"))
    }
    reasons = {
        "not": "it is not a GGUF",
        "half": "it is cut short",
        "gone": "gone.gguf' matches no file",
        "tiny": "cannot find tokenizer merges",
    }
    async with serving(config=evolve(base, models={**base.models, **models})) as served:
        for name, words in reasons.items():
            got = await served.client.chat(name)
            assert (got.status, got.error["code"]) == (503, "model_failed"), got.body
            assert words in got.error["message"], got.error
            if name == "tiny":
                assert "exited with code 1" in got.error["message"]
                assert len(got.error["log_tail"]) > 3
        assert (await served.client.chat("chat", max_tokens=1)).status == 200
        statuses = {e["id"]: e["status"]["value"] for e in (await served.client.get("/v1/models")).json["data"]}
        assert statuses == {"chat": "loaded", "embed": "unloaded", **dict.fromkeys(reasons, "failed")}


async def test_llama_servers_progress_is_told() -> None:
    """The fraction that llama-server tells its router reaches /running; its protocol lines don't reach the log."""
    async with serving(config=config("llama-server")) as served:
        await served.client.post("/models/load", model="chat")
        assert (await served.client.get("/running")).json[0]["progress"] == 1.0
        assert not any("cmd_child_to_router" in line for line in served.model("chat").book.tail())
        assert any("listening" in line for line in served.model("chat").book.tail())


async def test_the_openai_client(served_for_openai: Served) -> None:
    """The client that most people will point at us, unchanged."""
    url = f"http://127.0.0.1:{served_for_openai.client.port}/v1"

    def talk() -> None:
        with openai.OpenAI(base_url=url, api_key="none", timeout=PATIENCE) as client:
            assert [model.id for model in client.models.list()] == ["chat", "embed"]
            assert client.models.retrieve("chat").id == "chat"
            hello: Any = [{"role": "user", "content": "hi"}]
            answer = client.chat.completions.create(model="chat", messages=hello, max_tokens=2)
            assert answer.choices[0].message.content
            chunks = list(client.chat.completions.create(model="chat", messages=hello, max_tokens=2, stream=True))
            assert chunks
            assert len(client.embeddings.create(model="embed", input="hi").data[0].embedding) == 576
            with pytest.raises(openai.NotFoundError, match="nearest names: 'chat'"):
                client.chat.completions.create(model="chta", messages=hello)

    await trio.to_thread.run_sync(talk)


@pytest.fixture
async def served_for_openai() -> Any:
    async with serving(config=config("bundled")) as served:
        yield served


def _delta(event: bytes) -> str:
    return json.loads(event)["choices"][0]["delta"].get("content") or ""


@pytest.mark.parametrize("engine", ENGINES)
async def test_what_an_engine_calls_a_model_with_a_comma(engine: str) -> None:
    """All of its name; what it is called in an answer can be asked for."""
    made = config(engine)
    models = {"Model, v1": evolve(made.models["chat"], name="Model, v1")}
    async with serving(config=evolve(made, models=models)) as served:
        said = (await served.client.chat("Model, v1", max_tokens=1)).json["model"]
        assert said in ("Model, v1", "Model\N{FULLWIDTH COMMA} v1")
        assert (await served.client.chat(said, max_tokens=1)).status == 200
