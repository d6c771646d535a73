"""Ollama's API: its own client against the fake engine and a real one, and what its words become."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import ollama
import psutil
import pytest
import trio
from attrs import evolve
from real_engines import llama_server, smollm2
from serving import PATIENCE, Served, fake, recorded, serving

from llmsup.config.schema import Config, EngineSpec, ModelSpec, Server
from llmsup.errors import BadRequest
from llmsup.fleet.model.states import State
from llmsup.gateway.api.ollama import requests
from llmsup.gateway.api.ollama.answers import Chatted, Filled, Generated
from llmsup.gateway.body import JsonBody
from llmsup.gateway.message import Reply
from llmsup.units import Seconds

T = TypeVar("T")
HELLO = [{"role": "user", "content": "hi"}]


async def told(served: Served, talk: Callable[[ollama.Client], T]) -> T:
    """What Ollama's client makes of it, in a thread, as it knows no trio."""

    def run() -> T:
        with ollama.Client(f"http://127.0.0.1:{served.client.port}", timeout=PATIENCE) as client:
            return talk(client)

    return await trio.to_thread.run_sync(run)


def asked(record: Path) -> Any:
    """The body of the last request that the engine got."""
    return [entry for entry in recorded(record, "request") if entry["method"] == "POST"][-1]


def put(make: Callable[[JsonBody], JsonBody | Reply], **body: Any) -> Any:
    """A request as engines get it."""
    made = make(JsonBody(msgspec.json.encode(body)))
    assert isinstance(made, JsonBody)
    data = made.edited({"model": None})
    return json.loads(b"".join(data if isinstance(data, tuple) else (data,)))


# Its own client...


@pytest.mark.client("ollama (Python)", "POST /api/chat")
@pytest.mark.client("ollama (Python)", "POST /api/chat", streamed=True)
async def test_its_client_chats(tmp_path: Path) -> None:
    """At once and bit by bit; the options are the engine's samplers."""
    record = tmp_path / "record"
    async with serving(fake("m", "--tokens", 2, "--record", record)) as served:
        options = {"temperature": 0.5, "num_predict": 7, "stop": ["x"], "num_ctx": 99, "top_k": 3.0}
        chat = await told(served, lambda client: client.chat("m", HELLO, options=options, keep_alive="5m"))
        assert (chat.message.content, chat.done, chat.done_reason) == ("token0 token1 ", True, "stop")
        assert (chat.model, chat.prompt_eval_count, chat.eval_count) == ("m", 1, 2)
        assert chat.total_duration
        assert chat.created_at
        body = asked(record)["body"]
        assert body == {
            "model": "m",
            "messages": HELLO,
            "temperature": 0.5,
            "top_k": 3,
            "n_predict": 7,
            "max_tokens": 7,
            "stop": ["x"],
        }
        pieces = await told(served, lambda client: list(client.chat("m", HELLO, stream=True)))
        assert [piece.message.content for piece in pieces] == ["token0 ", "token1 ", ""]
        assert [piece.done for piece in pieces] == [False, False, True]
        assert asked(record)["body"]["stream_options"] == {"include_usage": True}


@pytest.mark.client("ollama (Python)", "POST /api/generate")
@pytest.mark.client("ollama (Python)", "POST /api/generate", streamed=True)
async def test_its_client_generates(tmp_path: Path) -> None:
    """With the model's template, and without it at the engine's path for that."""
    record = tmp_path / "record"
    async with serving(fake("m", "--tokens", 2, "--record", record)) as served:
        got = await told(served, lambda client: client.generate("m", "hi", system="be brief"))
        assert (got.response, got.done_reason) == ("token0 token1 ", "stop")
        entry = asked(record)
        assert entry["path"] == "/v1/chat/completions"
        assert entry["body"]["messages"] == [{"role": "system", "content": "be brief"}, *HELLO]
        pieces = await told(served, lambda client: list(client.generate("m", "hi", raw=True, stream=True)))
        assert [piece.response for piece in pieces] == ["token0 ", "token1 ", ""]
        entry = asked(record)
        assert (entry["path"], entry["body"]["prompt"]) == ("/v1/completions", "hi")


