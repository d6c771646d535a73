"""Which GGUFs only Ollama's build can run, and where that build is found."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from gguf_files import tiny_llama, write_gguf

from llmsup.catalog.gguf.facts import Facts
from llmsup.catalog.gguf.reader import read_header
from llmsup.catalog.gguf.summary import summarise
from llmsup.catalog.ollama.compat import ollama_only, sees_with_itself


def facts_of(
    path: Path, architecture: str, keys: dict[str, Any], tensors: tuple[str, ...], tokens: int = 4, rows: int = 4
) -> Facts:
    """What the catalog knows of a GGUF with these keys (without the architecture's prefix) and tensors."""
    metadata = {
        "general.architecture": architecture,
        **{f"{architecture}.{key}": value for key, value in {"block_count": 2, "context_length": 64, **keys}.items()},
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.tokens": [str(i) for i in range(tokens)],
    }
    usual = ("token_embd.weight", "output_norm.weight", "blk.0.attn_q.weight", "blk.1.ffn_up.weight")
    shapes = {"per_layer_token_embd.weight": (64, rows)}
    write_gguf(path, metadata, [(name, shapes.get(name, (64, 4)), "F16") for name in (*usual, *tensors)])
    return summarise(read_header(path), path.stat().st_size)


OF_LLAMA_CPP: list[tuple[str, dict[str, Any], tuple[str, ...]]] = [
    ("llama", {}, ()),
    ("gemma3", {"attention.layer_norm_rms_epsilon": 1e-6, "rope.freq_base": 1e6}, ()),
    ("gemma3n", {}, ("per_layer_token_embd.weight",)),
    ("gemma4", {}, ()),
    ("gemma-embedding", {}, ("dense_2.weight", "dense_3.weight")),
    ("gpt-oss", {}, ("blk.0.attn_sinks.weight", "blk.0.post_attention_norm.weight")),
    ("lfm2", {}, ("token_embd_norm.weight",)),
    ("laguna", {"rope.freq_base_swa": 1e4, "rope.dimension_count_swa": 64}, ("blk.0.attn_gate.weight",)),
    ("llama4", {}, ()),
    ("mistral3", {"rope.scaling.yarn_beta_fast": 32.0, "attention.temperature_scale": 0.1}, ()),
    ("nemotron_h_moe", {"moe_latent_size": 64}, ("blk.1.ffn_latent_down.weight",)),
    ("olmo2", {}, ()),
    ("qwen2vl", {"rope.dimension_sections": [16, 24, 24, 0]}, ()),
    ("qwen35", {"rope.dimension_sections": [11, 11, 10, 0]}, ("blk.0.ssm_dt.bias",)),
    ("qwen35moe", {"rope.dimension_sections": [11, 11, 10, 0]}, ("blk.0.ssm_dt.bias", "blk.1.nextn.eh_proj.weight")),
    ("qwen3next", {}, ("blk.0.ssm_dt.bias",)),
    ("qwen3vl", {"rope.dimension_sections": [24, 20, 20, 0], "n_deepstack_layers": 3}, ()),
    ("qwen3vlmoe", {"rope.dimension_sections": [24, 20, 20, 0]}, ()),
]
"""As llama.cpp's converter writes them."""

OF_OLLAMA: list[tuple[str, dict[str, Any], tuple[str, ...], str]] = [
    ("deepseekocr", {}, ("s.blk.0.norm1.weight",), "'deepseekocr' is Ollama's own name"),
    ("glm4moelite", {}, (), "'glm4moelite' is Ollama's own name"),
    ("glmocr", {}, (), "'glmocr' is Ollama's own name"),
    ("gptoss", {}, ("blk.0.attn_sinks",), "'gptoss' is Ollama's own name"),
    ("nemotron_h_omni", {}, (), "'nemotron_h_omni' is Ollama's own name"),
    ("olmo3", {}, (), "'olmo3' is Ollama's own name"),
    ("qwen25vl", {"rope.mrope_section": [16, 24, 24]}, (), "'qwen25vl' is Ollama's own name"),
    ("gemma3", {"rope.local.freq_base": 1e4}, (), "with the key gemma3.rope.local.freq_base"),
    ("gemma3", {}, (), "without the key gemma3.attention.layer_norm_rms_epsilon"),
    ("gemma3", {}, ("v.blk.0.attn_q.weight", "mm.mm_input_projection.weight"), "projector is in the model's own file"),
    ("gemma3", {"attention.layer_norm_rms_epsilon": 1e-6}, ("dense.0.weight",), "with tensors called 'dense.0.weight'"),
    ("gemma4", {}, ("a.blk.0.attn_q.weight",), "with tensors called 'a.attn_q.weight'"),
    ("gemma4", {}, ("v.patch_embd.weight",), "projector is in the model's own file"),
    ("lfm2", {}, (), "with another name for 'token_embd_norm'"),
    ("laguna", {"rope.swa.freq_base": 1e4}, (), "with the key laguna.rope.swa.freq_base"),
    ("laguna", {}, ("blk.0.attn_g.weight",), "with tensors called 'attn_g.weight'"),
    ("llama4", {}, ("mm.linear_1.weight",), "projector is in the model's own file"),
    ("mistral3", {"rope.scaling.beta_fast": 32.0}, (), "with the key mistral3.rope.scaling.beta_fast"),
    ("mistral3", {"rope.scaling_beta": 0.1}, (), "with the key mistral3.rope.scaling_beta"),
    ("nemotron_h_moe", {}, ("blk.1.ffn_latent_in.weight",), "with tensors called 'ffn_latent_in.weight'"),
    ("nemotron_h_moe", {}, ("mtp.layers.0.mixer.experts.7.up_proj",), "with tensors called 'mtp."),
    ("qwen35", {}, ("blk.0.ssm_dt",), "with tensors called 'ssm_dt'"),
    ("qwen35", {"rope.dimension_sections": [11, 11, 10]}, (), "three of the four rope.dimension_sections"),
    ("qwen35moe", {}, ("mtp.fc.weight",), "with tensors called 'mtp.fc.weight'"),
    ("qwen35moe", {"vision.block_count": 27}, (), "projector is in the model's own file"),
    ("qwen3next", {}, ("blk.0.ssm_dt",), "with tensors called 'ssm_dt'"),
    ("qwen3vl", {}, (), "without the key qwen3vl.rope.dimension_sections"),
    ("qwen3vlmoe", {}, (), "without the key qwen3vlmoe.rope.dimension_sections"),
]
"""As Ollama's converter wrote them, one mark each; and what is said of them."""


@pytest.mark.parametrize(("architecture", "keys", "tensors"), OF_LLAMA_CPP)
def test_files_of_llama_cpps_converter(
    tmp_path: Path, architecture: str, keys: dict[str, Any], tensors: tuple[str, ...]
) -> None:
    """What llama.cpp's converter writes runs everywhere, wherever it is stored."""
    assert ollama_only(facts_of(tmp_path / "x.gguf", architecture, keys, tensors)) == ""


@pytest.mark.parametrize(("architecture", "keys", "tensors", "why"), OF_OLLAMA)
def test_files_of_ollamas_converter(
    tmp_path: Path, architecture: str, keys: dict[str, Any], tensors: tuple[str, ...], why: str
) -> None:
    """Each mark alone is enough, and the clause names it."""
    said = ollama_only(facts_of(tmp_path / "x.gguf", architecture, keys, tensors))
    assert why in said
    assert not said.endswith(".")


@pytest.mark.parametrize(("tokens", "marked"), [(262400, True), (262144, False)])
def test_gemma3n_with_a_shorter_table(tmp_path: Path, tokens: int, marked: bool) -> None:
    """Ollama's Gemma 3n has per-layer embeddings for the text's tokens only; seen from the table's bytes."""
    named = ("per_layer_token_embd.weight",)
    facts = facts_of(tmp_path / "x.gguf", "gemma3n", {}, named, tokens=tokens, rows=262144)
    assert bool(ollama_only(facts)) is marked


def test_padded_gemma3n(tmp_path: Path) -> None:
    """llama.cpp's newer converter pads that table to all 262400 tokens."""
    named = ("per_layer_token_embd.weight",)
    assert ollama_only(facts_of(tmp_path / "x.gguf", "gemma3n", {}, named, tokens=262400, rows=262400)) == ""


@pytest.mark.parametrize("architecture", ["phi4", "some-new-one", ""])
def test_what_nobody_translates(architecture: str) -> None:
    """A projector inside is no mark by itself: Ollama reads only those of the architectures that it knows so."""
    facts = Facts(architecture=architecture, vision_inside=True, named={"v.patch_embd.weight": 8, "mtp.fc.weight": 8})
    assert ollama_only(facts) == ""


@pytest.mark.parametrize(
    ("architecture", "tensor", "sees"),
    [("gemma3", "v.patch_embd.weight", True), ("gemma3", "blk.1.x.weight", False), ("gptoss", "v.x.weight", False)],
)
def test_its_own_projector(tmp_path: Path, architecture: str, tensor: str, sees: bool) -> None:
    """A file is its own projector if it has one inside, of a kind that Ollama translates."""
    assert sees_with_itself(facts_of(tmp_path / "x.gguf", architecture, {}, (tensor,))) is sees


def test_a_part_of_a_split_model(tmp_path: Path) -> None:
    """The second of several files has no keys of its own; Ollama's converter never splits."""
    facts = facts_of(tmp_path / "x.gguf", "gemma3", {}, ())
    assert ollama_only(facts)
    assert ollama_only(evolve(facts, split=(1, 3))) == ""


@pytest.mark.parametrize(
    ("keys", "marked"),
    [
        ({"has_llava_projector": True, "has_vision_encoder": True}, True),
        ({"has_vision_encoder": True, "projector_type": "mlp"}, False),
        ({"has_audio_encoder": True}, False),
        ({"has_vision_encoder": True, "vision.projector_type": "gemma4v"}, False),
    ],
)
def test_llavas_projectors(tmp_path: Path, keys: dict[str, Any], marked: bool) -> None:
    """The first projectors said nothing of their type, and llama.cpp no longer guesses."""
    metadata = {"general.architecture": "clip", **{f"clip.{key}": value for key, value in keys.items()}}
    path = write_gguf(tmp_path / "mmproj.gguf", metadata, [("v.patch_embd.weight", (64, 4), "F16")])
    facts = summarise(read_header(path), path.stat().st_size)
    assert facts.role == "projector"
    assert bool(ollama_only(facts)) is marked


def test_adapters_are_not_asked(tmp_path: Path) -> None:
    """A LoRA for one of those models is no model."""
    path = tiny_llama(tmp_path / "x.gguf", **{"general.type": "adapter", "general.architecture": "gptoss"})
    assert ollama_only(summarise(read_header(path), path.stat().st_size)) == ""
