"""LM Studio's `/api/v1/chat`, by its documentation: what is asked, what comes back, and chats that go on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from real_engines import smollm2
from serving import Got, fake, recorded, serving

from llmsup.config.schema import Config, ModelSpec, Server
from llmsup.errors import BadRequest
from llmsup.gateway.api.lmstudio_chat_answers import Chatted
from llmsup.gateway.api.lmstudio_turns import Turn, Turns
from llmsup.gateway.body import JsonBody
from llmsup.units import Bytes, Seconds

CHAT = "/api/v1/chat"


def events(got: Got) -> list[tuple[str, Any]]:
    """A stream's: each has its name, in two places."""
    out = []
    for part in got.body.decode().removesuffix("\n\n").split("\n\n"):
        named, data = part.split("\n")
        told = json.loads(data.removeprefix("data: "))
        assert named == f"event: {told['type']}"
        out.append((told.pop("type"), told))
    return out


async def test_a_chat_goes_on_from_an_answer(tmp_path: Path) -> None:
    """From any of them, any number of times; the system prompt stays until there is another."""
    record = tmp_path / "record"
    async with serving(fake("m", "--tokens", 1, "--timings", "--record", record)) as served:

        async def chat(text: str, **more: Any) -> tuple[Any, list[tuple[str, str]]]:
            got = await served.client.post(CHAT, model="m", input=text, **more)
            assert got.status == 200, got.body
            last = [entry for entry in recorded(record, "request") if entry["method"] == "POST"][-1]
            assert last["path"] == "/v1/chat/completions"
            return got.json, [(said["role"], said["content"]) for said in last["body"]["messages"]]

        first, asked = await chat("one", system_prompt="be brief")
        assert asked == [("system", "be brief"), ("user", "one")]
        assert (first["model_instance_id"], first["output"]) == ("m", [{"type": "message", "content": "token0 "}])
        assert first["response_id"].startswith("resp_")
        assert first["stats"].pop("model_load_time_seconds") >= 0
        assert first["stats"] == {
            "input_tokens": 1,
            "total_output_tokens": 1,
            "reasoning_output_tokens": 0,
            "tokens_per_second": 55.5,
            "time_to_first_token_seconds": 0.111,
        }
        second, asked = await chat("two", previous_response_id=first["response_id"])
        assert asked == [("system", "be brief"), ("user", "one"), ("assistant", "token0 "), ("user", "two")]
        assert "model_load_time_seconds" not in second["stats"]
        for text in ("three", "another three"):
            third, asked = await chat(text, previous_response_id=second["response_id"], store=False, system_prompt="x")
            assert asked[0] == ("system", "x")
            assert [said for role, said in asked if role == "user"] == ["one", "two", text]
            assert "response_id" not in third


async def test_what_is_asked_becomes_the_engines(tmp_path: Path) -> None:
    record = tmp_path / "record"
    async with serving(fake("m", "--record", record)) as served:
        url = "data:image/png;base64,AAAA"
        items = [{"type": "message", "content": "what?"}, {"type": "image", "data_url": url}]
        await served.client.post(
            CHAT, model="m", input=items, temperature=0.5, top_p=0.9, top_k=3, min_p=0.1, repeat_penalty=1.1,
            max_output_tokens=7, reasoning="low", integrations=[], context_length=8000,
        )  # fmt: skip
        body = next(entry for entry in recorded(record, "request") if entry["method"] == "POST")["body"]
        parts = [{"type": "text", "text": "what?"}, {"type": "image_url", "image_url": {"url": url}}]
        assert body == {
            "model": "m",
            "messages": [{"role": "user", "content": parts}],
            "temperature": 0.5,
            "top_p": 0.9,
            "top_k": 3,
            "min_p": 0.1,
            "repeat_penalty": 1.1,
            "max_tokens": 7,
            "n_predict": 7,
            "chat_template_kwargs": {"enable_thinking": True, "reasoning_effort": "low"},
        }
        assert served.model("m").wanted_context == 8000


async def test_a_stream_is_events_with_names() -> None:
    async with serving(fake("m", "--tokens", 2), fake("dies", "--die-after-chunks", 1)) as served:
        got = await served.client.post(CHAT, model="m", input="hi", stream=True)
        assert got.headers["content-type"] == "text/event-stream"
        told = events(got)
        assert [name for name, _ in told] == [
            "chat.start",
            "prompt_processing.start",
            "prompt_processing.end",
            "message.start",
            "message.delta",
            "message.delta",
            "message.end",
            "chat.end",
        ]
        assert told[0][1] == {"model_instance_id": "m"}
        assert [said["content"] for name, said in told if name == "message.delta"] == ["token0 ", "token1 "]
        result = told[-1][1]["result"]
        assert result["output"] == [{"type": "message", "content": "token0 token1 "}]
        again = await served.client.post(CHAT, model="m", input="on", previous_response_id=result["response_id"])
        assert again.status == 200
        last = events(await served.client.post(CHAT, model="dies", input="hi", stream=True))[-1]
        assert (last[0], last[1]["error"]["code"]) == ("error", "engine_died")


