"""What a llama-server makes of a model's settings: context size, sequences, batch sizes and cache types."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Literal

from attrs import frozen

from ...catalog.gguf.facts import Facts
from ...config.schema import MiB, ModelSpec
from ...units import Bytes
from .given import FALSE, MOST, TRUE, Given

Flash = Literal["on", "off", "auto"]

# Defaults of llama.cpp's common/common.h and tools/server/server.cpp.
_BATCH, _UBATCH, _AUTO_SLOTS, _CACHE_RAM = 2048, 512, 4, 8192


@frozen(kw_only=True)
class Context:
    """The engine's context in the terms of its log, in tokens unless stated otherwise.

    Attributes:
        n_ctx: The context of all sequences together.
        n_ctx_seq: The most that one sequence can have; with a unified cache, all of it.
        sequences: How many requests can run at once (`n_seq_max`).
        unified: Whether the sequences share one cache; otherwise each has its part.
        batch: The most that is submitted at once (`n_batch`).
        ubatch: The most that is computed at once (`n_ubatch`).
        outputs: For how many tokens at once results are kept (`n_outputs_max`).
        type_k: The cache's type for keys, by ggml's name: "f16", "q8_0".
        type_v: The same for values.
        swa_full: Whether layers with a sliding window get a cache as long as the others.
        flash: Whether attention is fused; "auto" is on wherever the device supports it.
        kv_offload: Whether the cache may be on the GPU.
        projector: Whether an `mmproj` file is loaded.
        embeddings: Whether it returns vectors or ranks instead of text.
        draft_type_k: The type for keys in the cache of a draft model, which has the same context.
        draft_type_v: The same for values.
        cache_ram: The most bytes that cached prompts may take in memory, on top of the estimate.
    """

    n_ctx: int
    n_ctx_seq: int
    sequences: int
    unified: bool
    batch: int = _BATCH
    ubatch: int = _UBATCH
    outputs: int = _AUTO_SLOTS
    type_k: str = "f16"
    type_v: str = "f16"
    swa_full: bool = False
    flash: Flash = "auto"
    kv_offload: bool = True
    projector: bool = False
    embeddings: bool = False
    draft_type_k: str = "f16"
    draft_type_v: str = "f16"
    cache_ram: Bytes = Bytes(0)


def context(spec: ModelSpec, facts: Facts, environ: Mapping[str, str] | None = None) -> Context:
    """What a llama-server would log for these settings (llama.cpp src/llama-context.cpp, tools/server/server.cpp).

    Without a context size it takes the one that the model was trained for; its `--fit` may then reduce that to leave
    1 GiB free, so this is an upper bound. Invalid values count as not given: the engine itself refuses them.

    Args:
        spec: The settings, with the flags for its file already in `args`.
        environ: What the engine inherits; None: our own environment.
    """
    given = Given(spec, os.environ if environ is None else environ)
    kind = spec.kind or facts.kind
    embeddings = kind in ("embedding", "rerank") or given.on("--embeddings") or given.on("--reranking")
    asked = given.number("--parallel", spec.parallel)
    automatic = asked <= 0
    sequences = _AUTO_SLOTS if automatic else asked
    unified = automatic or given.on("--kv-unified")
    per_slot = given.number("--kv-unified-per-slot")
    tokens = given.number("--ctx-size", spec.ctx_size) or min(per_slot * sequences, MOST) or facts.context_length
    tokens = max(tokens, 1)
    ubatch = max(given.number("--ubatch-size", default=_UBATCH), 0)
    batch = given.number("--batch-size", default=_BATCH)
    if embeddings and ubatch:
        batch = min(batch, ubatch)  # the server's rule: an input must fit into one physical batch
    if facts.numbers.get("attention.causal") is not False:
        batch = min(batch, tokens)
    batch = max(batch, 1)
    n_ctx = _padded(tokens)
    n_ctx_seq = n_ctx if unified else _padded(n_ctx // sequences)
    return Context(
        n_ctx=n_ctx if unified else n_ctx_seq * sequences,
        n_ctx_seq=n_ctx_seq,
        sequences=sequences,
        unified=unified,
        batch=batch,
        ubatch=min(ubatch or batch, batch),
        outputs=batch if embeddings else min(batch, sequences),
        type_k=given.text("--cache-type-k") or "f16",
        type_v=given.text("--cache-type-v") or "f16",
        swa_full=given.on("--swa-full"),
        flash=_flash(given.text("--flash-attn")),
        kv_offload=given.on("--kv-offload", default=True),
        projector=bool(given.text("--mmproj")) and given.on("--mmproj-auto", default=True),
        embeddings=embeddings,
        draft_type_k=given.text("--spec-draft-type-k") or "f16",
        draft_type_v=given.text("--spec-draft-type-v") or "f16",
        cache_ram=_cache_ram(given, spec),
    )


def _cache_ram(given: Given, spec: ModelSpec) -> Bytes:
    """The limit; for "no limit" (-1) llama-server's default, as there is no telling how far it grows."""
    mib = given.number("--cache-ram", -(-spec.cache_ram // MiB))
    return Bytes((_CACHE_RAM if mib < 0 else mib) * MiB)


def _padded(tokens: int) -> int:
    """Round up: llama.cpp makes each sequence's cache a multiple of 256 cells."""
    return max(-(-tokens // 256), 1) * 256


def _flash(word: str) -> Flash:
    return "on" if word in TRUE else "off" if word in FALSE else "auto"
