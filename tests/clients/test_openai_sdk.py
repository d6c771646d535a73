"""OpenAI's own library, as it comes, against a real engine."""

from __future__ import annotations

from typing import Any, Literal

import openai
import pytest
from pydantic import BaseModel

HELLO: Any = [{"role": "user", "content": "hi"}]
TOOL: Any = {
    "type": "function",
    "function": {
        "name": "f",
        "description": "does it",
        "parameters": {"type": "object", "properties": {"a": {"enum": [7]}}, "required": ["a"]},
    },
}


class Colour(BaseModel):
    """What the model is made to say."""

    name: Literal["red", "blue"]


@pytest.mark.client("openai (Python)", "GET /v1/models")
def test_models(openai_real: openai.OpenAI) -> None:
    assert [model.id for model in openai_real.models.list()] == ["chat", "embed"]
    model = openai_real.models.retrieve("chat")
    assert (model.id, model.object, model.owned_by) == ("chat", "model", "llmsup")


@pytest.mark.client("openai (Python)", "POST /v1/chat/completions")
def test_chat(openai_real: openai.OpenAI) -> None:
    answer = openai_real.chat.completions.create(model="chat", messages=HELLO, max_tokens=3, temperature=0)
    assert answer.choices[0].message.content
    assert (answer.choices[0].finish_reason, answer.model) == ("length", "chat")
    assert answer.usage
    assert answer.usage.completion_tokens == 3


@pytest.mark.client("openai (Python)", "POST /v1/chat/completions", streamed=True)
def test_chat_streamed(openai_real: openai.OpenAI) -> None:
    usage: Any = {"include_usage": True}
    chunks = list(
        openai_real.chat.completions.create(
            model="chat", messages=HELLO, max_tokens=3, temperature=0, stream=True, stream_options=usage
        )
    )
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices][-1] == "length"
    assert chunks[-1].usage
    assert chunks[-1].usage.completion_tokens == 3


@pytest.mark.client("openai (Python)", "POST /v1/chat/completions, tools")
def test_a_tool(openai_fake: openai.OpenAI, openai_real: openai.OpenAI) -> None:
    """The real model is too small to call one; it is told of a call and its result, which the fake engine began."""
    answer = openai_fake.chat.completions.create(
        model="m", messages=HELLO, tools=[TOOL], tool_choice="required", max_tokens=16
    )
    (call,) = list(answer.choices[0].message.tool_calls or [])
    assert call.type == "function"
    assert (call.function.name, call.function.arguments) == ("f", '{"a":7}')
    assert answer.choices[0].finish_reason == "tool_calls"
    said: Any = answer.choices[0].message.model_dump(exclude_none=True)
    result: Any = {"role": "tool", "tool_call_id": call.id, "content": "done"}
    after = openai_real.chat.completions.create(
        model="chat", messages=[*HELLO, said, result], tools=[TOOL], max_tokens=2
    )
    assert after.choices[0].message.role == "assistant"


@pytest.mark.client("openai (Python)", "POST /v1/chat/completions, tools", streamed=True)
def test_a_tool_streamed(openai_fake: openai.OpenAI) -> None:
    strict: Any = {**TOOL, "function": {**TOOL["function"], "strict": True}}
    with openai_fake.chat.completions.stream(
        model="m", messages=HELLO, tools=[strict], tool_choice="required", max_tokens=16
    ) as stream:
        done = [event for event in stream if event.type == "tool_calls.function.arguments.done"]
        whole = stream.get_final_completion()
    assert [event.name for event in done] == ["f"]
    assert [call.type for call in whole.choices[0].message.tool_calls or []] == ["function"]


@pytest.mark.client("openai (Python)", "POST /v1/chat/completions, structured output")
def test_structured_output(openai_real: openai.OpenAI) -> None:
    """As a schema in JSON, and as a class that the library makes one of and reads the answer with."""
    schema: Any = {"name": "colour", "strict": True, "schema": {"type": "string", "enum": ["red", "blue"]}}
    form: Any = {"type": "json_schema", "json_schema": schema}
    answer = openai_real.chat.completions.create(model="chat", messages=HELLO, response_format=form, max_tokens=16)
    assert answer.choices[0].message.content in ('"red"', '"blue"')
    parsed = openai_real.chat.completions.parse(
        model="chat", messages=HELLO, response_format=Colour, max_tokens=24, temperature=0
    )
    assert isinstance(parsed.choices[0].message.parsed, Colour)