async def test_its_client_fills_in(tmp_path: Path) -> None:
    """A suffix goes to the engine's path for that, and the answer's words are the engine's own ones."""
    record = tmp_path / "record"
    async with serving(fake("m", "--tokens", 2, "--timings", "--record", record)) as served:
        got = await told(served, lambda client: client.generate("m", "def f(", suffix="return", options={"top_k": 3}))
        assert (got.response, got.done_reason, got.prompt_eval_duration) == ("token0 token1 ", "stop", 111_000_000)
        entry = asked(record)
        assert entry["path"] == "/infill"
        assert entry["body"] == {"model": "m", "top_k": 3, "input_prefix": "def f(", "input_suffix": "return"}
    answer = Filled(JsonBody(b'{"model":"m"}'))
    assert json.loads(answer.event(b'{"index":0,"content":"a","tokens":[1],"stop":false}'))["response"] == "a"
    end = {"content": "", "stop": True, "stop_type": "limit", "tokens_evaluated": 3, "tokens_predicted": 1}
    assert answer.event(json.dumps({**end, "timings": {"prompt_ms": 2, "predicted_ms": 1}}).encode()) == b""
    last = json.loads(answer.end())
    assert (last["done_reason"], last["prompt_eval_count"], last["eval_count"]) == ("length", 3, 1)
    assert last["prompt_eval_duration"] == 2_000_000


async def test_a_stream_is_what_it_gets_unless_it_says_otherwise() -> None:
    async with serving(fake("m", "--tokens", 1)) as served:
        got = await served.client.post("/api/generate", model="m", prompt="hi")
        assert got.headers["content-type"] == "application/x-ndjson"
        first, last = map(json.loads, got.body.splitlines())
        assert (first["response"], first["done"], last["response"], last["done"]) == ("token0 ", False, "", True)


@pytest.mark.client("ollama (Python)", "POST /api/embed")
@pytest.mark.client("ollama (Python)", "POST /api/embeddings")
async def test_its_client_embeds() -> None:
    async with serving(fake("m")) as served:
        got = await told(served, lambda client: client.embed("m", ["a", "b"]))
        assert (list(map(list, got.embeddings)), got.model) == ([[0.5, -0.5]] * 2, "m")
        one = await told(served, lambda client: client.embeddings("m", "a"))
        assert list(one.embedding) == [0.5, -0.5]
        assert (await served.client.post("/api/embed", model="m", input=[])).json["embeddings"] == []


@pytest.mark.client("ollama (Python)", "GET /api/tags")
@pytest.mark.client("ollama (Python)", "POST /api/show")
@pytest.mark.client("ollama (Python)", "GET /api/ps")
async def test_its_client_lists_what_there_is_and_what_is_loaded() -> None:
    """Of what no GGUF is known, nothing is claimed; looking loads nothing."""
    async with serving(fake("a", presets={"wild": {"top_k": 1}}), fake("b"), fake("c", unlisted=True)) as served:
        listed = (await told(served, lambda client: client.list())).models
        assert [model.model for model in listed] == ["a", "a:wild", "b"]
        shown = await told(served, lambda client: client.show("a:wild"))
        assert shown.parameters == "top_k 1"
        assert (await told(served, lambda client: client.ps())).models == []
        assert served.fleet.running() == []
        await told(served, lambda client: client.generate("a", keep_alive="10m"))
        (running,) = (await told(served, lambda client: client.ps())).models
        assert running.model == "a"
        assert running.expires_at
        assert (await served.client.get("/api/version")).json["version"]


async def test_an_empty_prompt_only_loads(tmp_path: Path) -> None:
    record = tmp_path / "record"
    async with serving(fake("m", "--record", record)) as served:
        got = await told(served, lambda client: client.generate("m"))
        assert (got.response, got.done, got.done_reason) == ("", True, "load")
        assert served.model("m").state is State.READY
        chat = await told(served, lambda client: client.chat("m", []))
        assert (chat.message.content, chat.done_reason) == ("", "load")
        assert {entry["method"] for entry in recorded(record, "request")} == {"GET"}


