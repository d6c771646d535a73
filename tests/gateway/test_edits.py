"""What is changed in a body on its way to the engine."""

from __future__ import annotations

import json
from typing import Any

import pytest

from llmsup.config.schema import ModelSpec, RequestEdits
from llmsup.gateway.api import ROUTES
from llmsup.gateway.body import JsonBody
from llmsup.gateway.edits import changes

CREATIVE = {"creative": {"temperature": 1.3, "top_k": 0}}
DEFAULTS = {"temperature": 0.7, "min_p": 0.05}


def edited(
    body: dict[str, Any],
    *,
    preset: str = "",
    defaults: dict[str, Any] | None = None,
    generating: bool = True,
    strip: tuple[str, ...] = (),
    set_: dict[str, Any] | None = None,
    upstream_model: str = "",
) -> dict[str, Any]:
    """The body as the engine gets it."""
    spec = ModelSpec(
        name="m", presets=CREATIVE, request=RequestEdits(set=set_ or {}, strip=strip), upstream_model=upstream_model
    )
    data = JsonBody(json.dumps(body).encode())
    edit = changes(data, spec, preset=preset, defaults=defaults or {}, generating=generating)
    out = data.edited(edit)
    assert not isinstance(out, tuple), "a small body is in one piece"
    result: dict[str, Any] = json.loads(bytes(out))
    return result


def test_nothing_to_change_changes_nothing() -> None:
    """So that the bytes go out as they came."""
    body = JsonBody(b'{"model": "m"}')
    assert changes(body, ModelSpec(name="m"), preset="", defaults={}, generating=True) == {}


# Sampling...


def test_the_client_wins_over_the_preset_and_that_over_the_defaults() -> None:
    """Each is asked in turn, for each member."""
    assert edited({}, defaults=DEFAULTS) == DEFAULTS
    assert edited({}, preset="creative", defaults=DEFAULTS) == {"temperature": 1.3, "top_k": 0, "min_p": 0.05}
    assert edited({"temperature": 0}, preset="creative", defaults=DEFAULTS) == {
        "temperature": 0,
        "top_k": 0,
        "min_p": 0.05,
    }
    assert edited({"min_p": 1}, defaults=DEFAULTS) == {"min_p": 1, "temperature": 0.7}


def test_a_preset_is_written_as_a_request_wants_it() -> None:
    """Samplers as a list (a string would be read letter by letter), and the weakest name of the token limit."""
    spec = ModelSpec(name="m", presets={"p": {"samplers": "top_k;temperature", "n_predict": 9}})
    body = JsonBody(b'{"model": "m", "max_tokens": 4}')
    assert changes(body, spec, preset="p", defaults={}, generating=True) == {"samplers": ["top_k", "temperature"]}


def test_no_sampling_where_nothing_is_sampled() -> None:
    """An embedding gets neither preset nor defaults; what the config says of requests holds there, too."""
    assert edited({"input": "x"}, preset="creative", defaults=DEFAULTS, generating=False) == {"input": "x"}
    assert edited({"input": "x"}, generating=False, strip=("input",), set_={"a": 1}) == {"a": 1}


def test_which_paths_sample() -> None:
    """The promised ones, and no embeddings, tokens or audio among them."""
    samples = {route.path: route.samples for route in ROUTES if "POST" in route.methods}
    for path in ("/v1/chat/completions", "/v1/completions", "/v1/responses", "/v1/messages", "/infill"):
        assert samples[path]
    for path in ("/v1/embeddings", "/v1/messages/count_tokens", "/tokenize", "/v1/rerank", "/v1/audio/speech"):
        assert not samples[path]


# strip and set...


def test_strip_and_set_win_over_everything() -> None:
    """Over the client, the preset and the defaults; set over strip."""
    body = {"temperature": 0, "logit_bias": {"1": 2}}
    assert edited(body, strip=("temperature", "logit_bias")) == {}
    assert edited({}, preset="creative", defaults=DEFAULTS, strip=("temperature", "min_p")) == {"top_k": 0}
    assert edited(body, preset="creative", set_={"temperature": 2}, strip=("logit_bias", "top_k")) == {"temperature": 2}
    assert edited({"a": {"b": 1, "c": 2}}, strip=("a",), set_={"a.d": 3}) == {"a": {"d": 3}}


@pytest.mark.parametrize(
    ("body", "strip", "left"),
    [
        ({"a": {"b": {"c": 1, "d": 2}}}, ("a.b.c",), {"a": {"b": {"d": 2}}}),
        ({"a": {"b": 1}}, ("a.b",), {"a": {}}),
        ({"a": {"b": 1, "c": 2}}, ("a.b", "a.c"), {"a": {}}),
        ({"a": {"b": None}}, ("a.b",), {"a": {}}),
        ({"a": {"b": 1}}, ("a.x", "x.b", "a.b.c.d"), {"a": {"b": 1}}),
        ({"a": 1}, ("a.b",), {"a": 1}),
        ({"a": [1]}, ("a.0",), {"a": [1]}),
        ({"a": None}, ("a.b",), {"a": None}),
        ({"a": 0, "b": False, "c": ""}, ("a", "b", "c"), {}),
        ({"a": None, "b": 1}, ("a",), {"b": 1}),
        ({"a.b": 1}, ("a.b",), {"a.b": 1}),
    ],
)
def test_strip_removes_what_is_there(body: dict[str, Any], strip: tuple[str, ...], left: dict[str, Any]) -> None:
    """A dotted path reaches into objects; where it leads nowhere, nothing happens."""
    assert edited(body, strip=strip) == left


@pytest.mark.parametrize(
    ("body", "set_", "result"),
    [
        ({}, {"a": 1}, {"a": 1}),
        ({"a": {"b": 1}}, {"a": 2}, {"a": 2}),
        ({}, {"k.enable_thinking": False}, {"k": {"enable_thinking": False}}),
        ({"k": {"x": 1}}, {"k.y": 2, "k.z.deep": 3}, {"k": {"x": 1, "y": 2, "z": {"deep": 3}}}),
        ({"k": {"x": 1}}, {"k.x": {"y": 2}, "k.x.z": 3}, {"k": {"x": {"y": 2, "z": 3}}}),
        ({"k": "text"}, {"k.x": 1}, {"k": {"x": 1}}),
        ({"k": None}, {"k.x": 1}, {"k": {"x": 1}}),
        ({"k": {"x": [1]}}, {"k.x.y": 1}, {"k": {"x": {"y": 1}}}),
    ],
)
def test_set_writes_what_it_says(body: dict[str, Any], set_: dict[str, Any], result: dict[str, Any]) -> None:
    """Objects on the way are made, or made from what is none; their other members stay."""
    assert edited(body, set_=set_) == result


def test_the_config_is_not_written_to() -> None:
    """A body's edits leave the values that the next body is edited with as they were."""
    shared = {"x": 1}
    assert edited({}, set_={"k": shared, "k.y": 2}) == {"k": {"x": 1, "y": 2}}
    assert edited({}, defaults={"k": shared}, set_={"k.y": 2}, strip=("k.x",)) == {"k": {"y": 2}}
    assert shared == {"x": 1}


def test_the_model_can_be_renamed() -> None:
    """What the engine calls the model wins over what the client and `set` call it."""
    assert edited({"model": "m", "x": 1}, upstream_model="gpt-x") == {"model": "gpt-x", "x": 1}
    assert edited({}, upstream_model="gpt-x", set_={"model": "y"}, generating=False) == {"model": "gpt-x"}
