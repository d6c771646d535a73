"""Headers as real models have them, one of a kind, and what each should be taken for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from attrs import Factory, frozen
from gguf_files import write_gguf

from llmsup.catalog.gguf.facts import FoundKind, Role

Shaped = tuple[tuple[int, ...], str]
Line = tuple[str, tuple[int, ...], str]
Layer = Mapping[str, Shaped]

PLAIN = "{% for message in messages %}{{ message.content }}{% endfor %}"
TOOLS = PLAIN + "{% if tools %}<tool_call>{% endif %}"
THINKING = TOOLS + "{{ '<think>' }}"


@frozen(kw_only=True)
class Specimen:
    """One model's header, less its vocabulary.

    Attributes:
        metadata: All but the tokenizer's arrays.
        tensors: The whole table; it takes no room on the disk.
        tokenizer: `tokenizer.ggml.model`, or "" for a file without one.
        role, kind, pooling, vision_inside: What the catalog should make of it.
    """

    metadata: Mapping[str, Any]
    tensors: tuple[Line, ...]
    tokenizer: str = "gpt2"
    role: Role = "model"
    kind: FoundKind = "chat"
    pooling: str = ""
    vision_inside: bool = False

    def write(self, path: Path, *, vocabulary: int = 8, **more: Any) -> Path:
        """Write it, with so many tokens and as many merges; `more` is metadata that is added or replaced."""
        metadata = {**self.metadata, **more}
        if self.tokenizer:
            metadata["tokenizer.ggml.model"] = self.tokenizer
            metadata["tokenizer.ggml.tokens"] = [f"token{i}" for i in range(vocabulary)]
            metadata["tokenizer.ggml.scores"] = [0.0] * vocabulary
            metadata["tokenizer.ggml.token_type"] = [1] * vocabulary
            metadata["tokenizer.ggml.merges"] = [f"a{i} b{i}" for i in range(vocabulary)]
        return write_gguf(path, metadata, self.tensors)


def _head(architecture: str, name: str, file_type: int, values: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "general.architecture": architecture,
        "general.type": "model",
        "general.name": name,
        "general.file_type": file_type,
        "general.quantization_version": 2,
        **{f"{architecture}.{key}": value for key, value in values.items()},
    }


def _layers(count: int, layer: Layer, *, first: int = 0, prefix: str = "") -> Iterable[Line]:
    for number in range(first, first + count):
        for name, (shape, type_) in layer.items():
            yield f"{prefix}blk.{number}.{name}.weight", shape, type_


def _attention(embedding: int, heads: int, heads_kv: int, key: int, type_: str) -> dict[str, Shaped]:
    return {
        "attn_norm": ((embedding,), "F32"),
        "attn_q": ((embedding, heads * key), type_),
        "attn_k": ((embedding, heads_kv * key), type_),
        "attn_v": ((embedding, heads_kv * key), type_),
        "attn_output": ((heads * key, embedding), type_),
    }


def _feed_forward(embedding: int, width: int, type_: str, experts: int = 0) -> dict[str, Shaped]:
    down = "Q8_0" if width % 256 and type_ == "Q4_K" else type_  # as llama.cpp's quantize does it
    if experts:
        return {
            "ffn_norm": ((embedding,), "F32"),
            "ffn_gate_inp": ((embedding, experts), "F32"),
            "ffn_gate_exps": ((embedding, width, experts), type_),
            "ffn_up_exps": ((embedding, width, experts), type_),
            "ffn_down_exps": ((width, embedding, experts), down),
        }
    return {
        "ffn_norm": ((embedding,), "F32"),
        "ffn_gate": ((embedding, width), type_),
        "ffn_up": ((embedding, width), type_),
        "ffn_down": ((width, embedding), down),
    }


@frozen(kw_only=True)
class _Decoder:
    """The usual transformer, as most of them are."""

    architecture: str
    name: str
    blocks: int
    context: int
    embedding: int
    width: int
    heads: int
    heads_kv: int
    vocabulary: int
    key: int = 128
    experts: int = 0
    type: str = "Q4_K"
    file_type: int = 15  # Q4_K_M
    tied: bool = False
    template: str = TOOLS
    more: Mapping[str, Any] = Factory(dict)
    layer: Layer = Factory(dict)
    extra: tuple[Line, ...] = ()

    def specimen(self, **expected: Any) -> Specimen:
        values = {
            "block_count": self.blocks,
            "context_length": self.context,
            "embedding_length": self.embedding,
            "feed_forward_length": self.width,
            "attention.head_count": self.heads,
            "attention.head_count_kv": self.heads_kv,
            "attention.key_length": self.key,
            "attention.value_length": self.key,
            "attention.layer_norm_rms_epsilon": 1e-6,
            "rope.freq_base": 1e6,
            "vocab_size": self.vocabulary,
            **({"expert_count": self.experts, "expert_used_count": 8} if self.experts else {}),
            **self.more,
        }
        layer = {
            **_attention(self.embedding, self.heads, self.heads_kv, self.key, self.type),
            **_feed_forward(self.embedding, self.width, self.type, self.experts),
            **self.layer,
        }
        ends = "Q6_K" if self.type == "Q4_K" else "Q8_0"
        tensors = (
            ("token_embd.weight", (self.embedding, self.vocabulary), ends),
            *_layers(self.blocks, layer),
            ("output_norm.weight", (self.embedding,), "F32"),
            *(() if self.tied else (("output.weight", (self.embedding, self.vocabulary), ends),)),
            *self.extra,
        )
        metadata = _head(self.architecture, self.name, self.file_type, values)
        if self.template:
            metadata["tokenizer.chat_template"] = self.template
        return Specimen(metadata=metadata, tensors=tensors, **expected)


def _embedder(architecture: str, name: str, *, blocks: int, embedding: int, vocabulary: int, **more: Any) -> Specimen:
    """A BERT and its kin: attention both ways, no chat template, an encoder's pooling."""
    expected = {"kind": "embedding", **{key: more.pop(key) for key in ("kind", "pooling") if key in more}}
    extra = more.pop("extra", ())
    values = {
        "block_count": blocks, "context_length": 512, "embedding_length": embedding, "vocab_size": vocabulary,
        "feed_forward_length": 4 * embedding, "attention.head_count": embedding // 64,
        "attention.layer_norm_epsilon": 1e-12, "attention.causal": False, **more,
    }  # fmt: skip
    layer = {
        **_attention(embedding, embedding // 64, embedding // 64, 64, "F16"),
        "ffn_up": ((embedding, 4 * embedding), "F16"),
        "ffn_down": ((4 * embedding, embedding), "F16"),
    }
    tensors = (("token_embd.weight", (embedding, vocabulary), "F16"), *_layers(blocks, layer), *extra)
    return Specimen(metadata=_head(architecture, name, 1, values), tensors=tensors, tokenizer="bert", **expected)


def _state_space(architecture: str, name: str, *, blocks: int, embedding: int, state: int, **more: Any) -> Specimen:
    inner = 2 * embedding
    values = {
        "block_count": blocks, "context_length": 1048576, "embedding_length": embedding, "feed_forward_length": 0,
        "attention.head_count": 0, "ssm.conv_kernel": 4, "ssm.inner_size": inner, "ssm.state_size": state,
        "ssm.time_step_rank": embedding // 16, "vocab_size": 50288, **more,
    }  # fmt: skip
    layer: Layer = {"attn_norm": ((embedding,), "F32"), "ssm_in": ((embedding, 2 * inner), "Q8_0"),
                    "ssm_conv1d": ((4, inner), "F32"), "ssm_out": ((inner, embedding), "Q8_0")}  # fmt: skip
    tensors = (("token_embd.weight", (embedding, 50288), "Q8_0"), *_layers(blocks, layer))
    return Specimen(metadata=_head(architecture, name, 7, values), tensors=tensors)


def _other(architecture: str, tensors: Iterable[Line], **expected: Any) -> Specimen:
    """A file that is no language model."""
    metadata = {"general.architecture": architecture, "general.file_type": 1, **expected.pop("metadata", {})}
    return Specimen(metadata=metadata, tensors=tuple(tensors), tokenizer="", kind="unknown", **expected)


_HYBRID_KV = [4 if layer in (5, 15, 25, 35) else 0 for layer in range(40)]
_LFM2_KV = [8 if layer in (2, 5, 8, 10, 12, 14) else 0 for layer in range(16)]

ZOO: Mapping[str, Specimen] = {
    "llama": _Decoder(
        architecture="llama", name="Meta Llama 3.1 8B Instruct", blocks=32, context=131072, embedding=4096,
        width=14336, heads=32, heads_kv=8, vocabulary=128256,
        extra=(("rope_freqs.weight", (64,), "F32"),)).specimen(),
    "mistral": _Decoder(
        architecture="llama", name="Mistral 7B Instruct v0.3", blocks=32, context=32768, embedding=4096, width=14336,
        heads=32, heads_kv=8, vocabulary=32768, template=PLAIN).specimen(tokenizer="llama"),
    "qwen2": _Decoder(
        architecture="qwen2", name="Qwen2.5 7B Instruct", blocks=28, context=32768, embedding=3584, width=18944,
        heads=28, heads_kv=4, vocabulary=152064).specimen(),
    "qwen3": _Decoder(
        architecture="qwen3", name="Qwen3 4B", blocks=36, context=40960, embedding=2560, width=9728, heads=32,
        heads_kv=8, vocabulary=151936, tied=True, template=THINKING,
        layer={"attn_q_norm": ((128,), "F32"), "attn_k_norm": ((128,), "F32")}).specimen(),
    "qwen3moe": _Decoder(
        architecture="qwen3moe", name="Qwen3 30B A3B", blocks=48, context=40960, embedding=2048, width=768, heads=32,
        heads_kv=4, vocabulary=151936, experts=128, template=THINKING,
        more={"expert_feed_forward_length": 768}).specimen(),
    "qwen3next": _Decoder(
        architecture="qwen3next", name="Qwen3 Next 80B A3B", blocks=48, context=262144, embedding=2048, width=512,
        heads=16, heads_kv=2, key=256, vocabulary=151936, experts=512, template=THINKING,
        more={"full_attention_interval": 4, "ssm.conv_kernel": 4, "ssm.inner_size": 4096, "ssm.state_size": 128,
              "ssm.group_count": 16, "ssm.time_step_rank": 32}).specimen(),
    "gemma3": _Decoder(
        architecture="gemma3", name="Gemma 3 12b It", blocks=48, context=131072, embedding=3840, width=15360, heads=16,
        heads_kv=8, key=256, vocabulary=262208, tied=True, template=PLAIN,
        more={"attention.sliding_window": 1024}).specimen(tokenizer="llama"),
    "gemma3n": _Decoder(
        architecture="gemma3n", name="Gemma 3n E4B It", blocks=35, context=32768, embedding=2048, width=16384, heads=8,
        heads_kv=2, key=256, vocabulary=262144, tied=True, template=PLAIN,
        more={"attention.sliding_window": 512, "attention.shared_kv_layers": 15, "altup.num_inputs": 4,
              "embedding_length_per_layer_input": 256, "activation_sparsity_scale": [1.5] * 10 + [-1.5] * 25,
              "attention.sliding_window_pattern": [layer % 5 != 4 for layer in range(35)]},
        extra=(("per_layer_token_embd.weight", (8960, 262144), "Q8_0"),)).specimen(tokenizer="llama"),
    "gpt-oss": _Decoder(
        architecture="gpt-oss", name="Gpt Oss 20b", blocks=24, context=131072, embedding=2880, width=2880, heads=64,
        heads_kv=8, key=64, vocabulary=201088, experts=32, type="MXFP4", file_type=38,
        more={"attention.sliding_window": 128, "expert_feed_forward_length": 2880},
        extra=(("rope_freqs.weight", (32,), "F32"),)).specimen(),
    "phi3": _Decoder(
        architecture="phi3", name="Phi 3.5 Mini Instruct", blocks=32, context=131072, embedding=3072, width=8192,
        heads=32, heads_kv=32, key=96, vocabulary=32064, template=PLAIN,
        more={"attention.sliding_window": 262144, "rope.scaling.original_context_length": 4096},
        extra=(("rope_factors_long.weight", (48,), "F32"),)).specimen(tokenizer="llama"),
    "deepseek2": _Decoder(
        architecture="deepseek2", name="DeepSeek V2 Lite Chat", blocks=27, context=163840, embedding=2048, width=1408,
        heads=16, heads_kv=1, key=576, vocabulary=102400, experts=64,
        more={"attention.kv_lora_rank": 512, "attention.value_length": 512, "attention.key_length_mla": 192,
              "attention.value_length_mla": 128, "leading_dense_block_count": 1, "rope.dimension_count": 64},
        layer={"attn_k_b": ((128, 512, 16), "Q8_0"), "attn_v_b": ((512, 128, 16), "Q8_0")}).specimen(),
    "granitehybrid": _Decoder(
        architecture="granitehybrid", name="Granite 4.0 H Small", blocks=40, context=131072, embedding=4096,
        width=1536, heads=32, heads_kv=8, vocabulary=100352, experts=72, tied=True,
        more={"attention.head_count_kv": _HYBRID_KV, "ssm.conv_kernel": 4, "ssm.inner_size": 8192,
              "ssm.state_size": 128, "ssm.group_count": 1, "ssm.time_step_rank": 128}).specimen(),
    "lfm2": _Decoder(
        architecture="lfm2", name="LFM2 1.2B", blocks=16, context=128000, embedding=2048, width=8192, heads=32,
        heads_kv=8, key=64, vocabulary=65536, tied=True,
        more={"attention.head_count_kv": _LFM2_KV, "shortconv.l_cache": 3}).specimen(),
    "mamba": _state_space("mamba", "Mamba 2.8b", blocks=64, embedding=2560, state=16),
    "mamba2": _state_space("mamba2", "Mamba2 2.7b", blocks=64, embedding=2560, state=128, **{"ssm.group_count": 1}),
    "vision-inside": _Decoder(
        architecture="gemma3", name="gemma3:4b as Ollama has it", blocks=34, context=131072, embedding=2560,
        width=10240, heads=8, heads_kv=4, key=256, vocabulary=262145, tied=True, template=PLAIN,
        more={"attention.sliding_window": 1024, "vision.block_count": 27, "vision.image_size": 896},
        extra=(("v.patch_embedding.weight", (14, 14, 3, 1152), "F16"),
               ("mm.mm_input_projection.weight", (2560, 1152), "F16"))).specimen(tokenizer="llama", vision_inside=True),
    "nobody-knows-it": _Decoder(
        architecture="zebra9", name="Zebra 9", blocks=4, context=8192, embedding=1024, width=4096, heads=8, heads_kv=8,
        vocabulary=1000, template="").specimen(),
    "bert": _embedder("bert", "Bge Small En v1.5", blocks=12, embedding=384, vocabulary=30522, pooling="cls",
                      pooling_type=2),
    "nomic-bert": _embedder("nomic-bert", "Nomic Embed Text v1.5", blocks=12, embedding=768, vocabulary=30522,
                            pooling="mean", pooling_type=1, context_length=2048),
    "jina-bert-v2": _embedder("jina-bert-v2", "Jina Embeddings v2 Base Code", blocks=12, embedding=768,
                              vocabulary=61056, context_length=8192),
    "qwen3-embedding": _Decoder(
        architecture="qwen3", name="Qwen3 Embedding 0.6B", blocks=28, context=32768, embedding=1024, width=3072,
        heads=16, heads_kv=8, vocabulary=151669, type="Q8_0", file_type=7, tied=True, template=THINKING,
        more={"pooling_type": 3}).specimen(kind="embedding", pooling="last"),
    "e5-by-name": _Decoder(
        architecture="qwen2", name="Gte Qwen2 1.5B Embedder", blocks=28, context=32768, embedding=1536, width=8960,
        heads=12, heads_kv=2, vocabulary=151646, template="").specimen(kind="embedding"),
    "bge-reranker": _embedder("bert", "Bge Reranker v2 M3", blocks=24, embedding=1024, vocabulary=250002,
                              kind="rerank", pooling="rank", pooling_type=4, context_length=8192,
                              extra=(("cls.weight", (1024, 1024), "F16"), ("cls.output.weight", (1024, 1), "F32"))),
    "qwen3-reranker": _Decoder(
        architecture="qwen3", name="Qwen3 Reranker 0.6B", blocks=28, context=40960, embedding=1024, width=3072,
        heads=16, heads_kv=8, vocabulary=151669, type="Q8_0", file_type=7, tied=True,
        more={"classifier.output_labels": ["yes", "no"]},
        extra=(("cls.output.weight", (1024, 2), "F16"),)).specimen(kind="rerank", pooling="rank"),
    "t5": _embedder("t5", "Flan T5 Small", blocks=8, embedding=512, vocabulary=32128, kind="unknown",
                    **{"attention.causal": True}),
    "t5encoder": _embedder("t5encoder", "T5 V1_1 XXL Encoder", blocks=24, embedding=4096, vocabulary=32128),
    "dream": _embedder("dream", "Dream v0 Instruct 7B", blocks=28, embedding=3584, vocabulary=152064, kind="unknown"),
    "mmproj": _other(
        "clip",
        (*_layers(27, {"attn_q": ((1152, 1152), "F16"), "ffn_up": ((1152, 4304), "F16")}, prefix="v."),
         ("mm.input_projection.weight", (2560, 1152), "F16")),
        metadata={"general.type": "mmproj", "general.name": "Gemma 3 4b It", "clip.has_vision_encoder": True,
                  "clip.projector_type": "gemma3", "clip.vision.block_count": 27, "clip.vision.image_size": 896},
        role="projector"),
    "lora": _other(
        "llama",
        [(f"blk.{number}.attn_q.weight.{end}", (4096, 16) if end == "lora_a" else (16, 4096), "F16")
         for number in range(32) for end in ("lora_a", "lora_b")],
        metadata={"general.type": "adapter", "adapter.type": "lora", "adapter.lora.alpha": 32.0}, role="adapter"),
    "control-vector": _other(
        "controlvector", [(f"direction.{number}", (4096,), "F32") for number in range(1, 32)],
        metadata={"controlvector.model_hint": "llama", "controlvector.layer_count": 31}, role="adapter"),
    "imatrix": _other(
        "",
        [(f"blk.{number}.attn_q.weight.{end}", (4096,) if end == "in_sum2" else (1,), "F32")
         for number in range(32) for end in ("in_sum2", "counts")],
        metadata={"general.type": "imatrix", "imatrix.datasets": ["calibration.txt"], "imatrix.chunk_count": 100},
        role="imatrix"),
    "eagle3": _Decoder(
        architecture="eagle3", name="EAGLE3 Llama 3.1 8B", blocks=1, context=2048, embedding=4096, width=14336,
        heads=32, heads_kv=8, vocabulary=128256, template="").specimen(role="draft", kind="unknown"),
    "mtp": Specimen(
        metadata=_head("qwen35moe", "Qwen3.6 35B A3B MTP", 7, {"block_count": 41, "nextn_predict_layers": 1}),
        tensors=(("token_embd.weight", (2048, 248320), "Q8_0"), ("blk.40.nextn.eh_proj.weight", (4096, 2048), "Q8_0")),
        role="draft", kind="unknown"),
    "flux": _other("flux", [(f"double_blocks.{number}.img_attn.qkv.weight", (3072, 9216), "Q8_0")
                            for number in range(19)]),
    "whisper": Specimen(
        metadata=_head("whisper", "Whisper Large v3", 1, {"block_count": 32, "encoder.block_count": 32}),
        tensors=(("decoder.token_embedding.weight", (1280, 51866), "F16"),), kind="unknown"),
    "vocoder": Specimen(
        metadata=_head("wavtokenizer-dec", "WavTokenizer Large 75token", 1, {"block_count": 12}),
        tensors=(("token_embd.weight", (512, 4096), "F16"),), tokenizer="none", kind="unknown"),
}  # fmt: skip
"""By a short name. Each takes about a millisecond to write, and at most 32 KiB on the disk."""
