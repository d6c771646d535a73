"""What a file is for and what its model can be asked for; and what else is kept of a header."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from gguf_files import TYPES, Tensors, tiny_llama, write_gguf
from gguf_zoo import PLAIN, THINKING, TOOLS, ZOO, Specimen
from real_engines import smollm2

from llmsup.catalog.gguf.facts import Facts
from llmsup.catalog.gguf.reader import read_header
from llmsup.catalog.gguf.summary import summarise


def facts(path: Path) -> Facts:
    return summarise(read_header(path), path.stat().st_size, file_name=path.name)


def made(tmp_path: Path, metadata: dict[str, Any], tensors: Tensors = (), name: str = "m.gguf") -> Facts:
    return facts(write_gguf(tmp_path / name, metadata, tensors))


@pytest.mark.parametrize("specimen", [pytest.param(specimen, id=name) for name, specimen in ZOO.items()])
def test_every_specimen_is_taken_for_what_it_is(tmp_path: Path, specimen: Specimen) -> None:
    """Real models' headers, by the header alone."""
    seen = facts(specimen.write(tmp_path / "m.gguf"))
    assert (seen.role, seen.kind, seen.pooling) == (specimen.role, specimen.kind, specimen.pooling)
    assert seen.vision_inside == specimen.vision_inside


@pytest.mark.parametrize("specimen", [pytest.param(specimen, id=name) for name, specimen in ZOO.items()])
def test_every_specimen_could_be_real(specimen: Specimen) -> None:
    """A row holds whole blocks of its type; llama.cpp refuses a file in which it doesn't."""
    assert not [name for name, shape, type_ in specimen.tensors if shape[0] % TYPES[type_][1]]


