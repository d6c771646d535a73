"""Which path is which API's, and finding the model in `/upstream/{model}/{path}`."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmsup.errors import ModelNotFound, NotFound
from llmsup.gateway.api import ROUTES as API_ROUTES
from llmsup.gateway.api.anthropic import ANTHROPIC
from llmsup.gateway.api.dialect import Route
from llmsup.gateway.api.llama_cpp import LLAMA_CPP
from llmsup.gateway.api.openai import OPENAI
from llmsup.gateway.routes import Routes, Upstream, split_upstream

ROUTES = Routes()


def routed(method: str, path: str, query: str = "") -> Route | None:
    """The route of a request, whose path has nothing that is encoded."""
    return ROUTES.find(method, path, path.encode(), query.encode())


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
    for path in promised.split():
        assert routed("POST", path) is not None, path


@pytest.mark.parametrize(
    ("path", "target", "samples"),
    [
        ("/chat/completions", "/v1/chat/completions", True),
        ("/responses", "/v1/responses", True),
        ("/audio/transcriptions", "/v1/audio/transcriptions", False),
        ("/chat/completions/input_tokens", "/v1/chat/completions/input_tokens", False),
        ("/responses/input_tokens", "/v1/responses/input_tokens", False),
        ("/v/chat/completions", "/chat/completions", True),
        ("/v/rerank", "/rerank", False),
        ("/v/messages", "/messages", True),
        ("/v/messages/count_tokens", "/messages/count_tokens", False),
    ],
)
def test_another_spelling_leads_to_the_path_that_engines_have(path: str, target: str, samples: bool) -> None:
    """llama-server's own spellings go where every engine has them; llama-swap's lose their /v, as there."""
    route = routed("POST", path)
    assert route is not None
    assert (route.target, route.samples) == (target, samples)


@pytest.mark.parametrize("path", ["/metrics", "/props", "/health", "/v1/health"])
def test_without_a_model_they_are_our_own(path: str) -> None:
    """The engine's only where the query says whose."""
    assert routed("GET", path) is None
    assert routed("GET", path, "model=") is None
    assert routed("GET", path, "other=m") is None
    assert routed("GET", path, "x=1&model=m") is not None
    assert routed("HEAD", path, "model=m") is not None
    assert routed("DELETE", path, "model=m") is None


def test_what_is_not_in_the_table_is_nobodys() -> None:
    """Neither a wrong method, nor what only looks like one of its paths."""
    for method, path in (
        ("GET", "/v1/chat/completions"),
        ("POST", "/v1/models"),
        ("POST", "/slots/"),
        ("POST", "/slotsx"),
        ("GET", "/upstream/"),
        ("CONNECT", "/upstream/m"),
    ):
        assert routed(method, path) is None, (method, path)
    assert routed("POST", "/slots/0") is not None
    assert ROUTES.methods("/slots", b"/slots") == {"GET", "HEAD"}
    assert ROUTES.methods("/slots/0", b"/slots/0") == {"POST"}
    assert ROUTES.methods("/nowhere", b"/nowhere") == frozenset()


def test_each_path_is_one_apis() -> None:
    """Two that want the same one are a mistake that is told at once."""
    with pytest.raises(ValueError, match="two routes for POST /v1/embeddings"):
        Routes((*API_ROUTES, Route(dialect=ANTHROPIC, path="/v1/embeddings")))


def test_whose_words_are_used() -> None:
    """Also for a path that an API doesn't have here."""
    assert ROUTES.dialect("/v1/messages") is ANTHROPIC
    assert ROUTES.dialect("/v1/messages/batches") is ANTHROPIC
    assert ROUTES.dialect("/v1/messagesx") is OPENAI
    assert ROUTES.dialect("/completion") is LLAMA_CPP
    assert ROUTES.dialect("/slots/3") is LLAMA_CPP
    assert ROUTES.dialect("/upstream/m/v1/messages") is OPENAI
    assert ROUTES.dialect("/") is OPENAI


@pytest.mark.parametrize(
    ("path", "meant"),
    [
        ("/v1/chat/completion", "/v1/chat/completions"),
        ("/api/v1/chat/completions", "/v1/chat/completions"),
        ("/v1/v2/chat/completions", "/v1/chat/completions"),
        ("/v1/embedings", "/v1/embeddings"),
        ("/modles/load", "/models/load"),
        ("/v1/file", ""),
        ("/v1/files", ""),
        ("/v1/threads", ""),
        ("/" + "x" * 100_000, ""),
    ],
)
def test_the_nearest_path(path: str, meant: str) -> None:
    """Whatever is near; nothing where nothing is."""
    assert ROUTES.nearest(path, ["/models/load", "/events", "/api/profiles"]) == meant
