"""What a model's file asks of its engine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from llmsup.catalog.found import Found
from llmsup.catalog.gguf.facts import Facts
from llmsup.config.schema import ModelSpec
from llmsup.engines.kinds import KINDS
from llmsup.engines.llama_server.llama_cpp import LlamaCpp
from llmsup.engines.llama_server.model_file import file_args, with_file

ENCODER = Facts(architecture="nomic-bert", kind="embedding", context_length=8192)
SHORT = Facts(architecture="bert", kind="embedding", context_length=512, pooling="cls")
DECODER = Facts(architecture="qwen3", kind="embedding", context_length=32768, numbers={"attention.causal": True})
RERANKER = Facts(architecture="bert", kind="rerank", context_length=8192, pooling="rank")
CHAT = Facts(architecture="llama", kind="chat", context_length=8192)


def words(facts: Facts, kind: Any = None, args: tuple[str, ...] = (), engine: str = "auto", **more: Any) -> list[str]:
    found = Found(id="m", path=Path("/m.gguf"), files=(), facts=facts, **more)
    kind = kind or facts.kind
    spec = ModelSpec(name="m", kind=kind, args=args, engine=engine)
    (first, *_) = KINDS.of(spec, found)
    assert isinstance(first, LlamaCpp)
    return list(file_args(spec, found, first.projector(spec, found)))


BATCH = ["--ubatch-size", "2048", "--batch-size", "2048"]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"facts": CHAT}, []),
        ({"facts": CHAT, "projector": Path("/p.gguf")}, ["--mmproj", "/p.gguf"]),
        ({"facts": CHAT, "projector": Path("/p.gguf"), "args": ("--no-mmproj",)}, []),
        ({"facts": CHAT, "projector": Path("/p.gguf"), "args": ("-mm", "/q.gguf")}, []),
        ({"facts": CHAT, "adapters": (Path("/a"), Path("/b"))}, ["--lora", "/a", "--lora", "/b"]),
        ({"facts": ENCODER}, ["--pooling", "mean", *BATCH]),
        ({"facts": ENCODER, "args": ("--ubatch-size", "512", "--pooling", "cls")}, BATCH[2:]),
        ({"facts": SHORT}, ["--pooling", "cls"]),
        ({"facts": DECODER}, ["--pooling", "last"]),
        ({"facts": RERANKER}, BATCH),
        ({"facts": CHAT, "kind": "embedding"}, ["--pooling", "last"]),
    ],
)
def test_the_flags_of_a_file(given: dict[str, Any], expected: list[str]) -> None:
    """Each as the header asks for it, and none that the user gave."""
    assert words(**given) == expected


def test_a_projector_within_the_models_own_file() -> None:
    """As only Ollama's llama-server reads it; another engine that was asked for isn't given it."""
    facts = Facts(architecture="gemma3", kind="chat", vision_inside=True, layer_tensors=frozenset({"v.patch.weight"}))
    why = "its projector is in the model's own file"
    assert words(facts, ollama_only=why) == ["--mmproj", "/m.gguf"]
    assert words(facts, engine="bundled", ollama_only=why) == []


def test_the_users_own_flags_come_last() -> None:
    """So that they win."""
    found = Found(id="m", path=Path("/m.gguf"), files=(), facts=SHORT)
    spec = ModelSpec(name="m", kind="embedding", args=("--mine",))
    assert with_file(spec, found, None).args == ("--pooling", "cls", "--mine")
