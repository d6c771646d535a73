"""A model that is not loaded, as JSON: its kind, its sizes, and the memory it would take."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from ..catalog.described import capabilities, kind, quantisation, stated_context
from ..catalog.entry import Entry
from ..memory.cost.cost import Cost
from ..memory.cost.estimate import Estimate
from ..prompt_cache.ability import Ability
from ..units import Bytes
from .shapes import models as shapes

PARTS = ("weights", "kv", "recurrent", "compute", "draft", "projector", "engine")
"""The parts of an estimate."""


def listing(
    entry: Entry,
    estimated: Estimate | None,
    cost: Cost,
    ceiling: Bytes,
    names: Iterable[str],
    able: Ability,
    told: Callable[[str], str] = str,
) -> shapes.Facts:
    """A model's part of `/v1/models`.

    Args:
        estimated: What it would take in memory by its header.
        cost: What it counts for when it is to be loaded: that, or what is known better.
        ceiling: What all models together may take, in bytes.
        names: What else it answers to.
        able: Whether its conversations survive an unload.
        told: Words for the caller what may quote an engine.
    """
    spec, found = entry.spec, entry.found
    facts = found.facts if found else None
    known = cost if cost.least and not entry.refusal else None  # a mere guess is not shown
    return {
        "kind": kind(entry),
        "context_length": (estimated.context.n_ctx_seq if estimated else stated_context(spec)) or None,
        "size_bytes": found.size if found else None,
        "architecture": (facts and facts.architecture) or None,
        "quantization": quantisation(entry) or None,
        "parameters": (facts and facts.parameters) or None,
        "capabilities": capabilities(entry),
        "memory": _memory(estimated),
        "needs_bytes": known.bytes if known else None,
        "needs_source": known.source if known else None,
        "grows_bytes": known.grows if known else None,
        # how much of it will be on workers isn't known before it was there
        "fits": None if known is None or (spec.rpc and not known.devices) else known.fits(ceiling),
        "prompt_cache": {"able": able.word, "reason": told(able.reason) if able.reason else None},
        "source": found.source if found else None,
        "without_projector": told(found.unseeing) if found and found.unseeing else None,
        "ollama_only": told(found.ollama_only) if found and found.ollama_only else None,
        "aliases": [spec.name, *spec.aliases],  # llama-server counts the id among them
        "names": list(names),
        "description": spec.description,
    }


def _memory(estimated: Estimate | None) -> shapes.Estimate | None:
    if estimated is None:
        return None
    return {
        "weights_bytes": estimated.weights,
        "kv_bytes": estimated.kv,
        "recurrent_bytes": estimated.recurrent,
        "compute_bytes": estimated.compute,
        "draft_bytes": estimated.draft,
        "projector_bytes": estimated.projector,
        "engine_bytes": estimated.engine,
        "total_bytes": estimated.total,
    }
