"""What goes wrong in a stream whose head is out, in the words of the API; and what a Responses request becomes."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from llmsup.errors import EngineDied, MethodNotImplemented, QueueFull, VersionNotSupported
from llmsup.gateway.api.anthropic import ANTHROPIC
from llmsup.gateway.api.dialect import Dialect
from llmsup.gateway.api.openai import RESPONSES, structured
from llmsup.gateway.body import JsonBody
from llmsup.gateway.error_answer import error_answer

REFUSAL = b'{"error": {"code": 400, "message": "no", "type": "invalid_request_error"}}'


def event(data: bytes) -> tuple[str, Any]:
    """An event's name and its data."""
    name, text, *rest = data.decode().split("\n")
    assert rest == ["", ""]
    return name.removeprefix("event: "), json.loads(text.removeprefix("data: "))


@pytest.mark.parametrize(
    ("body", "message", "type_"),
    [
        (REFUSAL, "no", "invalid_request_error"),
        (b"<html>\n", "<html>", "server_error"),
        (b'{"error": "no"}', '{"error": "no"}', "server_error"),
        (b"[]", "[]", "server_error"),
        (b"\xff", "\N{REPLACEMENT CHARACTER}", "server_error"),
    ],
)
def test_an_engines_refusal(body: bytes, message: str, type_: str) -> None:
    """It came too late to be an answer of its own. Clients look at nothing but events of these names."""
    name, data = event(ANTHROPIC.refusal_event(body))
    assert (name, data["type"]) == ("error", "error")
    assert (data["error"]["message"], data["error"]["type"]) == (message, type_)
    name, data = event(RESPONSES.refusal_event(body))
    assert (name, data["type"], data["response"]["status"]) == ("response.failed", "response.failed", "failed")
    assert data["response"]["error"]["message"] == data["error"]["message"] == message


@pytest.mark.parametrize("dialect", [ANTHROPIC, RESPONSES])
def test_our_own_error(dialect: Dialect) -> None:
    _, data = event(dialect.error_event(EngineDied("It died.", log_tail=("x",))))
    assert data["error"]["message"] == "It died."
    assert data["error"]["code"] == "engine_died"


def test_whether_to_ask_again() -> None:
    """OpenAI's and Anthropic's libraries would by themselves after any 5xx, and not after most 4xx."""

    def told(error: Any) -> tuple[str | None, str | None]:
        headers = {name.decode().lower(): value.decode() for name, value in error_answer(error).headers}
        return headers.get("x-should-retry"), headers.get("retry-after")

    assert told(QueueFull("Full.", retry_after=4.2)) == ("true", "5")
    assert told(EngineDied("Dead.", retry_after=1, lasting=True)) == ("false", None)
    for kind in (MethodNotImplemented, VersionNotSupported):
        assert told(kind("No.")) == ("false", None)


@pytest.mark.parametrize(
    ("body", "wanted"),
    [
        ({"input": "x"}, None),
        ({"text": None}, None),
        ({"text": {"verbosity": "low"}}, None),
        ({"text": {"format": {"type": "text"}}}, None),
        ({"text": "x"}, None),
        ({"text": {"format": {"type": "json_object"}}}, {"type": "json_object"}),
        (
            {"text": {"format": {"type": "json_schema", "name": "n", "strict": True, "schema": {"a": 1}}}},
            {"type": "json_schema", "json_schema": {"name": "n", "strict": True, "schema": {"a": 1}}},
        ),
        ({"text": {"format": {"type": "json_object"}}, "response_format": {"type": "text"}}, {"type": "text"}),
    ],
)
def test_a_responses_request_says_the_form_in_chats_words_too(body: dict[str, Any], wanted: Any) -> None:
    """Only where it asks for one, and not over what it says itself; the rest keeps its bytes."""
    made = structured(JsonBody(msgspec.json.encode(body)))
    data = made.edited({})
    after = json.loads(b"".join(data) if isinstance(data, tuple) else bytes(data))
    assert after == body | ({} if wanted is None else {"response_format": wanted})
