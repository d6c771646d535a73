"""What a model will cost, told from its header: by hand, and for headers that lie."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st
from measured import found as found_at
from miniatures import RECIPES, miniature
from miniatures_more import MORE

from llmsup.catalog.found import Found, Stamp
from llmsup.catalog.gguf.facts import Facts
from llmsup.config.schema import ModelSpec
from llmsup.engines.context import Context
from llmsup.memory.cost.estimate import Estimate, estimate
from llmsup.memory.cost.kv_cache import BLOCKS, kv_bytes, row_bytes, window_cells
from llmsup.memory.cost.recurrent import recurrent_layers, state_bytes
from llmsup.memory.cost.sliding_window import windows
from llmsup.units import Bytes

MiB = 2**20


def facts(architecture: str = "llama", /, **numbers: Any) -> Facts:
    """A header; `__` stands for a dot."""
    base = {"block_count": 4, "embedding_length": 512, "attention.head_count": 8, "context_length": 4096}
    told = {key.replace("__", "."): value for key, value in numbers.items()}
    return Facts(
        architecture=architecture,
        kind="chat",
        context_length=4096,
        vocabulary=1000,
        weights=Bytes(5 * MiB),
        numbers=base | told,
    )


def found(facts: Facts, **more: Any) -> Found:
    """A model of the catalog."""
    return Found(id="m", path=Path("/m.gguf"), files=(), facts=facts, **more)


def made(facts: Facts, *args: str, **more: Any) -> Estimate:
    """The estimate of a model with such arguments."""
    said = estimate(ModelSpec(name="m", path="m.gguf", args=args), found(facts, **more))
    assert said is not None
    return said


def plain(n_ctx: int = 1024, sequences: int = 1, **more: Any) -> Context:
    """A context of one cache for all."""
    return Context(n_ctx=n_ctx, n_ctx_seq=n_ctx, sequences=sequences, unified=True, **more)


@pytest.mark.parametrize(
    ("numbers", "elements"),
    [
        ({}, 8 * 64 * 2),  # without KV heads all heads have keys and values
        ({"attention__head_count_kv": 2}, 2 * 64 * 2),
        ({"attention__head_count_kv": 2, "attention__key_length": 96}, 2 * (96 + 64)),
        ({"attention__head_count_kv": 2, "attention__key_length": 96, "attention__value_length": 32}, 2 * (96 + 32)),
    ],
)
def test_a_layer_keeps_keys_and_values_of_its_heads(numbers: dict[str, int], elements: int) -> None:
    """Four layers of 1024 cells, two bytes each."""
    assert kv_bytes(facts(**numbers), plain()) == 4 * 1024 * elements * 2


def test_a_known_model_by_hand() -> None:
    """SmolLM2-135M: 30 layers of 3 heads of 64, 8192 tokens: 180 MiB, as its log says."""
    smol = facts(block_count=30, embedding_length=576, attention__head_count=9, attention__head_count_kv=3)
    assert kv_bytes(smol, plain(8192)) == 180 * MiB
    assert kv_bytes(smol, plain(8192, type_k="q8_0", type_v="q8_0")) == 180 * MiB * 17 // 32


def test_heads_may_differ_by_layer() -> None:
    """A layer without KV heads keeps nothing; what the list doesn't tell is nothing too."""
    assert kv_bytes(facts(attention__head_count_kv=(1, 0, 2, 0)), plain()) == 1024 * 3 * 64 * 2 * 2
    assert kv_bytes(facts(attention__head_count_kv=(1,)), plain()) == 1024 * 1 * 64 * 2 * 2


def test_without_fused_attention_all_layers_keep_as_many_values() -> None:
    """They are transposed then, and as long as the longest."""
    uneven = facts(attention__head_count_kv=(1, 0, 2, 0))
    assert (
        kv_bytes(uneven, plain(flash="off"))
        == 1024 * 2 * (3 * 64 + 2 * 128)
        == kv_bytes(evolve(uneven, architecture="grok"), plain())
    )


@pytest.mark.parametrize("type_", BLOCKS)
def test_types_come_in_blocks(type_: str) -> None:
    """A row of 128 elements, and one element more."""
    block, size = BLOCKS[type_]
    assert row_bytes(128, type_) == 128 // block * size
    assert row_bytes(129, type_) == row_bytes(128, type_) + size


def test_blocks_are_ggmls() -> None:
    """Bits an element."""
    bits = {type_: 8 * size / block for type_, (block, size) in BLOCKS.items()}
    assert bits == {
        "f32": 32,
        "f16": 16,
        "bf16": 16,
        "q8_0": 8.5,
        "q5_1": 6,
        "q5_0": 5.5,
        "q4_1": 5,
        "q4_0": 4.5,
        "iq4_nl": 4.5,
    }
    assert row_bytes(64, "q9_9") == 128