def test_the_real_demo_model() -> None:
    """All of it."""
    seen = facts(smollm2())
    assert (seen.architecture, seen.role, seen.kind, seen.pooling) == ("llama", "model", "chat", "")
    assert (seen.name, seen.quantisation) == ("Smollm2 135M 8k Lc100K Mix1 Ep2", "Q4_1")
    assert (seen.context_length, seen.vocabulary, seen.split) == (8192, 49152, (0, 1))
    assert (seen.parameters, seen.weights) == (134_515_008, 96_576_768)
    assert seen.numbers == {
        "general.type": "model",
        "general.organization": "HuggingFaceTB",
        "general.finetune": "8k-lc100k-mix1-ep2",
        "general.basename": "smollm2",
        "general.size_label": "135M",
        "general.file_type": 3,
        "block_count": 30,
        "context_length": 8192,
        "embedding_length": 576,
        "feed_forward_length": 1536,
        "attention.head_count": 9,
        "attention.head_count_kv": 3,
        "rope.freq_base": 100000.0,
        "attention.layer_norm_rms_epsilon": pytest.approx(1e-5),
        "vocab_size": 49152,
        "rope.dimension_count": 64,
    }
    assert seen.named == {"token_embd.weight": 49152 * 576 // 32 * 34, "output_norm.weight": 2304}
    assert seen.layer_tensors == {f"{name}.weight" for name in (
        "attn_norm", "attn_q", "attn_k", "attn_v", "attn_output", "ffn_norm", "ffn_gate", "ffn_up", "ffn_down")
    }  # fmt: skip
    assert (seen.tools, seen.thinking, seen.vision_inside) == (False, False, False)


def test_numbers_of_a_hybrid_are_kept_layer_by_layer(tmp_path: Path) -> None:
    """Layers without heads have no attention; a memory estimate needs to know which."""
    seen = facts(ZOO["granitehybrid"].write(tmp_path / "m.gguf"))
    heads = seen.numbers["attention.head_count_kv"]
    assert isinstance(heads, tuple)
    assert (len(heads), sum(1 for count in heads if count)) == (40, 4)
    assert seen.numbers["ssm.state_size"] == 128
    pattern = facts(ZOO["gemma3n"].write(tmp_path / "n.gguf")).numbers["attention.sliding_window_pattern"]
    assert pattern == tuple(layer % 5 != 4 for layer in range(35))


def test_a_vocabulary_of_any_size_leaves_the_facts_as_they_are(tmp_path: Path) -> None:
    """The tokenizer's arrays are counted and not kept."""
    small = facts(ZOO["llama"].write(tmp_path / "a.gguf"))
    large = facts(ZOO["llama"].write(tmp_path / "b.gguf", vocabulary=5000))
    assert small == large
    assert not [key for key in large.numbers if "tokenizer" in key]


def test_a_projector_keeps_what_pairs_it(tmp_path: Path) -> None:
    """Its own values without the prefix, as for any architecture."""
    seen = facts(ZOO["mmproj"].write(tmp_path / "m.gguf"))
    assert seen.numbers["projector_type"] == "gemma3"
    assert seen.numbers["vision.block_count"] == 27
    assert seen.numbers["has_vision_encoder"] is True
    assert seen.layer_tensors == {"v.attn_q.weight", "v.ffn_up.weight"}


@pytest.mark.parametrize(
    ("template", "expected"),
    [("", (False, False)), (PLAIN, (False, False)), (TOOLS, (True, False)), (THINKING, (True, True))],
)
def test_the_chat_template(tmp_path: Path, template: str, expected: tuple[bool, bool]) -> None:
    """What it mentions, the model was trained for."""
    seen = facts(tiny_llama(tmp_path / "m.gguf", **{"tokenizer.chat_template": template}))
    assert (seen.tools, seen.thinking) == expected


def test_a_second_template_counts_too(tmp_path: Path) -> None:
    """Some models bring one of their own for tools."""
    seen = facts(tiny_llama(tmp_path / "m.gguf", **{"tokenizer.chat_template.tool_use": TOOLS}))
    assert seen.tools


@pytest.mark.parametrize(
    ("more", "kind", "pooling"),
    [
        ({"llama.pooling_type": 0}, "chat", ""),
        ({"llama.pooling_type": 1}, "embedding", "mean"),
        ({"llama.pooling_type": 2}, "embedding", "cls"),
        ({"llama.pooling_type": 3}, "embedding", "last"),
        ({"llama.pooling_type": 4}, "rerank", "rank"),
        ({"llama.pooling_type": 9}, "chat", ""),
        ({"llama.pooling_type": "mean"}, "chat", ""),
        ({"llama.attention.causal": False}, "embedding", ""),
        ({"llama.attention.causal": True}, "chat", ""),
        ({"llama.classifier.output_labels": ["no", "yes"]}, "rerank", "rank"),
        ({"general.name": "Nomic Embed 7B"}, "embedding", ""),
        ({"general.name": "Embedded C Coder"}, "chat", ""),
        ({"general.name": "Nomic Embed 7B", "llama.pooling_type": 0}, "chat", ""),
        ({"diffusion.shift_logits": True, "llama.attention.causal": False}, "unknown", ""),
        ({"tokenizer.ggml.model": "none"}, "unknown", ""),
        ({"llama.block_count": 0}, "unknown", ""),
        ({"llama.block_count": "many"}, "unknown", ""),
        ({"general.architecture": 7}, "unknown", ""),
    ],
)
def test_what_a_model_can_be_asked_for(tmp_path: Path, more: dict[str, Any], kind: str, pooling: str) -> None:
    """The same model, with one thing changed."""
    seen = facts(tiny_llama(tmp_path / "m.gguf", **more))
    assert (seen.kind, seen.pooling) == (kind, pooling)


def test_a_file_with_a_vocabulary_alone_is_no_model(tmp_path: Path) -> None:
    """llama.cpp ships such files for its own tests; but the first part of a split model may have no tensors either."""
    metadata = {"general.architecture": "llama", "llama.block_count": 2, "tokenizer.ggml.tokens": ["a"]}
    assert made(tmp_path, metadata).kind == "unknown"
    first = made(tmp_path, {**metadata, "split.no": 0, "split.count": 3, "split.tensors.count": 20})
    assert (first.kind, first.split) == ("chat", (0, 3))


@pytest.mark.parametrize(
    ("metadata", "split"),
    [({"split.no": 2, "split.count": 3}, (2, 3)), ({"split.no": 3, "split.count": 3}, (0, 1)),
     ({"split.no": 1, "split.count": 2**40}, (0, 1)), ({"split.no": 1}, (0, 1)), ({}, (0, 1))],
)  # fmt: skip
def test_parts(tmp_path: Path, metadata: dict[str, Any], split: tuple[int, int]) -> None:
    """A later part says nothing but which one it is; nonsense is no part."""
    seen = made(tmp_path, metadata, [("blk.9.ffn_up.weight", (256, 256), "Q4_K")], name="lora-mmproj.gguf")
    assert seen.split == split
    assert seen.role == ("model" if "split.count" in metadata else "projector")


@pytest.mark.parametrize(
    ("name", "role"),
    [("mmproj-x.gguf", "projector"), ("X.imatrix.gguf", "imatrix"), ("x-lora-f16.gguf", "adapter"),
     ("explorations.gguf", "model"), ("x.gguf", "model")],
)  # fmt: skip
def test_the_name_is_asked_where_the_header_is_silent(tmp_path: Path, name: str, role: str) -> None:
    """And only there."""
    assert made(tmp_path, {}, [("x", (256,), "F32")], name=name).role == role
    assert facts(tiny_llama(tmp_path / name)).role == "model"


def test_an_embedder_by_its_file_name(tmp_path: Path) -> None:
    """Old conversions don't say how they pool."""
    assert facts(tiny_llama(tmp_path / "SFR-Embedding-Mistral-Q4_K_M.gguf")).kind == "embedding"


def test_a_model_with_its_mtp_layer_is_a_model(tmp_path: Path) -> None:
    """Only a file without any other layer is a draft."""
    more: dict[str, Any] = {"llama.block_count": 2, "llama.nextn_predict_layers": 1}
    assert facts(tiny_llama(tmp_path / "m.gguf", **more)).role == "model"
    assert facts(ZOO["mtp"].write(tmp_path / "n.gguf")).role == "draft"


@pytest.mark.parametrize(
    ("declared", "expected"),
    [(15, "Q4_K_M"), (30, "IQ4_XS"), (38, "MXFP4"), (40, "Q1_0"), (0, "F32"), (5, "Q4_K"), (999, "Q4_K"),
     ("Q9", "Q4_K"), (True, "Q4_K")],
)  # fmt: skip
def test_quantisation(tmp_path: Path, declared: Any, expected: str) -> None:
    """As declared; else the type that holds most bytes."""
    assert facts(tiny_llama(tmp_path / "m.gguf", **{"general.file_type": declared})).quantisation == expected


def test_quantisation_of_nothing_we_know(tmp_path: Path) -> None:
    """A number of ggml's is no name for people."""
    assert made(tmp_path, {}, [("x", (256,), "type 77")]).quantisation == ""
    assert made(tmp_path, {}).quantisation == ""


def test_what_a_file_says_cannot_fill_the_cache(tmp_path: Path) -> None:
    """Far more keys, items and names than any model has, and text that would drive a terminal."""
    metadata: dict[str, Any] = {"general.architecture": "x", "general.name": "A\x1b[2J\nB" + "c" * 5000}
    metadata |= {f"x.{'long' * 100}": 1, "x.\x1bkey": 1, "x.text": "\x1b]0;title\x07", "x.nan": float("nan")}
    metadata |= {f"x.list{i}": list(range(1000)) for i in range(20)}
    metadata |= {f"x.key{i}": i for i in range(1000)}
    tensors = [(f"blk.0.t{i}", (i + 1,), "F32") for i in range(1000)] + [
        (f"n{i}", (i + 1,), "F32") for i in range(1000)
    ]
    seen = made(tmp_path, metadata, tensors)
    assert seen.name.startswith("A [2J Bccc")
    assert len(seen.name) == 200
    assert seen.numbers["text"] == "]0;title"
    assert not {"nan", "\x1bkey"} & set(seen.numbers)
    assert len(seen.numbers) <= 256
    assert sum(len(value) for value in seen.numbers.values() if isinstance(value, tuple)) <= 8192
    assert len(seen.named) == len(seen.layer_tensors) == 256
    assert max(seen.named.values()) == 4000
    assert seen.weights == sum(4 * (i + 1) for i in range(1000)) * 2


def test_tensors_that_share_their_data_weigh_no_more_than_the_file(tmp_path: Path) -> None:
    """A table may point to the same place again and again."""
    header = read_header(tiny_llama(tmp_path / "m.gguf"))
    assert summarise(header, 1000).weights == 1000
