"""What a llama-server makes of a model's settings: the context that it will have.

Its cost in memory is computed in `memory.cost`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from ...catalog.gguf.facts import Facts
from ...config.schema import MiB, ModelSpec
from ...units import Bytes
from ..context import AUTO_SLOTS, BATCH, UBATCH, Context, Flash
from .given import FALSE, MOST, TRUE, Given
from .load_mode import maps
from .offloading import offload

_CACHE_RAM = 8192
"""MiB that its prompt cache may use by default (tools/server/server.cpp)."""


def context(spec: ModelSpec, facts: Facts, environ: Mapping[str, str] | None = None) -> Context:
    """Return what llama-server would log for these settings (src/llama-context.cpp, tools/server/server.cpp).

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
    sequences = AUTO_SLOTS if automatic else asked
    unified = automatic or given.on("--kv-unified")
    per_slot = given.number("--kv-unified-per-slot")
    tokens = given.number("--ctx-size", spec.ctx_size) or min(per_slot * sequences, MOST) or facts.context_length
    tokens = max(tokens, 1)
    ubatch = max(given.number("--ubatch-size", default=UBATCH), 0)
    batch = given.number("--batch-size", default=BATCH)
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
        projector=bool(given.text("--mmproj")) and given.on("--mmproj-auto", default=True),
        embeddings=embeddings,
        draft_type_k=given.text("--spec-draft-type-k") or "f16",
        draft_type_v=given.text("--spec-draft-type-v") or "f16",
        mapped=maps(spec, environ),
        cache_ram=_cache_ram(given, spec),
        offload=offload(spec, given),
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