@pytest.mark.client("ollama (Python)", "errors")
@pytest.mark.client("ollama (Python)", "errors", streamed=True)
async def test_its_client_is_told_what_is_wrong() -> None:
    """In its shape, by us and by the engine, at once, before a stream and in one; nothing is loaded for bad input."""
    async with serving(fake("m"), fake("dies", "--die-after-chunks", 1)) as served:

        async def refusal(talk: Callable[[ollama.Client], object]) -> ollama.ResponseError:
            with pytest.raises(ollama.ResponseError) as caught:
                await told(served, talk)
            return caught.value

        for status, said, talk in (
            (404, "There is no model", lambda client: client.chat("x", HELLO)),
            (404, "There is no model", lambda client: list(client.chat("x", HELLO, stream=True))),
            (404, "There is no model", lambda client: client.show("x")),
            (400, "`options.top_k`", lambda client: client.chat("m", HELLO, options={"top_k": "much"})),
            (400, "`template` can't be followed", lambda client: client.generate("m", "hi", template="{{.Prompt}}")),
            (400, "`system` needs", lambda client: client.generate("m", "hi", system="x", raw=True)),
            (400, "`keep_alive`", lambda client: client.generate("m", "hi", keep_alive="soon")),
            (501, "llmsup has no /api/push", lambda client: client.push("m")),
            (501, "llmsup has no /api/create", lambda client: client.create("m", from_="x")),
            (501, "llmsup has no /api/copy", lambda client: client.copy("m", "n")),
            (501, "llmsup has no /api/delete", lambda client: client.delete("m")),
        ):
            error = await refusal(talk)
            assert (error.status_code, said in error.error) == (status, True), error
        assert served.fleet.running() == []
        assert (
            "exited with code 4" in (await refusal(lambda client: list(client.chat("dies", HELLO, stream=True)))).error
        )


@pytest.mark.parametrize("path", ["/api/chat", "/api/generate", "/api/embed", "/api/show"])
async def test_every_error_is_one_member(path: str) -> None:
    async with serving(fake("m"), server=Server(api_keys=("k",))) as served:
        key = [(b"authorization", b"Bearer k")]
        for method, body, headers, status in (
            ("POST", {"model": "m"}, None, 401),
            ("POST", b"{", key, 400),
            ("POST", {"model": "x", "prompt": "x"}, key, 404),
            ("POST", {"model": 1}, key, 400),
            ("DELETE", {}, key, 405),
        ):
            got = await served.client.ask(method, path, body, headers)
            assert (got.status, list(got.json), type(got.json["error"])) == (status, ["error"], str)


async def test_the_main_road_with_a_real_engine() -> None:
    """What llama-server says of its times is what Ollama's clients read."""
    spec = ModelSpec(name="chat", path=str(smollm2()), engine="llama-server", ctx_size=512, parallel=1, threads=1)
    embedder = evolve(spec, name="embed", kind="embedding", args=("--pooling", "mean"))
    engines = {"llama-server": EngineSpec(name="llama-server", command=(str(llama_server()),))}
    server = Server(shutdown_grace=Seconds(1))
    config = Config(models={"chat": spec, "embed": embedder}, engines=engines, server=server)
    async with serving(config=config) as served:
        few = {"num_predict": 4, "temperature": 0}
        chat = await told(served, lambda client: client.chat("chat", HELLO, options=few))
        assert chat.message.content
        assert (chat.eval_count, chat.done_reason) == (4, "length")
        pieces = await told(served, lambda client: list(client.chat("chat", HELLO, options=few, stream=True)))
        assert "".join(piece.message.content or "" for piece in pieces) == chat.message.content
        last = pieces[-1]
        assert (last.done, last.done_reason, last.eval_count) == (True, "length", 4)
        assert last.prompt_eval_count == chat.prompt_eval_count
        assert last.eval_duration
        assert last.total_duration
        assert last.prompt_eval_duration
        raw = await told(served, lambda client: client.generate("chat", "Once upon a", raw=True, options=few))
        assert (bool(raw.response), raw.eval_count) == (True, 4)
        found = await told(
            served, lambda client: client.generate("chat", "a number", format={"enum": ["seven"]}, options=few)
        )
        assert (found.response or "").startswith('"seven')
        long = "hello world " * 600
        vectors = (await told(served, lambda client: client.embed("embed", ["hello", long]))).embeddings
        assert [len(vector) for vector in vectors] == [576, 576]
        (short,) = (await told(served, lambda client: client.embed("embed", "hello", dimensions=10))).embeddings
        scale = vectors[0][0] / short[0]
        assert [number * scale for number in short] == pytest.approx(vectors[0][:10])
        assert sum(number * number for number in short) == pytest.approx(1)
        assert len((await told(served, lambda client: client.embeddings("embed", long))).embedding) == 576
        with pytest.raises(ollama.ResponseError, match="too large to process"):
            await told(served, lambda client: client.embed("embed", long, truncate=False))
        with pytest.raises(ollama.ResponseError, match="Infill is not supported by this model") as infill:
            await told(served, lambda client: client.generate("chat", "def f(", suffix="return"))
        assert infill.value.status_code == 501
        likely = await told(
            served, lambda client: client.generate("chat", "a", logprobs=True, top_logprobs=2, options=few)
        )
        assert likely.logprobs
        assert len(likely.logprobs[0].top_logprobs or ()) == 2
        bits = await told(
            served, lambda client: list(client.chat("chat", HELLO, stream=True, logprobs=True, options=few))
        )
        assert bits[0].logprobs
        assert bits[0].logprobs[0].token == bits[0].message.content
        (listed, _) = (await told(served, lambda client: client.list())).models
        assert listed.details
        assert (listed.details.family, listed.details.format) == ("llama", "gguf")
        shown = await told(served, lambda client: client.show("chat"))
        assert "completion" in (shown.capabilities or ())
        assert (shown.modelinfo or {})["llama.context_length"] > 512
        with pytest.raises(ollama.ResponseError) as caught:
            await told(served, lambda client: client.chat("chat", [{"role": "user", "content": "x " * 2000}]))
        assert (caught.value.status_code, "context" in caught.value.error) == (400, True)


