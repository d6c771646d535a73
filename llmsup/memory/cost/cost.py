"""What a model is going to cost: declared, else measured before, else estimated. The one figure that `ls`, `check`,
`/v1/models` and the policy go by.

It does not know what is loaded, nor where measurements are kept.
"""

from __future__ import annotations

from typing import Literal

from attrs import frozen

from ...catalog.entry import Entry
from ...config.schema import GiB
from ...units import Bytes
from ..amounts import HOST, Amounts
from .estimate import Estimate

Source = Literal["declared", "measured", "estimated"]

UNKNOWN = Bytes(1 * GiB)
"""What a model with a command and no file is taken to cost, until it was measured. A guess refuses nobody."""


@frozen
class Cost:
    """What a model counts for.

    Attributes:
        bytes: What it takes when it starts: so much room it needs to be let in.
        source: How that is known.
        least: What it needs in any case, in bytes: more than all models may have, and it is refused.
        grows: What it may come to hold on top of `bytes`: the prompts that it keeps. Nobody is unloaded and nothing is
            kept out for that. If it comes to it, it counts as what it is.
    """

    bytes: Bytes
    source: Source
    least: Bytes
    grows: Bytes = Bytes(0)

    def fits(self, ceiling: int) -> bool:
        """Whether the model is let in when it is alone, where all models together may have so many bytes."""
        return self.least <= ceiling


def cost(entry: Entry, needs: Estimate | None, measured: Bytes | None) -> Cost:
    """What a model is going to cost.

    A declared cost is believed until more was seen, and is all that there is. A measurement replaces an estimate, also
    where it is smaller.

    Args:
        measured: What it took at its last start.
    """
    declared = entry.spec.memory
    if declared is not None:
        most = max(declared, measured or 0)
        return Cost(Bytes(most), "declared" if most == declared else "measured", Bytes(most))
    if measured is not None:
        return Cost(measured, "measured", measured if needs is None else min(measured, needs.total), prompts(needs))
    if needs is not None:
        return Cost(needs.total, "estimated", needs.total, prompts(needs))
    if entry.found is None:
        return Cost(UNKNOWN, "estimated", Bytes(0))
    return Cost(entry.found.size, "estimated", entry.found.size)


def by_pool(size: int) -> Amounts:
    """So many bytes of a model, by the pool that they are in: the machine's own memory, for all that is known. This is
    the place to say what lies on which device.
    """
    return Amounts({HOST: size})


def prompts(needs: Estimate | None) -> Bytes:
    """What the prompts that an engine keeps (llama-server's `--cache-ram`) may take; one that answers with vectors or
    ranks keeps none, and of a command nobody knows.
    """
    return Bytes(0) if needs is None or needs.context.embeddings else needs.context.cache_ram
