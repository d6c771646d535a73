"""What the cache of keys and values takes, to the byte: layers x cells x the type's blocks.

Recurrent layers are in `recurrent`.

Compared with the logs of llama-server b10068 and b10434 (tests/memory/test_estimate_real.py, tools/check_estimates.py):
bert, cohere2, deepseek2, deepseek32, exaone4, falcon-h1, gemma2, gemma3, gemma3n, gemma4, gemma-embedding, glm4moe,
gpt-oss, granitehybrid, jamba, kimi-linear, lfm2, llama, llama4, mamba, mamba2, nemotron_h, olmo2, phi3, qwen3,
qwen3moe, qwen3next, qwen35, rwkv7, smallthinker. All others follow llama.cpp's source (build 11434); among them those
with special cases: afmoe, arwkv7, bailingmoe3, cohere2moe, dots3note, exaone-moe, glm-dsa, glm5-next, granite_swa,
hy_v4, kimi-k3, laguna, lfm2moe, maple, mellum, mimo2, minimax-01, minimax-m3, muse-glimmer, nemotron_h_moe, plamo2,
plamo3, qwen35moe, qwen4exp, rwkv6, rwkv6qwen2, spark2_5, step35. Too high: deepseek4, which compresses its cache, and
MTP layers, for which newer builds cache nothing. Too low: nanbeige, which uses its layers several times.
"""

from __future__ import annotations

from collections.abc import Mapping

from attrs import frozen

from ...catalog.gguf.facts import Facts
from ...engines.context import Context
from .header import layer_count, number, numbers, per_layer
from .recurrent import RECURRENT, recurrent_layers
from .sliding_window import windows

BLOCKS: Mapping[str, tuple[int, int]] = {
    "f32": (1, 4),
    "f16": (1, 2),
    "bf16": (1, 2),
    "q8_0": (32, 34),
    "q5_1": (32, 24),
    "q5_0": (32, 22),
    "q4_1": (32, 20),
    "q4_0": (32, 18),
    "iq4_nl": (32, 18),
}
"""Elements and bytes per block (llama.cpp ggml/src/ggml-common.h), for all types that a cache may have."""

_WITHOUT = frozenset(
    {"bert", "clef", "dream", "eurobert", "gemma-embedding", "jina-bert-v2", "jina-bert-v3", "llada", "llada-moe"}
    | {"modern-bert", "neo-bert", "nomic-bert", "nomic-bert-moe", "rnd1", "wavtokenizer-dec"}
)
"""Architectures without any cache (llama.cpp src/llama-model.cpp, `create_memory`)."""

_KPOOL: Mapping[str, int] = {"glm5-next": 3, "qwen4exp": 2}
_INDEXED = frozenset({"deepseek32", "dots3note", "glm-dsa", "glm5-next", "hy_v4", "minimax-m3", "qwen4exp"})
"""Architectures that also cache an indexer's keys (src/llama-kv-cache-dsa.cpp, -msa.cpp, -hybrid-idx.cpp)."""


@frozen
class Layer:
    """What one layer caches per token, in elements: keys, values, and whether only within the window."""

    keys: int
    values: int
    windowed: bool = False


def without_cache(facts: Facts) -> bool:
    """Whether it attends only to the current batch: encoders and diffusion models."""
    return facts.architecture in _WITHOUT