@pytest.mark.parametrize(
    ("architecture", "numbers", "expected"),
    [
        ("llama", {"attention__sliding_window": 512}, (0, "")),
        ("phi3", {"attention__sliding_window": 512}, (0, "")),
        ("gemma2", {}, (4096, "024")),
        ("gemma2", {"attention__sliding_window": 512}, (512, "024")),
        ("gemma3", {"attention__sliding_window": 512}, (512, "01234")),
        ("gemma3", {}, (0, "")),
        ("gemma3n", {"attention__sliding_window": 512}, (512, "01235")),
        ("gpt-oss", {"attention__sliding_window": 128}, (128, "024")),
        ("cohere2", {"attention__sliding_window": 128}, (128, "01245")),
        ("smallthinker", {"attention__sliding_window": 128}, (4096, "1235")),
        ("llama4", {}, (8192, "01245")),
        ("llama4", {"attention__sliding_window": 0}, (0, "")),
        ("exaone4", {"attention__sliding_window": 512}, (0, "")),  # only the one with 64 layers
        ("lfm2", {"attention__sliding_window": 512}, (512, "012345")),
        ("gemma3", {"attention__sliding_window": 512, "attention__sliding_window_pattern": 3}, (512, "0134")),
        ("gemma4", {"attention__sliding_window": 512}, (512, "")),
        (
            "gemma4",
            {"attention__sliding_window": 512, "attention__sliding_window_pattern": (True, False, True)},
            (512, "02"),
        ),
    ],
)
def test_which_layers_have_a_window(architecture: str, numbers: dict[str, Any], expected: tuple[int, str]) -> None:
    """Six layers; the header's list or number goes before the architecture's own."""
    window, layers = windows(facts(architecture, block_count=6, **numbers), 6)
    assert (window, "".join(map(str, sorted(layers)))) == expected


@pytest.mark.parametrize(
    ("context", "cells"),
    [
        (plain(8192), 1024),  # 500 + 512
        (plain(8192, sequences=4), 2560),  # 4 x 500 + 512, and padded
        (plain(512), 512),
        (plain(8192, ubatch=13), 768),
        (plain(8192, swa_full=True), 8192),
        (Context(n_ctx=8192, n_ctx_seq=2048, sequences=4, unified=False), 1024),
    ],
)
def test_a_windows_cells(context: Context, cells: int) -> None:
    """The window and one batch, in a unified cache one window a sequence."""
    assert window_cells(facts("gemma3", attention__sliding_window=500), context) == cells


def test_shared_and_further_layers() -> None:
    """gemma4's last layers read another's cache; those that predict further tokens have one, to be on the safe side."""
    shared = facts("gemma4", attention__shared_kv_layers=3)
    assert kv_bytes(shared, plain()) == kv_bytes(facts(), plain()) / 4
    assert kv_bytes(facts("glm4moe", nextn_predict_layers=1), plain()) == kv_bytes(facts(), plain())
    assert kv_bytes(facts("gemma3n", block_count=30), plain()) == kv_bytes(facts(block_count=20), plain())


def test_latent_attention_keeps_one_row() -> None:
    """DeepSeek V3: 576 numbers a token and layer; an indexer keeps 128 more; files from before keep all heads."""
    latent = {
        "attention__head_count": 128,
        "attention__head_count_kv": 1,
        "attention__key_length": 576,
        "attention__value_length": 512,
        "attention__key_length_mla": 192,
        "attention__value_length_mla": 128,
    }
    assert kv_bytes(facts("deepseek2", **latent), plain()) == 4 * 1024 * 576 * 2
    indexer = {"attention__indexer__key_length": 128, "attention__indexer__top_k": 2048}
    assert kv_bytes(facts("deepseek32", **latent, **indexer), plain()) == 4 * 1024 * (576 + 128) * 2
    old = {"attention__head_count": 128, "attention__key_length": 192, "attention__value_length": 128}
    assert kv_bytes(facts("deepseek2", **old), plain()) == 4 * 1024 * 128 * (192 + 128) * 2