@pytest.mark.client("openai (Python)", "POST /v1/chat/completions, structured output", streamed=True)
def test_structured_output_streamed(openai_real: openai.OpenAI) -> None:
    with openai_real.chat.completions.stream(
        model="chat", messages=HELLO, response_format=Colour, max_tokens=24, temperature=0
    ) as stream:
        for _ in stream:
            pass
        whole = stream.get_final_completion()
    assert isinstance(whole.choices[0].message.parsed, Colour)


@pytest.mark.client("openai (Python)", "POST /v1/chat/completions, logprobs")
def test_logprobs(openai_real: openai.OpenAI) -> None:
    answer = openai_real.chat.completions.create(
        model="chat", messages=HELLO, max_tokens=2, logprobs=True, top_logprobs=3
    )
    assert answer.choices[0].logprobs
    tokens = answer.choices[0].logprobs.content or []
    assert [len(token.top_logprobs) for token in tokens] == [3, 3]
    assert all(token.logprob <= 0 for token in tokens)


@pytest.mark.client("openai (Python)", "POST /v1/chat/completions, logprobs", streamed=True)
def test_logprobs_streamed(openai_real: openai.OpenAI) -> None:
    chunks = openai_real.chat.completions.create(
        model="chat", messages=HELLO, max_tokens=2, logprobs=True, top_logprobs=3, stream=True
    )
    found = [chunk.choices[0].logprobs for chunk in chunks if chunk.choices and chunk.choices[0].logprobs]
    assert [len(token.top_logprobs) for each in found for token in each.content or []] == [3, 3]


@pytest.mark.client("openai (Python)", "POST /v1/embeddings")
def test_embeddings(openai_real: openai.OpenAI) -> None:
    """One, and a hundred, which keep their order."""
    (one,) = openai_real.embeddings.create(model="embed", input="7 apples").data
    assert len(one.embedding) == 576
    many = openai_real.embeddings.create(model="embed", input=[f"{number} apples" for number in range(100)])
    assert [each.index for each in many.data] == list(range(100))
    likeness = sum(a * b for a, b in zip(one.embedding, many.data[7].embedding, strict=True))
    assert likeness == pytest.approx(1, abs=0.01)
    assert many.usage.prompt_tokens >= 200


@pytest.mark.client("openai (Python)", "POST /v1/completions")
def test_completions(openai_real: openai.OpenAI) -> None:
    answer = openai_real.completions.create(model="chat", prompt="Once upon", max_tokens=2)
    assert (bool(answer.choices[0].text), answer.choices[0].finish_reason) == (True, "length")


@pytest.mark.client("openai (Python)", "POST /v1/completions", streamed=True)
def test_completions_streamed(openai_real: openai.OpenAI) -> None:
    chunks = list(openai_real.completions.create(model="chat", prompt="Once upon", max_tokens=2, stream=True))
    assert "".join(chunk.choices[0].text for chunk in chunks)
    assert chunks[-1].choices[0].finish_reason == "length"


@pytest.mark.client("openai (Python)", "POST /v1/responses")
def test_responses(openai_real: openai.OpenAI) -> None:
    answer = openai_real.responses.create(
        model="chat", instructions="Be brief.", input="hi", max_output_tokens=3, temperature=0
    )
    assert (bool(answer.output_text), answer.object, answer.model) == (True, "response", "chat")
    assert answer.usage
    assert answer.usage.output_tokens == 3


@pytest.mark.client("openai (Python)", "POST /v1/responses, structured output")
def test_responses_structured(openai_real: openai.OpenAI) -> None:
    """Its engine knows that by chat's name for it alone."""
    parsed = openai_real.responses.parse(
        model="chat", input="hi", text_format=Colour, max_output_tokens=24, temperature=0
    )
    assert isinstance(parsed.output_parsed, Colour)


@pytest.mark.client("openai (Python)", "POST /v1/responses", streamed=True)
def test_responses_streamed(openai_real: openai.OpenAI) -> None:
    events = list(
        openai_real.responses.create(model="chat", input="hi", max_output_tokens=3, temperature=0, stream=True)
    )
    assert "".join(event.delta for event in events if event.type == "response.output_text.delta")
    last = events[-1]
    assert last.type == "response.completed"
    assert last.response.output_text