def attention_layers(facts: Facts) -> tuple[Layer, ...]:
    """The layers that have a cache; the caches of indexers count as separate layers."""
    if facts.architecture in RECURRENT or without_cache(facts):
        return ()
    total, layers = layer_count(facts)
    window = windows(facts, layers)[1]
    recurrent = frozenset[int]() if facts.architecture == "falcon-h1" else recurrent_layers(facts)
    heads = per_layer(facts, "attention.head_count", total)
    kv_heads = heads
    if "attention.head_count_kv" in facts.numbers:
        kv_heads = per_layer(facts, "attention.head_count_kv", total)
    size = number(facts, "embedding_length") // heads[0] if heads and heads[0] else 0
    found: list[Layer] = []
    # In older builds, layers that predict further tokens have a cache whether they are used or not (glm4moe in b10068).
    plain = not window and not recurrent and not has_indexer(facts)
    for layer in range(min(total if plain else layers, _first_shared(facts, total))):
        if layer in recurrent:
            continue
        swa = "_swa" if layer in window else ""
        keys, values = (_length(facts, f"attention.{what}_length", swa, size) for what in ("key", "value"))
        found.append(Layer(keys * kv_heads[layer], 0 if _is_mla(facts) else values * kv_heads[layer], bool(swa)))
        if not swa and _is_indexed(facts, layer):
            row = number(facts, "attention.indexer.key_length")
            row *= _KPOOL.get(facts.architecture, 1) if number(facts, "attention.indexer.kpool") else 1
            found.append(Layer(row, 0 if _is_mla(facts) else values))
    return tuple(found)


def has_indexer(facts: Facts) -> bool:
    """Whether an indexer, which caches keys too, picks the tokens that a layer attends to."""
    return facts.architecture in _INDEXED and number(facts, "attention.indexer.top_k") > 0


def kv_bytes(facts: Facts, context: Context) -> int:
    """The whole cache in bytes (llama.cpp src/llama-kv-cache.cpp, src/llama-kv-cache-iswa.cpp).

    Layers with a window have cells for the window and one batch; in a unified cache, for the window of each sequence.
    Without fused attention values are stored transposed, and then each layer has as many as the widest.
    """
    layers = attention_layers(facts)
    full = context.n_ctx_seq
    windowed = window_cells(facts, context)
    widest = max((layer.values for layer in layers), default=0)
    total = 0
    for layer in layers:
        values = layer.values
        if values and (context.flash == "off" or facts.architecture == "grok"):
            values = widest
        cells = windowed if layer.windowed else full
        total += cells * (row_bytes(layer.keys, context.type_k) + row_bytes(values, context.type_v))
    return total * (1 if context.unified else context.sequences)


def window_cells(facts: Facts, context: Context) -> int:
    """Cells of a sequence's (or the unified) cache for a layer with a window; all of them without a window."""
    window, _ = windows(facts, layer_count(facts)[1])
    if not window or context.swa_full:
        return context.n_ctx_seq
    cells = window * (context.sequences if context.unified else 1) + context.ubatch
    return -(-min(context.n_ctx_seq, cells) // 256) * 256


def row_bytes(elements: int, type_: str) -> int:
    """Bytes of so many elements; an unknown type, which llama-server refuses, counts as f16."""
    block, size = BLOCKS.get(type_, BLOCKS["f16"])
    return -(-elements // block) * size


def _length(facts: Facts, key: str, swa: str, size: int) -> int:
    length = number(facts, key, size)
    return number(facts, key + swa, length) if swa else length


def _is_mla(facts: Facts) -> bool:
    """Whether keys and values are cached as one compressed row (src/llama-hparams.cpp, `is_mla`)."""
    return bool(number(facts, "attention.key_length_mla") and number(facts, "attention.value_length_mla"))


def _first_shared(facts: Facts, layers: int) -> int:
    """The first layer that has no cache and reads another's (src/models/gemma3n.cpp, gemma4.cpp)."""
    if facts.architecture == "gemma3n":
        return 20
    if facts.architecture == "gemma4":
        return max(layers - number(facts, "attention.shared_kv_layers"), 0)
    return layers


def _is_indexed(facts: Facts, layer: int) -> bool:
    if not has_indexer(facts):
        return False
    if facts.architecture == "minimax-m3":
        return layer >= number(facts, "leading_dense_block_count")
    told = numbers(facts, "attention.indexer.types")
    return bool(told[layer]) if layer < len(told) else True
