"""Tiny models of many architectures that a real llama-server loads: right names and shapes, and holes for weights."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from gguf_files import write_gguf

_PRINTABLE = [*range(33, 127), *range(161, 173), *range(174, 256)]
_BYTES = [chr(byte) if byte in _PRINTABLE else chr(256 + byte) for byte in range(256)]
VOCABULARY = [*_BYTES, "ab", "<|end|>"]
"""One token a byte, one pair, and an end."""


class Mini:
    """A model in the making.

    Attributes:
        numbers: The architecture's values, without its prefix.
        tensors: As the writer takes them.
    """

    def __init__(self, layers: int = 4, width: int = 256, **numbers: Any) -> None:
        self.layers, self.width = layers, width
        self.numbers: dict[str, Any] = {
            "block_count": layers,
            "context_length": 4096,
            "embedding_length": width,
            "attention.layer_norm_rms_epsilon": 1e-5,
            **{key.replace("__", "."): value for key, value in numbers.items()},
        }
        self.tensors: list[tuple[str, tuple[int, ...], str]] = []
        self.add("token_embd", width, len(VOCABULARY))
        self.add("output_norm", width)

    def add(self, name: str, *shape: int, exact: bool = False) -> None:
        """One tensor; what has one dimension, or must be exact, is F32."""
        full = name if name.endswith((".bias", ".ssm_a", ".ssm_d")) else f"{name}.weight"
        self.tensors.append((full, shape, "F32" if exact or len(shape) == 1 or full.endswith(".bias") else "F16"))

    def attend(
        self, layer: int, q: int, k: int, v: int, *, head: int = 0, norm: bool = True, post: bool = False, back: int = 0
    ) -> None:
        """Attention; `head` for norms of queries and keys, `post` for one after it, `back` for fewer rows out."""
        for part, size in (("q", q), ("k", k), ("v", v)):
            self.add(f"blk.{layer}.attn_{part}", self.width, size)
        self.add(f"blk.{layer}.attn_output", back or q, self.width)
        if head:
            self.add(f"blk.{layer}.attn_q_norm", head)
            self.add(f"blk.{layer}.attn_k_norm", head)
        if post:
            self.add(f"blk.{layer}.post_attention_norm", self.width)
        if norm:
            self.add(f"blk.{layer}.attn_norm", self.width)

    def feed(self, layer: int, size: int, *, post: bool = False, norm: bool = True) -> None:
        """A dense feed-forward part."""
        self.numbers.setdefault("feed_forward_length", size)
        if norm:
            self.add(f"blk.{layer}.ffn_norm", self.width)
        self.add(f"blk.{layer}.ffn_gate", self.width, size)
        self.add(f"blk.{layer}.ffn_up", self.width, size)
        self.add(f"blk.{layer}.ffn_down", size, self.width)
        if post:
            self.add(f"blk.{layer}.post_ffw_norm", self.width)

    def experts(self, layer: int, size: int, count: int, *, bias: bool = False) -> None:
        """Experts and their router."""
        self.add(f"blk.{layer}.ffn_gate_inp", self.width, count, exact=True)
        self.add(f"blk.{layer}.ffn_gate_exps", self.width, size, count)
        self.add(f"blk.{layer}.ffn_up_exps", self.width, size, count)
        self.add(f"blk.{layer}.ffn_down_exps", size, self.width, count)
        if bias:
            self.add(f"blk.{layer}.ffn_gate_inp.bias", count)
            self.add(f"blk.{layer}.ffn_gate_exps.bias", size, count)
            self.add(f"blk.{layer}.ffn_up_exps.bias", size, count)
            self.add(f"blk.{layer}.ffn_down_exps.bias", self.width, count)

    def mamba(self, layer: int) -> None:
        """A layer of Mamba, by the `ssm.` numbers."""
        blk = f"blk.{layer}"
        kernel, inner, state, rank = (
            self.numbers[f"ssm.{key}"] for key in ("conv_kernel", "inner_size", "state_size", "time_step_rank")
        )
        self.add(f"{blk}.attn_norm", self.width)
        self.add(f"{blk}.ssm_in", self.width, 2 * inner)
        self.add(f"{blk}.ssm_conv1d", kernel, inner, exact=True)
        self.add(f"{blk}.ssm_conv1d.bias", inner)
        self.add(f"{blk}.ssm_x", inner, rank + 2 * state)
        self.add(f"{blk}.ssm_dt", rank, inner)
        self.add(f"{blk}.ssm_dt.bias", inner)
        self.add(f"{blk}.ssm_a", state, inner, exact=True)
        self.add(f"{blk}.ssm_d", inner)
        self.add(f"{blk}.ssm_out", inner, self.width)

    def delta(self, layer: int) -> None:
        """A gated delta net, by the `ssm.` numbers."""
        blk = f"blk.{layer}"
        kernel, inner, state, rank, groups = (
            self.numbers[f"ssm.{key}"]
            for key in ("conv_kernel", "inner_size", "state_size", "time_step_rank", "group_count")
        )
        channels = 2 * groups * state + inner
        self.add(f"{blk}.attn_norm", self.width)
        self.add(f"{blk}.attn_qkv", self.width, channels)
        self.add(f"{blk}.attn_gate", self.width, inner)
        self.add(f"{blk}.ssm_conv1d", kernel, channels, exact=True)
        self.add(f"{blk}.ssm_dt.bias", rank)
        self.add(f"{blk}.ssm_a", rank)
        self.add(f"{blk}.ssm_norm", state)
        self.add(f"{blk}.ssm_out", inner, self.width)

    def latent(self, layer: int, *, queries: int = 0) -> None:
        """Multi-head latent attention of 4 heads; `queries` for the rank of compressed queries."""
        blk, rank, rope, nope, value = f"blk.{layer}", 128, 32, 64, 64
        self.numbers |= {
            "attention.head_count": 4,
            "attention.head_count_kv": 1,
            "attention.key_length": rank + rope,
            "attention.value_length": rank,
            "attention.key_length_mla": nope + rope,
            "attention.value_length_mla": value,
            "attention.kv_lora_rank": rank,
            "rope.dimension_count": rope,
        }
        self.add(f"{blk}.attn_norm", self.width)
        if queries:
            self.numbers["attention.q_lora_rank"] = queries
            self.add(f"{blk}.attn_q_a_norm", queries)
            self.add(f"{blk}.attn_q_a", self.width, queries)
            self.add(f"{blk}.attn_q_b", queries, 4 * (nope + rope))
        else:
            self.add(f"{blk}.attn_q", self.width, 4 * (nope + rope))
        self.add(f"{blk}.attn_kv_a_norm", rank)
        self.add(f"{blk}.attn_kv_a_mqa", self.width, rank + rope)
        self.add(f"{blk}.attn_k_b", nope, rank, 4)
        self.add(f"{blk}.attn_v_b", rank, value, 4)
        self.add(f"{blk}.attn_output", 4 * value, self.width)

    def shared(self, layer: int, size: int) -> None:
        """An expert that every token goes to."""
        self.add(f"blk.{layer}.ffn_gate_shexp", self.width, size)
        self.add(f"blk.{layer}.ffn_up_shexp", self.width, size)
        self.add(f"blk.{layer}.ffn_down_shexp", size, self.width)

    def mamba2(self, layer: int, *, norm: bool = True) -> None:
        """A layer of Mamba 2, by the `ssm.` numbers."""
        kernel, inner, state, rank, groups = (
            self.numbers[f"ssm.{key}"]
            for key in ("conv_kernel", "inner_size", "state_size", "time_step_rank", "group_count")
        )
        if norm:
            self.add(f"blk.{layer}.attn_norm", self.width)
        self.add(f"blk.{layer}.ssm_in", self.width, 2 * inner + 2 * groups * state + rank)
        self.add(f"blk.{layer}.ssm_conv1d", kernel, inner + 2 * groups * state, exact=True)
        self.add(f"blk.{layer}.ssm_conv1d.bias", inner + 2 * groups * state)
        self.add(f"blk.{layer}.ssm_dt.bias", rank)
        self.add(f"blk.{layer}.ssm_a", 1, rank, exact=True)
        self.add(f"blk.{layer}.ssm_d", 1, rank, exact=True)
        self.add(f"blk.{layer}.ssm_norm", inner // groups, groups, exact=True)
        self.add(f"blk.{layer}.ssm_out", inner, self.width)


SSM2 = {"ssm__conv_kernel": 4, "ssm__inner_size": 512, "ssm__state_size": 64, "ssm__time_step_rank": 8}


def heads(count: int, kv: Any, size: int = 64) -> dict[str, Any]:
    """The numbers of attention; `kv` may be a list, one a layer."""
    return {
        "attention__head_count": count,
        "attention__head_count_kv": kv,
        "attention__key_length": size,
        "attention__value_length": size,
        "rope__dimension_count": size,
    }


def _qwen3() -> Mini:
    mini = Mini(**heads(8, 2))
    for layer in range(mini.layers):
        mini.attend(layer, 512, 128, 128, head=64)
        mini.feed(layer, 768)
    return mini


def _qwen3moe() -> Mini:
    mini = Mini(**heads(8, 2), expert_count=8, expert_used_count=2, expert_feed_forward_length=192)
    mini.numbers["feed_forward_length"] = 768
    for layer in range(mini.layers):
        mini.attend(layer, 512, 128, 128, head=64)
        mini.add(f"blk.{layer}.ffn_norm", mini.width)
        mini.experts(layer, 192, 8)
    return mini


def _gemma2() -> Mini:
    mini = Mini(4, **heads(4, 2), attention__sliding_window=512)
    for layer in range(mini.layers):
        mini.attend(layer, 256, 128, 128, post=True)
        mini.feed(layer, 768, post=True)
    return mini


def _gemma3() -> Mini:
    mini = Mini(7, **heads(4, 1, 128), attention__sliding_window=512)
    for layer in range(mini.layers):
        mini.attend(layer, 512, 128, 128, head=128, post=True)
        mini.feed(layer, 768, post=True)
    return mini


def _gpt_oss() -> Mini:
    mini = Mini(4, **heads(8, 2), attention__sliding_window=128)
    mini.numbers |= {"expert_count": 8, "expert_used_count": 4, "expert_feed_forward_length": 256}
    mini.add("output", mini.width, len(VOCABULARY))
    for layer in range(mini.layers):
        mini.attend(layer, 512, 128, 128, post=True)
        for part, size in (("q", 512), ("k", 128), ("v", 128), ("output", 256)):
            mini.add(f"blk.{layer}.attn_{part}.bias", size)
        mini.add(f"blk.{layer}.attn_sinks", 8)
        mini.experts(layer, 256, 8, bias=True)
    return mini


def _cohere2() -> Mini:
    mini = Mini(5, **heads(4, 2), attention__sliding_window=256, logit_scale=0.25)
    mini.numbers["attention.layer_norm_epsilon"] = 1e-5
    for layer in range(mini.layers):
        mini.attend(layer, 256, 128, 128)
        mini.feed(layer, 768, norm=False)
    return mini


def _deepseek2() -> Mini:
    mini = Mini(3, leading_dense_block_count=3, expert_count=4, expert_used_count=2, expert_shared_count=1)
    mini.numbers["expert_feed_forward_length"] = 128
    mini.add("output", mini.width, len(VOCABULARY))
    for layer in range(mini.layers):
        mini.latent(layer, queries=96)
        mini.feed(layer, 512)
    return mini


def _mamba() -> Mini:
    mini = Mini(4, ssm__conv_kernel=4, ssm__inner_size=512, ssm__state_size=16, ssm__time_step_rank=16)
    mini.numbers["feed_forward_length"] = mini.numbers["attention.head_count"] = 0
    for layer in range(mini.layers):
        mini.mamba(layer)
    return mini


def _mamba2() -> Mini:
    mini = Mini(4, **SSM2, ssm__group_count=2)
    mini.numbers["feed_forward_length"] = mini.numbers["attention.head_count"] = 0
    for layer in range(mini.layers):
        mini.mamba2(layer)
    return mini


def _granitehybrid() -> Mini:
    mini = Mini(4, **heads(4, [0, 2, 0, 0]), **SSM2, ssm__group_count=1)
    for layer in range(mini.layers):
        if layer == 1:
            mini.attend(layer, 256, 128, 128)
        else:
            mini.mamba2(layer)
        mini.feed(layer, 512)
    return mini


def _falcon_h1() -> Mini:
    mini = Mini(3, **heads(4, 2), **SSM2, ssm__group_count=1)
    for layer in range(mini.layers):
        mini.attend(layer, 256, 128, 128)
        mini.mamba2(layer, norm=False)
        mini.feed(layer, 512, norm=False)
        mini.tensors.append((f"blk.{layer}.ffn_norm", (mini.width,), "F32"))  # without ".weight", there alone
    return mini


def _nemotron_h() -> Mini:
    mini = Mini(4, **heads(4, [0, 0, 2, 0]), **SSM2, ssm__group_count=2)
    mini.numbers |= {"feed_forward_length": [0, 512, 0, 0], "attention.layer_norm_epsilon": 1e-5}
    for layer in range(mini.layers):
        if layer == 1:
            mini.add(f"blk.{layer}.attn_norm", mini.width)
            mini.add(f"blk.{layer}.ffn_up", mini.width, 512)
            mini.add(f"blk.{layer}.ffn_down", 512, mini.width)
        elif layer == 2:
            mini.attend(layer, 256, 128, 128)
        else:
            mini.mamba2(layer)
    return mini


def _lfm2() -> Mini:
    mini = Mini(4, **heads(4, [0, 0, 2, 0]), shortconv__l_cache=3)
    mini.add("token_embd_norm", mini.width)  # what lfm2's files call their output norm
    for layer in range(mini.layers):
        if layer == 2:
            mini.attend(layer, 256, 128, 128, head=64)
        else:
            mini.add(f"blk.{layer}.attn_norm", mini.width)
            mini.add(f"blk.{layer}.shortconv.conv", 3, mini.width, exact=True)
            mini.add(f"blk.{layer}.shortconv.in_proj", mini.width, 3 * mini.width)
            mini.add(f"blk.{layer}.shortconv.out_proj", mini.width, mini.width)
        mini.feed(layer, 512)
    mini.tensors = [tensor for tensor in mini.tensors if tensor[0] != "output_norm.weight"]
    return mini


def _qwen3next() -> Mini:
    mini = Mini(5, **heads(4, 1), **SSM2, ssm__group_count=4, expert_count=8, expert_used_count=2)
    mini.numbers |= {"expert_feed_forward_length": 128, "expert_shared_feed_forward_length": 128}
    for layer in range(mini.layers):
        if (layer + 1) % 4:
            mini.delta(layer)
            mini.add(f"blk.{layer}.ssm_ba", mini.width, 16)
        else:
            mini.attend(layer, 512, 64, 64, head=64, back=256)
        mini.add(f"blk.{layer}.post_attention_norm", mini.width)
        mini.experts(layer, 128, 8)
        mini.add(f"blk.{layer}.ffn_gate_inp_shexp", mini.width)
        mini.shared(layer, 128)
    return mini


def _gemma4() -> Mini:
    pattern = [True, True, False, True, False]
    mini = Mini(
        5,
        **heads(4, [2, 2, 1, 2, 1], 128),
        attention__sliding_window=512,
        attention__sliding_window_pattern=pattern,
        attention__key_length_swa=64,
        attention__value_length_swa=64,
        rope__dimension_count_swa=64,
        attention__shared_kv_layers=2,
        embedding_length_per_layer_input=0,
    )
    mini.add("rope_freqs", 64)
    for layer, local in enumerate(pattern):
        head, kv = (64, 2) if local else (128, 1)
        mini.attend(layer, 4 * head, kv * head, kv * head, head=head, post=True)
        mini.feed(layer, 512, post=True)
    return mini


def _bert() -> Mini:
    mini = Mini(3, attention__head_count=4, attention__causal=False, pooling_type=1)
    mini.numbers |= {"context_length": 512, "attention.layer_norm_epsilon": 1e-12}
    mini.tensors.pop()
    mini.add("position_embd", mini.width, 512, exact=True)
    mini.add("token_types", mini.width, 2, exact=True)
    for norm in (
        "token_embd_norm",
        *(f"blk.{layer}.{at}_output_norm" for layer in range(3) for at in ("attn", "layer")),
    ):
        mini.add(norm, mini.width)
        mini.add(f"{norm}.bias", mini.width)
    for layer in range(mini.layers):
        for part in ("q", "k", "v", "output"):
            mini.add(f"blk.{layer}.attn_{part}", mini.width, mini.width)
            mini.add(f"blk.{layer}.attn_{part}.bias", mini.width)
        mini.numbers["feed_forward_length"] = 1024
        mini.add(f"blk.{layer}.ffn_up", mini.width, 1024)
        mini.add(f"blk.{layer}.ffn_up.bias", 1024)
        mini.add(f"blk.{layer}.ffn_down", 1024, mini.width)
        mini.add(f"blk.{layer}.ffn_down.bias", mini.width)
    return mini


RECIPES: dict[str, Callable[[], Mini]] = {
    "bert": _bert,
    "cohere2": _cohere2,
    "deepseek2": _deepseek2,
    "falcon-h1": _falcon_h1,
    "gemma2": _gemma2,
    "gemma3": _gemma3,
    "gemma4": _gemma4,
    "gpt-oss": _gpt_oss,
    "granitehybrid": _granitehybrid,
    "lfm2": _lfm2,
    "mamba": _mamba,
    "mamba2": _mamba2,
    "nemotron_h": _nemotron_h,
    "qwen3": _qwen3,
    "qwen3moe": _qwen3moe,
    "qwen3next": _qwen3next,
}


def miniature(folder: Path, architecture: str, recipe: Callable[[], Mini] | None = None) -> Path:
    """Write a model of that architecture; it takes some 10 kB of the disk."""
    mini = (recipe or RECIPES[architecture])()
    metadata = {
        "general.architecture": architecture,
        "general.type": "model",
        "general.name": "Miniature",
        **{f"{architecture}.{key}": value for key, value in mini.numbers.items()},
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "default",
        "tokenizer.ggml.tokens": VOCABULARY,
        "tokenizer.ggml.token_type": [1] * (len(VOCABULARY) - 1) + [3],
        "tokenizer.ggml.merges": ["a b"],
        "tokenizer.ggml.bos_token_id": len(VOCABULARY) - 1,
        "tokenizer.ggml.eos_token_id": len(VOCABULARY) - 1,
        "tokenizer.ggml.token_type_count": 2,
    }
    return write_gguf(folder / f"{architecture}.gguf", metadata, mini.tensors)