@pytest.mark.parametrize(
    ("architecture", "numbers", "layers", "floats"),
    [
        ("mamba", {"ssm__conv_kernel": 4, "ssm__inner_size": 512, "ssm__state_size": 16}, 4, 3 * 512 + 16 * 512),
        (
            "mamba2",
            {"ssm__conv_kernel": 4, "ssm__inner_size": 512, "ssm__state_size": 64, "ssm__group_count": 2},
            4,
            3 * (512 + 2 * 2 * 64) + 64 * 512,
        ),
        ("rwkv6", {"wkv__head_size": 64}, 4, 2 * 512 + 512 * 64),
        ("rwkv6qwen2", {"wkv__head_size": 64, "token_shift_count": 1}, 4, 512 + 512 * 64),
        ("lfm2", {"shortconv__l_cache": 3, "attention__head_count_kv": (0, 2, 0, 2)}, 2, 2 * 512),
        (
            "kimi-linear",
            {"kda__head_dim": 32, "ssm__conv_kernel": 4, "attention__head_count_kv": (0, 0, 0, 1)},
            3,
            3 * 3 * 8 * 32 + 32 * 32 * 8,
        ),
        ("qwen3next", {"ssm__inner_size": 512, "ssm__state_size": 64}, 3, 64 * 512),
        ("qwen3next", {"ssm__inner_size": 8, "ssm__state_size": 4, "full_attention_interval": 2}, 2, 32),
        ("nemotron_h", {"ssm__inner_size": 8, "ssm__state_size": 4, "attention__head_count_kv": (0, 0, 2, 0),
                        "feed_forward_length": (0, 64, 0, 0)}, 2, 32),
        ("minimax-01", {"attention__key_length": 32}, 4, 32 * 32 * 8),
        ("llama", {"ssm__inner_size": 512, "ssm__state_size": 16}, 0, 0),
    ],
)  # fmt: skip
def test_recurrent_layers_keep_a_state_of_each_sequence(
    architecture: str, numbers: dict[str, Any], layers: int, floats: int
) -> None:
    """Whatever the context's length."""
    model = facts(architecture, **numbers)
    assert len(recurrent_layers(model)) == layers
    assert state_bytes(model, 3) == 3 * layers * floats * 4
    if layers == 4:
        assert kv_bytes(model, plain()) == 0


def test_the_parts_add_up() -> None:
    """Weights with adapters, caches, what is computed, and a projector where one is loaded."""
    vision = Facts(
        architecture="clip",
        role="projector",
        weights=Bytes(7 * MiB),
        numbers={
            "vision.image_size": 896,
            "vision.patch_size": 14,
            "vision.embedding_length": 1152,
            "vision.feed_forward_length": 4304,
        },
    )
    more = {
        "projector": Path("/mmproj.gguf"),
        "projector_facts": vision,
        "adapters": (Path("/lora.gguf"),),
        "files": (Stamp(Path("/m.gguf"), 9, 1), Stamp(Path("/lora.gguf"), 1000, 1)),
    }
    model = Found(id="m", path=Path("/m.gguf"), facts=facts(), **more)  # type: ignore[arg-type]  # of many types
    said = estimate(ModelSpec(name="m", path="m.gguf"), model)
    assert said is not None
    assert said.weights == 5 * MiB + 1000
    assert said.context.n_ctx == 4096
    assert 190 * MiB < said.projector - 7 * MiB < 220 * MiB
    assert said.total == said.weights + said.kv + said.recurrent + said.compute + said.projector + said.engine
    blind = estimate(ModelSpec(name="m", path="m.gguf", args=("--no-mmproj",)), model)
    assert blind is not None
    assert blind.projector == 0


def test_more_of_anything_is_never_less() -> None:
    """A longer context, a larger batch, more sequences, and attention that isn't fused."""
    small = made(facts(), "-c", "1024", "-np", "1")
    for more in (("-c", "2048"), ("-ub", "1024"), ("-np", "8", "-kvu"), ("-fa", "off"), ("-ctk", "f32")):
        assert made(facts(), "-c", "1024", "-np", "1", *more).total > small.total, more


def test_what_answers_with_vectors_keeps_all_results() -> None:
    """512 tokens with 1000 logits and 512 numbers each, and for a chat model by build the logits once more."""
    chat = made(facts(), "-c", "1024")
    vectors = estimate(ModelSpec(name="m", path="m.gguf", kind="embedding", args=("-c", "1024")), found(facts()))
    assert vectors is not None
    assert vectors.compute - chat.compute >= 512 * (1000 + 512) * 4 - 4 * 1000 * 4


def test_what_nothing_can_be_said_of() -> None:
    """A command of its own, no file, a file that isn't a model, or one that llama.cpp doesn't serve."""
    path = ModelSpec(name="m", path="m.gguf")
    assert estimate(ModelSpec(name="m", path="m.gguf", command=("whisper",)), found(facts())) is None
    assert estimate(path, None) is None
    assert estimate(path, found(evolve(facts(), role="projector"))) is None
    unknown = found(evolve(facts(), kind="unknown"))
    assert estimate(path, unknown) is None
    assert estimate(evolve(path, kind="chat"), unknown) is not None


