"""What a model is going to cost: declared, else measured before, else estimated.

It does not know what is loaded, nor where measurements are kept.
"""

from __future__ import annotations

from typing import Literal

from attrs import frozen

from ..catalog.entry import Entry
from ..config.schema import GiB
from ..units import Bytes
from .estimate import Estimate

Source = Literal["declared", "measured", "estimated"]

MARGIN = 1.10
"""An estimate is multiplied with this: the compute buffer is told within 0.99 to 1.57 of what the engine says, the rest
to the byte (`tools/check_estimates.py`), and the engine itself takes some tens of MiB."""

UNKNOWN = Bytes(1 * GiB)
"""What a model with a command and no file is taken to cost, until it was measured. A guess refuses nobody."""


@frozen
class Cost:
    """What a model counts for.

    Attributes:
        bytes: So much.
        source: How that is known.
        least: What it needs in any case, in bytes: more than all models may have, and it is refused.
    """

    bytes: Bytes
    source: Source
    least: Bytes


def cost(entry: Entry, needs: Estimate | None, measured: Bytes | None) -> Cost:
    """What a model is going to cost.

    A declared cost is believed until more was seen. A measurement replaces an estimate, also where it is smaller: it
    has what the prompts took that were really sent. An estimate counts the prompt cache in full.
    """
    declared = entry.spec.memory
    if declared is not None:
        most = max(declared, measured or 0)
        return Cost(Bytes(most), "declared" if most == declared else "measured", Bytes(most))
    if measured is not None:
        return Cost(measured, "measured", measured if needs is None else min(measured, needs.total))
    if needs is not None:
        prompts = 0 if needs.context.embeddings else needs.context.cache_ram
        return Cost(Bytes(round(needs.total * MARGIN) + prompts), "estimated", needs.total)
    if entry.found is None:
        return Cost(UNKNOWN, "estimated", Bytes(0))
    return Cost(Bytes(round(entry.found.size * MARGIN)), "estimated", Bytes(entry.found.size))