# What its words become...


def test_images_go_out_as_they_are_written() -> None:
    """However large they are, without being looked into."""
    png = "iVBORw0K" + "A" * 400_000
    made = put(requests.chat, messages=[{"role": "user", "content": "what?", "images": [png, "/9j/4AAQ"]}])
    (message,) = made["messages"]
    assert message["content"] == [
        {"type": "text", "text": "what?"},
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{png}"}},
        {"type": "image_url", "image_url": {"url": "data:image/jpeg;base64,/9j/4AAQ"}},
    ]
    made = put(requests.generate, prompt="what?", images=["R0lGODlh"])
    assert made["messages"][0]["content"][1]["image_url"]["url"] == "data:image/gif;base64,R0lGODlh"


async def test_many_large_images_leave_nothing_behind() -> None:
    """20 MB each, and after the first few the process is no larger for any number of them."""
    image = "iVBORw0K" + "A" * 20_000_000
    body = json.dumps({"model": "m", "messages": [{"role": "user", "content": "what?", "images": [image]}]}).encode()
    del image
    process = psutil.Process()
    async with serving(fake("m", "--tokens", 1)) as served:
        sizes = []
        for _ in range(6):
            got = await served.client.ask("POST", "/api/chat", body)
            assert json.loads(got.body.splitlines()[-1])["done"]
            sizes.append(process.memory_info().rss)
        assert sizes[-1] - sizes[2] < len(body)


def test_calls_of_tools_and_their_answers() -> None:
    """Ollama has arguments as an object, and no ids: an answer is for the first open call of its name."""
    calls = [{"function": {"name": name, "arguments": {"city": "Rome"}}} for name in ("warm", "wet", "warm")]
    answers = [{"role": "tool", "tool_name": name, "content": "yes"} for name in ("wet", "warm", "warm")]
    said = {"role": "assistant", "content": "", "thinking": "hm", "tool_calls": calls}
    tools = [{"type": "function", "function": {"name": "warm"}}]
    made = put(requests.chat, messages=[*HELLO, said, *answers], tools=tools)
    assert made["tools"] == tools
    assert made["messages"][0] == HELLO[0]
    assistant = made["messages"][1]
    assert assistant["reasoning_content"] == "hm"
    assert [json.loads(call["function"]["arguments"]) for call in assistant["tool_calls"]] == [{"city": "Rome"}] * 3
    ids = [call["id"] for call in assistant["tool_calls"]]
    assert len(set(ids)) == 3
    assert [message["tool_call_id"] for message in made["messages"][2:]] == [ids[1], ids[0], ids[2]]