@pytest.mark.parametrize("architecture", [*RECIPES, *MORE])
def test_every_miniature_has_an_estimate(tmp_path: Path, architecture: str) -> None:
    """Their headers are read as a real one's."""
    model = found_at(miniature(tmp_path, architecture, {**RECIPES, **MORE}[architecture]))
    said = estimate(ModelSpec(name="m", path="m.gguf"), model)
    assert said is not None
    encoder = architecture in ("bert", "gemma-embedding")
    assert (said.kv + said.recurrent > 0) != encoder
    assert said.weights > MiB < said.compute


_KEYS = sorted(
    {
        *("block_count", "embedding_length", "feed_forward_length", "nextn_predict_layers", "expert_used_count"),
        *("attention.head_count", "attention.head_count_kv", "attention.key_length", "attention.value_length"),
        *("attention.sliding_window", "attention.sliding_window_pattern", "attention.shared_kv_layers"),
        *("attention.key_length_mla", "attention.value_length_mla", "attention.indexer.top_k", "kda.head_dim"),
        *("attention.indexer.types", "attention.recurrent_layers", "full_attention_interval", "wkv.head_size"),
        *("ssm.conv_kernel", "ssm.inner_size", "ssm.state_size", "ssm.group_count", "shortconv.l_cache"),
        *("vision.image_size", "vision.patch_size", "altup.num_inputs", "attention.causal"),
    }
)
_SCALARS = st.one_of(
    st.integers(-(2**64), 2**64), st.sampled_from([0, 1, 2, 512]), st.booleans(), st.floats(), st.text(max_size=3)
)
_ARCHITECTURES = sorted({*RECIPES, *MORE, "llama", "deepseek4", "glm-dsa", "minimax-m3", "minimax-01", "grok", "?"})


@pytest.mark.slow
@given(
    st.sampled_from(_ARCHITECTURES),
    st.dictionaries(st.sampled_from(_KEYS), st.one_of(_SCALARS, st.lists(_SCALARS, max_size=9).map(tuple))),
    st.sampled_from([(), ("-fa", "off"), ("-c", "0", "-np", "3"), ("--mmproj", "x")]),
)
def test_a_header_that_lies_breaks_nothing(architecture: str, numbers: dict[str, Any], args: tuple[str, ...]) -> None:
    """Whatever it claims, there is an answer at once, and none of its parts is negative."""
    liar = Facts(architecture=architecture, kind="chat", numbers=numbers)
    said = made(liar, *args, projector_facts=liar)
    assert min(said.weights, said.kv, said.recurrent, said.compute, said.projector) >= 0


def test_the_parts_that_can_be_placed_add_up() -> None:
    """To the estimate, whatever the file has: layers, embeddings of its own or shared, experts, or nothing at all."""
    plain_one, tied = {"token_embd.weight": MiB, "output.weight": MiB // 2}, {"token_embd.weight": MiB}
    for header in (
        facts(),
        evolve(facts(), named=plain_one),
        evolve(facts(expert_count=8), named=tied),
        evolve(facts(block_count=0), named=tied),
        evolve(facts(block_count=3), weights=Bytes(0), named=plain_one),
    ):
        said = made(header, "-c", "2048")
        layout = said.layout
        assert layout is not None
        assert layout.total == said.total
        assert len(layout.weights) == len(layout.caches) == header.numbers["block_count"]
        assert layout.gives == 0


def test_what_is_placed_how() -> None:
    """Input embeddings stay; without an output of its own they are copied to where that is computed."""
    own = made(evolve(facts(), named={"token_embd.weight": MiB, "output.weight": MiB // 2})).layout
    shared = made(evolve(facts(expert_count=8), named={"token_embd.weight": MiB})).layout
    encoder = made(evolve(facts("bert"), named={"token_embd.weight": MiB})).layout
    assert own is not None
    assert shared is not None
    assert encoder is not None
    assert (own.output, own.copied, own.experts) == (MiB // 2, 0, False)
    assert (shared.output, shared.copied, shared.experts) == (0, MiB, True)
    assert encoder.copied == 0
    assert sum(own.weights) == 5 * MiB - MiB - MiB // 2
    assert own.host - shared.host == 0


def test_what_a_smaller_context_would_save() -> None:
    """Down to 4096 tokens, of each sequence if each has its own cache; nothing if the context was set."""
    long = evolve(facts(), context_length=16384)
    for args, share in (((), 3 / 4), (("-np", "2"), 1 / 2), (("-c", "16384"), 0), (("--fit", "off"), 0)):
        said = made(long, *args)
        assert said.layout is not None
        assert said.layout.gives == round(said.kv * share)
