"""A model that is not loaded, as JSON: its kind, its sizes, and the memory it would take."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..catalog.described import capabilities, kind, quantisation, stated_context
from ..catalog.entry import Entry
from ..memory.cost.cost import Cost
from ..memory.cost.estimate import Estimate
from ..prompt_cache.ability import Ability
from ..units import Bytes

PARTS = ("weights", "kv", "recurrent", "compute", "draft", "projector", "engine")
"""What an estimate is made of."""


def listing(
    entry: Entry, needs: Estimate | None, cost: Cost, ceiling: Bytes, names: Iterable[str], able: Ability
) -> dict[str, Any]:
    """A model's part of `/v1/models`.

    Args:
        needs: What it would take in memory by its header.
        cost: What it counts for when it is to be loaded: that, or what is known better.
        ceiling: What all models together may take, in bytes.
        names: What else it answers to.
        able: Whether its conversations survive an unload.
    """
    spec, found = entry.spec, entry.found
    facts = found.facts if found else None
    known = cost if cost.least and not entry.refusal else None  # a guess is nothing to show
    return {
        "kind": kind(entry),
        "context_length": (needs.context.n_ctx_seq if needs else stated_context(spec)) or None,
        "size_bytes": found.size if found else None,
        "architecture": (facts and facts.architecture) or None,
        "quantization": quantisation(entry) or None,
        "parameters": (facts and facts.parameters) or None,
        "capabilities": capabilities(entry),
        "memory": _memory(needs),
        "needs_bytes": known and known.bytes,
        "needs_source": known and known.source,
        "grows_bytes": known and known.grows,
        "fits": known and known.fits(ceiling),
        "prompt_cache": {"able": able.word, "reason": able.reason or None},
        "source": found.source if found else None,
        "without_projector": (found and found.unseeing) or None,
        "ollama_only": (found and found.ollama_only) or None,
        "aliases": [spec.name, *spec.aliases],  # llama-server counts the id among them
        "names": list(names),
        "description": spec.description,
    }


def _memory(needs: Estimate | None) -> dict[str, int] | None:
    """An estimate, in bytes."""
    if needs is None:
        return None
    return {**{f"{part}_bytes": getattr(needs, part) for part in PARTS}, "total_bytes": needs.total}
