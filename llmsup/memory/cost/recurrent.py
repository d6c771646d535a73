"""The state that recurrent layers keep per sequence, instead of a cache that grows with the context.

Attention layers are in `kv_cache`.
"""

from __future__ import annotations

from collections.abc import Mapping

from ...catalog.gguf.facts import Facts
from .header import layer_count, number, numbers, per_layer

_FLOAT = 4  # llama.cpp src/llama-model.cpp, `create_memory`: states are F32

RECURRENT = frozenset({"arwkv7", "mamba", "mamba2", "rwkv6", "rwkv6qwen2", "rwkv7"})
"""Architectures without attention (llama.cpp src/llama-arch.cpp, `llm_arch_is_recurrent`)."""

_NO_KV_HEADS = frozenset(
    {"bailingmoe3", "glm5-next", "granitehybrid", "jamba", "kimi-k3", "kimi-linear", "lfm2", "lfm2moe", "plamo2"}
)
"""Hybrid architectures whose recurrent layers are those without KV heads (src/models/*.cpp, `is_recr_impl`)."""

_INTERVAL: Mapping[str, int] = {"minimax-01": 8, "qwen35": 4, "qwen35moe": 4, "qwen3next": 4, "qwen4exp": 4}
"""Hybrid architectures where one in so many layers attends, unless the header gives another number or lists them."""


def recurrent_layers(facts: Facts) -> frozenset[int]:
    """The layers that keep a state."""
    total, layers = layer_count(facts)
    architecture = facts.architecture
    if architecture in RECURRENT or architecture == "falcon-h1":
        return frozenset(range(layers))
    heads = per_layer(facts, "attention.head_count_kv", total, number(facts, "attention.head_count"))
    if architecture in _NO_KV_HEADS:
        return frozenset(layer for layer in range(layers) if not heads[layer])
    if architecture in ("nemotron_h", "nemotron_h_moe"):
        feed = per_layer(facts, "feed_forward_length", total)
        return frozenset(layer for layer in range(layers) if not heads[layer] and not feed[layer])
    if architecture in _INTERVAL:
        if told := numbers(facts, "attention.recurrent_layers"):
            return frozenset(layer for layer, has in enumerate(told[:layers]) if has)
        interval = max(number(facts, "full_attention_interval", _INTERVAL[architecture]), 1)
        return frozenset(layer for layer in range(layers) if (layer + 1) % interval)
    return frozenset()


def state_bytes(facts: Facts, sequences: int) -> int:
    """What all recurrent layers keep for all sequences, in bytes.

    llama.cpp src/llama-memory-recurrent.cpp: one row per sequence and layer, R for the last inputs and S for the state;
    rows for rolling back speculated tokens are not counted.
    """
    inputs, state = state_row(facts)
    return (inputs + state) * _FLOAT * len(recurrent_layers(facts)) * max(sequences, 1)


def state_row(facts: Facts) -> tuple[int, int]:
    """R and S of one layer and sequence in floats (llama.cpp src/llama-hparams.cpp, `n_embd_r` and `n_embd_s`)."""
    width = number(facts, "embedding_length")
    heads = per_layer(facts, "attention.head_count", 1)[0]
    kernel = number(facts, "ssm.conv_kernel")
    if head := number(facts, "wkv.head_size"):
        return number(facts, "token_shift_count", 2) * width, width * head
    if taps := number(facts, "shortconv.l_cache"):
        return width * max(taps - 1, 0), 0
    if head := number(facts, "kda.head_dim"):
        return 3 * (kernel - 1 if kernel else 3) * heads * head, head * head * heads
    if facts.architecture == "minimax-01":
        head = number(facts, "attention.key_length", width // heads if heads else 0)
        return 0, head * head * heads
    inner, size = number(facts, "ssm.inner_size"), number(facts, "ssm.state_size")
    groups = 0 if facts.architecture in ("jamba", "mamba") else number(facts, "ssm.group_count")
    return max(kernel - 1, 0) * (inner + 2 * groups * size), size * inner