async def test_thoughts_progress_and_errors_are_events_too() -> None:
    answer = Chatted(JsonBody(b'{"model":"m","input":"x","store":false}'))
    answer.model = None

    def put(**told: Any) -> list[str]:
        out = answer.event(json.dumps(told).encode())
        return [line[7:] for line in out.decode().split("\n") if line.startswith("event: ")]

    assert put(
        choices=[{"delta": {"role": "assistant", "content": None}}], prompt_progress={"total": 4, "processed": 1}
    )
    thought = {"choices": [{"delta": {"reasoning_content": "hm\u00e9\n"}}]}
    assert put(**thought) == ["prompt_processing.end", "reasoning.start", "reasoning.delta"]
    assert put(**thought) == ["reasoning.delta"]
    assert put(choices=[{"delta": {"content": "so"}}]) == ["reasoning.end", "message.start", "message.delta"]
    assert put(choices=[], usage={"prompt_tokens": 3, "completion_tokens": 4}) == []
    assert put(error={"message": "no more", "code": 500, "type": "server_error"}) == ["error"]
    end = answer.end().split(b"data: ")[-1]
    result = json.loads(end)["result"]
    assert result["output"] == [
        {"type": "reasoning", "content": "hm\u00e9\nhm\u00e9\n"},
        {"type": "message", "content": "so"},
    ]
    assert 1 <= result["stats"]["reasoning_output_tokens"] <= 4
    assert "response_id" not in result


def test_the_oldest_turns_are_forgotten() -> None:
    """Not those of a chat that has just gone on."""
    turns = Turns(Bytes(250))
    turns.add("a", Turn("", b"", b"x" * 100))
    turns.add("b", Turn("", b"", b"x" * 100))
    assert [turn.said for turn in turns.until("a")] == [b"x" * 100]
    turns.add("c", Turn("a", b"", b"y" * 50))
    turns.add("d", Turn("c", b"", b"z" * 50))
    assert [turn.said[:1] for turn in turns.until("d")] == [b"x", b"y", b"z"]
    with pytest.raises(BadRequest, match="no answer 'b' to go on from"):
        turns.until("b")


@pytest.mark.parametrize(
    ("body", "status", "param"),
    [
        ({}, 400, "input"),
        ({"input": ""}, 400, "input"),
        ({"input": 5}, 400, "input"),
        ({"input": []}, 400, "input"),
        ({"input": [{"type": "video", "content": "x"}]}, 400, "input"),
        ({"input": [{"type": "image", "data_url": "http://x/y.png"}]}, 400, "input"),
        ({"input": [{"type": "message", "content": 5}]}, 400, "input"),
        ({"input": "x", "system_prompt": 5}, 400, "system_prompt"),
        ({"input": "x", "temperature": "hot"}, 400, "temperature"),
        ({"input": "x", "top_k": 1.5}, 400, "top_k"),
        ({"input": "x", "max_output_tokens": 0}, 400, "max_output_tokens"),
        ({"input": "x", "reasoning": "much"}, 400, "reasoning"),
        ({"input": "x", "context_length": "8k"}, 400, "context_length"),
        ({"input": "x", "store": "yes"}, 400, "store"),
        ({"input": "x", "stream": "yes"}, 400, "stream"),
        ({"input": "x", "previous_response_id": 5}, 400, "previous_response_id"),
        ({"input": "x", "previous_response_id": "abc"}, 400, "previous_response_id"),
        ({"input": "x", "previous_response_id": "resp_0"}, 400, "previous_response_id"),
        ({"input": "x", "ttl": "soon"}, 400, "ttl"),
        ({"input": "x", "integrations": ["mcp/playwright"]}, 501, "integrations"),
        ({"input": "x", "model": "nosuch"}, 404, "model"),
    ],
)
async def test_bad_input_is_named_and_loads_nothing(body: dict[str, Any], status: int, param: str) -> None:
    async with serving(fake("m")) as served:
        got = await served.client.post(CHAT, **{"model": "m", **body})
        kinds = {400: "invalid_request", 404: "model_not_found", 501: "not_implemented"}
        assert (got.status, got.error["type"], got.error["param"]) == (status, kinds[status], param)
        assert served.fleet.running() == []


@pytest.mark.client("LM Studio's REST API, as documented", "POST /api/v1/chat")
@pytest.mark.client("LM Studio's REST API, as documented", "POST /api/v1/chat", streamed=True)
async def test_a_real_engine_remembers() -> None:
    """Its progress with the prompt is told, and its texts are the same in a stream and as a whole."""
    spec = ModelSpec(name="chat", path=str(smollm2()), engine="bundled", ctx_size=512, parallel=1, threads=1)
    async with serving(config=Config(models={"chat": spec}, server=Server(shutdown_grace=Seconds(1)))) as served:
        few = {"model": "chat", "max_output_tokens": 4, "temperature": 0}
        got = await served.client.post(CHAT, input="My favourite colour is blue.", **few)
        told = events(await served.client.post(CHAT, input="My favourite colour is blue.", stream=True, **few))
        result = told[-1][1]["result"]
        assert result["output"] == got.json["output"]
        assert "prompt_processing.progress" in [name for name, _ in told]
        assert result["stats"]["tokens_per_second"] > 0
        on = await served.client.post(CHAT, input="And now?", previous_response_id=result["response_id"], **few)
        assert on.json["stats"]["input_tokens"] > got.json["stats"]["input_tokens"] + 4
