"""What is known of a model that is not loaded, as JSON: its kind, its sizes, what it would take.

It does not know whether it is loaded.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..catalog.entry import Entry
from ..catalog.labels import quant_in
from ..config.schema import ModelSpec
from ..memory.cost.cost import Cost
from ..memory.cost.estimate import Estimate
from ..units import Bytes

PARTS = ("weights", "kv", "recurrent", "compute", "draft", "projector", "engine")
"""What an estimate is made of."""


def listing(entry: Entry, needs: Estimate | None, cost: Cost, ceiling: Bytes, names: Iterable[str]) -> dict[str, Any]:
    """A model's part of `/v1/models`.

    Args:
        needs: What it would take in memory by its header.
        cost: What it counts for when it is to be loaded: that, or what is known better.
        ceiling: What all models together may take, in bytes.
        names: What else it answers to.
    """
    spec, found = entry.spec, entry.found
    facts = found.facts if found else None
    known = cost if cost.least and not entry.refusal else None  # a guess is nothing to show
    return {
        "kind": spec.kind or ("unknown" if facts and facts.kind == "unknown" else "chat"),
        "context_length": (needs.context.n_ctx_seq if needs else _stated(spec)) or None,
        "size_bytes": found.size if found else None,
        "architecture": (facts and facts.architecture) or None,
        # a file's name knows better than its header: UD-Q4_K_XL is no type of ggml's
        "quantization": (found and facts and (quant_in(found.path.stem) or facts.quantisation)) or None,
        "parameters": (facts and facts.parameters) or None,
        "capabilities": entry.capabilities,
        "memory": _memory(needs),
        "needs_bytes": known and known.bytes,
        "needs_source": known and known.source,
        "grows_bytes": known and known.grows,
        "fits": known and known.fits(ceiling),
        "source": found.source if found else None,
        "without_projector": (found and found.unseeing) or None,
        "ollama_only": (found and found.ollama_only) or None,
        "aliases": list(spec.aliases),
        "names": list(names),
        "description": spec.description,
    }


def _stated(spec: ModelSpec) -> int:
    """The context of a model that nobody can estimate. Its command isn't told `ctx_size`, so that counts only where it
    stands in the model's own table: who wrote the command knows.
    """
    return spec.ctx_size if "ctx_size" in spec.given else 0


def _memory(needs: Estimate | None) -> dict[str, int] | None:
    """An estimate, in bytes."""
    if needs is None:
        return None
    return {**{f"{part}_bytes": getattr(needs, part) for part in PARTS}, "total_bytes": needs.total}