def test_formats_and_thinking() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}}
    made = put(requests.chat, messages=HELLO, format="json", think=False)
    assert made["response_format"] == {"type": "json_object"}
    assert made["chat_template_kwargs"] == {"enable_thinking": False}
    made = put(requests.generate, prompt="hi", format=schema, think="low")
    assert made["response_format"]["json_schema"]["schema"] == schema
    assert made["chat_template_kwargs"] == {"enable_thinking": True, "reasoning_effort": "low"}
    assert put(requests.generate, prompt="hi", raw=True, format=schema)["json_schema"] == schema


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"options": []}, "options"),
        ({"options": {"seed": "x"}}, "options.seed"),
        ({"format": "xml"}, "format"),
        ({"think": 3}, "think"),
        ({"stream": 1}, "stream"),
        ({"messages": [{"role": "user", "content": "x", "images": "x"}]}, "messages"),
        ({"messages": [{"role": "user", "content": "x", "images": [1]}]}, "images"),
        ({"messages": [{"content": "x", "images": []}]}, "messages"),
        ({"messages": "hi"}, "messages"),
        ({"messages": ["hi"]}, "messages"),
        ({"messages": [{"role": 1, "content": "x"}]}, "messages"),
        ({"messages": [{"role": "user", "content": {}}]}, "messages"),
        ({"messages": [{"role": "user", "content": 5}]}, "messages"),
        ({"tools": {}}, "tools"),
        ({"logprobs": "yes"}, "logprobs"),
        ({"logprobs": True, "top_logprobs": 99}, "top_logprobs"),
        ({"template": "x"}, "template"),
    ],
)
def test_what_can_not_be_understood_is_named(body: dict[str, Any], param: str) -> None:
    with pytest.raises(BadRequest) as caught:
        put(requests.chat, **{"messages": HELLO, **body})
    assert caught.value.param == param


def chunk(delta: dict[str, Any], finish: str | None = None, **more: Any) -> bytes:
    return json.dumps({"choices": [{"index": 0, "delta": delta, "finish_reason": finish}], **more}).encode()


def test_a_call_comes_whole() -> None:
    """The engine writes its arguments bit by bit; thoughts come as they are made."""
    answer = Chatted(JsonBody(b'{"model":"m"}'))
    assert json.loads(answer.event(chunk({"reasoning_content": "hm"})))["message"]["thinking"] == "hm"
    start = {"index": 0, "id": "c1", "function": {"name": "warm", "arguments": ""}}
    assert answer.event(chunk({"tool_calls": [start]})) == b""
    for piece in ('{"city"', ':"Rome"}'):
        assert answer.event(chunk({"tool_calls": [{"index": 0, "function": {"arguments": piece}}]})) == b""
    line = json.loads(answer.event(chunk({}, "tool_calls")))
    function = {"index": 0, "name": "warm", "arguments": {"city": "Rome"}}
    assert line["message"]["tool_calls"] == [{"id": "c1", "function": function}]
    assert json.loads(answer.end())["done_reason"] == "stop"


def test_a_call_that_was_cut_off_is_left_out() -> None:
    start = {"index": 0, "id": "c1", "function": {"name": "warm", "arguments": '{"ci'}}
    answer = Chatted(JsonBody(b'{"model":"m"}'))
    answer.event(chunk({"tool_calls": [start]}))
    assert answer.event(chunk({}, "length")) == b""
    assert json.loads(answer.end())["done_reason"] == "length"
    answer = Chatted(JsonBody(b'{"model":"m"}'))
    answer.event(chunk({"tool_calls": [start]}))
    with pytest.raises(ValueError, match="truncated"):
        answer.event(chunk({}, "tool_calls"))


def test_times_are_llama_servers_in_nanoseconds() -> None:
    answer = Generated(JsonBody(b'{"model":"m"}'))
    answer.event(chunk({"content": "a"}))
    assert answer.event(chunk({}, "stop")) == b""
    timings = {"prompt_n": 1, "prompt_ms": 1.5, "predicted_n": 2, "predicted_ms": 2.5}
    usage = {"prompt_tokens": 9, "completion_tokens": 2}
    assert answer.event(json.dumps({"choices": [], "usage": usage, "timings": timings}).encode()) == b""
    last = json.loads(answer.end())
    assert (last["prompt_eval_count"], last["prompt_eval_duration"]) == (9, 1_500_000)
    assert (last["eval_count"], last["eval_duration"]) == (2, 2_500_000)


def test_an_engines_error_in_a_stream_is_the_last_line() -> None:
    answer = Chatted(JsonBody(b'{"model":"m"}'))
    assert json.loads(answer.event(b'{"error": {"code": 500, "message": "out of slots"}}')) == {"error": "out of slots"}
    assert answer.end() == b""
