"""What an engine needs besides weights and caches to compute one batch: an approximation, deliberately a little high.

No formula is exact: ggml's allocator reuses a buffer as soon as it is free, and what remains depends on the order. So
each step of a layer is counted in floats per token, as the tensors that must exist at the same time, and the largest
step wins. The factors were fitted to what b10068 logs on the CPU as "compute" and "output buffer size", at several
contexts, batches and sizes of 31 architectures, including the sizes of real models. The estimate is 0.99 to 1.57 times
the log's, with a median of 1.13; for the sizes of real models 1.01 to 1.38, without fused attention 1.02 to 1.32
(tools/check_estimates.py). Not compared: rwkv6, minimax-01, and any GPU. For embeddings more is counted than the log
says (`_output`).
"""

from __future__ import annotations

from ...catalog.gguf.facts import Facts
from ...engines.context import Context
from .header import MOST_LAYERS, layer_count, number, per_layer
from .kv_cache import Layer, attention_layers, has_indexer, without_cache
from .recurrent import recurrent_layers, state_row
from .sliding_window import windows

_FLOAT = 4
_MARGIN = 1.05
_MARGIN_UNFUSED = 1.15  # the scores leave gaps in the buffer that nothing else fits into
_SMALL = 256 * 1024  # positions, indices and rounding


_GATE_INSIDE = frozenset({"chatglm", "glm4", "granite_swa", "modern-bert", "neo-bert", "phi3", "plamo2", "plamo3"})
"""Architectures with the gate and up projections in one tensor (llama.cpp src/models/*.cpp)."""


def compute_bytes(facts: Facts, context: Context, window_cells: int) -> int:
    """The compute and output buffers in bytes.

    Args:
        window_cells: Cells that a layer with a sliding window has.
    """
    unfused = context.flash == "off" or facts.architecture == "grok"
    steps = (
        _attention(facts, context, unfused=unfused),
        _feed_forward(facts) * context.ubatch,
        _recurrent(facts, context),
        _head(facts, context),
    )
    masks = _masks(facts, context, window_cells) * (4 if unfused else 2)
    if has_indexer(facts):
        masks += context.n_ctx_seq * context.ubatch * (8 if unfused else 6)  # its scores and their mask
    inputs = _per_layer_inputs(facts) * context.ubatch
    margin = _MARGIN_UNFUSED if unfused else _MARGIN
    return int(((max(steps) + inputs) * _FLOAT + masks) * margin) + _output(facts, context) + _SMALL


def _attention(facts: Facts, context: Context, *, unfused: bool) -> int:
    """Queries, keys, values, their rotated or contiguous copies, and the result; unfused, all scores too."""
    width = number(facts, "embedding_length")
    layers = attention_layers(facts) or _encoder(facts)
    if not layers:
        return 0
    heads = max(per_layer(facts, "attention.head_count", MOST_LAYERS))
    length = max(number(facts, f"attention.key_length{swa}") for swa in ("", "_swa")) or width // max(heads, 1)
    keys, values = max(layer.keys for layer in layers), max(layer.values for layer in layers)
    cells = context.ubatch if without_cache(facts) else context.n_ctx_seq
    scores = heads * cells * context.ubatch if unfused else 0
    if mla := number(facts, "attention.key_length_mla"):
        parts = mla + number(facts, "attention.value_length_mla") + length + number(facts, "attention.value_length")
        return (heads * parts + 4 * width) * context.ubatch + scores
    queries = heads * length
    return (2 * width + (4 if unfused else 2) * queries + keys + max(keys, values)) * context.ubatch + scores


def _encoder(facts: Facts) -> tuple[Layer, ...]:
    """A model without a cache attends too, to the batch itself."""
    width = number(facts, "embedding_length")
    return (Layer(width, width),) if without_cache(facts) else ()


def _feed_forward(facts: Facts) -> int:
    """Floats per token: both halves and their product; with experts, those of the used ones, or their output rows."""
    width = number(facts, "embedding_length")
    wide = max(per_layer(facts, "feed_forward_length", MOST_LAYERS))
    gated = "ffn_gate.weight" in facts.layer_tensors or facts.architecture in _GATE_INSIDE
    used = max(per_layer(facts, "expert_used_count", MOST_LAYERS))
    expert = max(per_layer(facts, "expert_feed_forward_length", MOST_LAYERS))
    dense = (3 if gated else 1) * wide + 4 * width if wide and (not used or expert) else 0
    if not used:
        return dense
    together = used * (expert or wide)
    return max(dense, 3 * together + 5 * width, 2 * used * width + together + 2 * width)


def _recurrent(facts: Facts, context: Context) -> int:
    """Floats for the projections of a recurrent layer and the states of all sequences."""
    if not recurrent_layers(facts):
        return 0
    width, inner = number(facts, "embedding_length"), number(facts, "ssm.inner_size")
    last, state = state_row(facts)
    states = (last + state) * context.sequences
    groups = 2 * number(facts, "ssm.group_count") * number(facts, "ssm.state_size")
    if facts.architecture in ("qwen35", "qwen35moe", "qwen3next", "qwen4exp"):
        return (2 * (inner + groups) + 3 * inner + width) * context.ubatch + 3 * states
    if head := number(facts, "kda.head_dim"):
        inner = head * max(per_layer(facts, "attention.head_count", MOST_LAYERS))
        return (9 * inner + width) * context.ubatch + 3 * states
    if inner:
        projected = 2 * inner + groups + number(facts, "ssm.time_step_rank")
        return (projected + 4 * inner + 2 * width) * context.ubatch + states
    return (20 if number(facts, "wkv.head_size") else 8) * width * context.ubatch + states


def _head(facts: Facts, context: Context) -> int:
    """The logits of all tokens whose results are kept; encoders have none."""
    if without_cache(facts):
        return 0
    return (
        facts.vocabulary * min(context.outputs, context.ubatch) + 2 * number(facts, "embedding_length") * context.ubatch
    )


def _masks(facts: Facts, context: Context, window_cells: int) -> int:
    """Attention masks in elements: one for the layers with full attention, one for those with a window."""
    if without_cache(facts):
        return context.ubatch * context.ubatch * (2 if "attention.sliding_window" in facts.numbers else 1)
    if not attention_layers(facts):
        return 0
    window, local = windows(facts, layer_count(facts)[1])
    return context.ubatch * (context.n_ctx_seq + (window_cells if window and local else 0))


def _per_layer_inputs(facts: Facts) -> int:
    """Floats per token of per-layer embeddings (gemma3n, gemma4), with their projection."""
    own = number(facts, "embedding_length_per_layer_input")
    streams = max(number(facts, "altup.num_inputs"), 1) - 1
    return 4 * own * layer_count(facts)[0] + 2 * streams * number(facts, "embedding_length")


def _output(facts: Facts, context: Context) -> int:
    """The buffer that holds results for the server, in bytes (llama.cpp src/llama-context.cpp, `output_reserve`).

    For embeddings it grows with the first long input to one row per token, and each row has room for logits, even an
    encoder's: 480 tokens of a model with a vocabulary of 100,258 took 188 MiB that were never logged.
    """
    if not context.embeddings:
        return facts.vocabulary * context.sequences * _FLOAT
    row = facts.vocabulary + number(facts, "embedding_length")
    return row * max(context.outputs, context.sequences) * _FLOAT
