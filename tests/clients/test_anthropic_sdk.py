"""Anthropic's own library, as it comes, against a real engine."""

from __future__ import annotations

from typing import Any

import anthropic
import pytest

HELLO: Any = [{"role": "user", "content": "hi"}]
COLD = {"temperature": 0}
"""The same answer each time. The library has no word for it any more; the server has."""

TOOL: Any = {
    "name": "f",
    "description": "does it",
    "input_schema": {"type": "object", "properties": {"a": {"enum": [7]}}, "required": ["a"]},
}


@pytest.mark.client("anthropic (Python)", "GET /v1/models")
def test_models(anthropic_real: anthropic.Anthropic) -> None:
    listed = anthropic_real.models.list()
    assert [(model.id, model.display_name, model.type) for model in listed.data] == [
        ("chat", "chat", "model"),
        ("embed", "embed", "model"),
    ]
    assert (listed.has_more, listed.first_id, listed.last_id) == (False, "chat", "embed")
    assert anthropic_real.models.retrieve("chat").created_at.year > 2000


@pytest.mark.client("anthropic (Python)", "POST /v1/messages")
def test_messages(anthropic_real: anthropic.Anthropic) -> None:
    answer = anthropic_real.messages.create(
        model="chat", max_tokens=3, extra_body=COLD, system="Be brief.", messages=HELLO
    )
    assert answer.content[0].type == "text"
    assert (bool(answer.content[0].text), answer.stop_reason, answer.role) == (True, "max_tokens", "assistant")
    assert (answer.model, answer.usage.output_tokens) == ("chat", 3)


@pytest.mark.client("anthropic (Python)", "POST /v1/messages", streamed=True)
def test_messages_streamed(anthropic_real: anthropic.Anthropic) -> None:
    """Event by event, and by the helper that puts them together."""
    events = list(
        anthropic_real.messages.create(model="chat", max_tokens=3, extra_body=COLD, messages=HELLO, stream=True)
    )
    assert (events[0].type, events[-1].type) == ("message_start", "message_stop")
    with anthropic_real.messages.stream(model="chat", max_tokens=3, extra_body=COLD, messages=HELLO) as stream:
        text = "".join(stream.text_stream)
        whole = stream.get_final_message()
    assert whole.content[0].type == "text"
    assert (whole.content[0].text, whole.stop_reason) == (text, "max_tokens")


@pytest.mark.client("anthropic (Python)", "POST /v1/messages, tools")
def test_a_tool(anthropic_fake: anthropic.Anthropic, anthropic_real: anthropic.Anthropic) -> None:
    """The real model is too small to call one; it is told of a call and its result, which the fake engine began."""
    answer = anthropic_fake.messages.create(
        model="m", max_tokens=16, messages=HELLO, tools=[TOOL], tool_choice={"type": "any"}
    )
    call = answer.content[-1]
    assert call.type == "tool_use"
    assert (call.name, call.input, answer.stop_reason) == ("f", {"a": 7}, "tool_use")
    said: Any = [{"type": "tool_use", "id": call.id, "name": "f", "input": {"a": 7}}]
    result: Any = [{"type": "tool_result", "tool_use_id": call.id, "content": "done"}]
    more: Any = [*HELLO, {"role": "assistant", "content": said}, {"role": "user", "content": result}]
    after = anthropic_real.messages.create(model="chat", max_tokens=2, messages=more, tools=[TOOL])
    assert after.role == "assistant"


@pytest.mark.client("anthropic (Python)", "POST /v1/messages, tools", streamed=True)
def test_a_tool_streamed(anthropic_fake: anthropic.Anthropic) -> None:
    with anthropic_fake.messages.stream(
        model="m", max_tokens=16, messages=HELLO, tools=[TOOL], tool_choice={"type": "any"}
    ) as stream:
        call = stream.get_final_message().content[-1]
    assert call.type == "tool_use"
    assert (call.name, call.input) == ("f", {"a": 7})


@pytest.mark.client("anthropic (Python)", "POST /v1/messages/count_tokens")
def test_count_tokens(anthropic_real: anthropic.Anthropic) -> None:
    """What is counted is what a message then takes."""
    counted = anthropic_real.messages.count_tokens(model="chat", messages=HELLO).input_tokens
    usage = anthropic_real.messages.create(model="chat", max_tokens=1, messages=HELLO).usage
    assert counted == usage.input_tokens + (usage.cache_read_input_tokens or 0)
    longer: Any = [{"role": "user", "content": "hi, how are you?"}]
    assert anthropic_real.messages.count_tokens(model="chat", messages=longer, tools=[TOOL]).input_tokens > counted


@pytest.mark.client(
    "anthropic (Python)", "POST /v1/messages, structured output", missing="llama-server's /v1/messages takes no schema"
)
def test_a_schema_is_passed_on(anthropic_fake: anthropic.Anthropic) -> None:
    """An engine that knows what to do with one gets it as it is."""
    schema: Any = {"type": "json_schema", "schema": {"type": "object", "additionalProperties": False}}
    answer: Any = anthropic_fake.messages.create(
        model="m", max_tokens=16, messages=HELLO, output_config={"format": schema}
    )
    assert answer.request_body["output_config"]["format"] == schema


@pytest.mark.client("anthropic (Python)", "POST /v1/messages?beta=true")
def test_beta(anthropic_real: anthropic.Anthropic) -> None:
    betas = ["interleaved-thinking-2025-05-14", "fine-grained-tool-streaming-2025-05-14"]
    answer = anthropic_real.beta.messages.create(
        model="chat", max_tokens=2, messages=HELLO, betas=betas, extra_body=COLD
    )
    assert answer.usage.output_tokens == 2
    assert anthropic_real.beta.messages.count_tokens(model="chat", messages=HELLO, betas=betas).input_tokens


@pytest.mark.client("anthropic (Python)", "POST /v1/messages?beta=true", streamed=True)
def test_beta_streamed(anthropic_real: anthropic.Anthropic) -> None:
    with anthropic_real.beta.messages.stream(model="chat", max_tokens=2, messages=HELLO) as stream:
        assert "".join(stream.text_stream)
