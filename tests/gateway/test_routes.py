"""Finding the model in `/upstream/{model}/{path}`."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmsup.errors import ModelNotFound, NotFound
from llmsup.gateway.routes import GENERATING, INFERENCE, Upstream, split_upstream

MODELS = {"qwen", "pub/qwen", "pub/qwen/v1", "pub", "a b", "é/x", "llama:8b"}


@pytest.mark.parametrize(
    ("path", "model", "target"),
    [
        (b"/upstream/qwen/v1/models", "qwen", b"/v1/models"),
        (b"/upstream/qwen/", "qwen", b"/"),
        (b"/upstream/qwen", "qwen", None),
        (b"/upstream/pub/qwen/props", "pub/qwen", b"/props"),
        (b"/upstream/pub/qwen/v1/models", "pub/qwen/v1", b"/models"),
        (b"/upstream/pub/qwen/v1", "pub/qwen/v1", None),
        (b"/upstream/pub/qwen/v2", "pub/qwen", b"/v2"),
        (b"/upstream/pub/other", "pub", b"/other"),
        (b"/upstream/pub%2Fqwen/props", "pub/qwen", b"/props"),
        (b"/upstream/%71wen/props", "qwen", b"/props"),
        (b"/upstream/a%20b/props", "a b", b"/props"),
        (b"/upstream/%C3%A9/x/props", "é/x", b"/props"),
        (b"/upstream/llama%3A8b/props", "llama:8b", b"/props"),
        (b"/upstream/llama:8b/props", "llama:8b", b"/props"),
        (b"/upstream/qwen/a%2Fb%20c/%ff", "qwen", b"/a%2Fb%20c/%ff"),
        (b"/upstream/qwen//v1///x/", "qwen", b"//v1///x/"),
        (b"/upstream/qwen/../../etc", "qwen", b"/../../etc"),
    ],
)
def test_the_longest_model_wins(path: bytes, model: str, target: bytes | None) -> None:
    """The model's name is decoded, what is left for the engine is not."""
    assert split_upstream(path, MODELS.__contains__) == Upstream(model, target)


@pytest.mark.parametrize("path", [b"/upstream/", b"/upstream//", b"/upstream////"])
def test_no_model_is_named(path: bytes) -> None:
    """404, with how it is done."""
    with pytest.raises(NotFound, match="/upstream/MODEL/PATH") as error:
        split_upstream(path, MODELS.__contains__)
    assert error.value.code == "not_found"


@pytest.mark.parametrize(
    "path", [b"/upstream/gpt/v1/models", b"/upstream/QWEN/x", b"/upstream//qwen", b"/upstream/%ff%0a"]
)
def test_the_model_is_unknown(path: bytes) -> None:
    """404 `model_not_found`; the message can be printed."""
    with pytest.raises(ModelNotFound, match="There is no model") as error:
        split_upstream(path, MODELS.__contains__)
    assert (error.value.code, error.value.param) == ("model_not_found", "model")
    assert str(error.value).isprintable()
    assert len(str(error.value)) < 300


def test_many_slashes_cost_little() -> None:
    """As long a path as HTTP/2 lets through; everybody else would wait meanwhile."""
    began = time.process_time()
    with pytest.raises(ModelNotFound):
        split_upstream(b"/upstream/" + b"a/" * 32_000, MODELS.__contains__)
    assert time.process_time() - began < 0.5


@settings(deadline=None)
@given(st.sampled_from(sorted(MODELS)), st.binary().filter(lambda rest: b"/" not in rest))
def test_what_follows_the_model_is_kept(model: str, rest: bytes) -> None:
    """Byte by byte, for every model and every rest in which no longer one hides."""
    path = b"/upstream/%s/x%s" % (model.replace(" ", "%20").encode(), rest)
    assert split_upstream(path, MODELS.__contains__) == Upstream(model, b"/x" + rest)


def test_the_promised_paths_are_there() -> None:
    """The contract's list, word by word."""
    promised = """/v1/chat/completions /v1/completions /v1/responses
        /v1/messages /v1/messages/count_tokens /v1/embeddings /v1/rerank /rerank /v1/reranking /reranking /completion
        /completions /infill /embedding /embeddings /tokenize /detokenize /apply-template /v1/audio/transcriptions
        /v1/audio/speech /v1/images/generations /v1/images/edits"""
    assert set(promised.split()) == INFERENCE
    assert GENERATING < INFERENCE
