"""What a model is going to cost: declared, else measured earlier, else estimated.

This is the one figure that `ls`, `check`, `/v1/models` and the policy use.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal

from attrs import evolve, frozen

from ...catalog.entry import Entry
from ...config.schema import GiB
from ...engines.offload import OFFLOAD, Offload
from ...units import Bytes
from ..amounts import HOST, ZERO, Amounts
from ..machine.reading import is_device
from .estimate import Estimate
from .placement import Layout, Room, place

Source = Literal["declared", "measured", "estimated"]

UNKNOWN = Bytes(1 * GiB)
"""What a model with a command and no file is assumed to cost until it is measured. It is never refused for a guess."""


@frozen
class Cost:
    """A model's cost.

    Attributes:
        bytes: What it takes when it starts, which must be available to admit it.
        source: How that is known.
        least: What it needs in any case, in bytes: if that is above the ceiling, it is refused.
        grows: What it may come to hold on top of `bytes`, in bytes: the prompts that it caches. Nothing is unloaded or
            kept out for this; once it has grown, its measured size counts.
        devices: The part of `bytes` that is on devices with their own memory, by their pools: as it was measured, or as
            it would be placed.
        layout: Its parts, as long as it isn't known from a measurement where they go.
        offload: What its engine is told about devices.
        pools: The pools of the devices that its engine finds and may use, in its order; None: that is unknown.
    """

    bytes: Bytes
    source: Source
    least: Bytes
    grows: Bytes = Bytes(0)
    devices: Amounts = ZERO
    layout: Layout | None = None
    offload: Offload = OFFLOAD
    pools: tuple[str, ...] | None = None

    def placed(self, rooms: Mapping[str, Room]) -> Cost:
        """The same with what its engine would put on each device; unchanged if that was measured.

        Args:
            rooms: The devices with their own memory, by their pools.
        """
        if self.layout is None or not rooms:
            return self
        wanted = [pool for pool in rooms if is_device(pool)] if self.pools is None else self.pools
        sizes = place(self.layout, [rooms[pool] for pool in wanted if pool in rooms], self.offload)
        devices = sizes - sizes.within({HOST})
        if self.source != "estimated":
            return evolve(self, devices=_at_most(devices, self.bytes))
        return evolve(self, bytes=Bytes(sizes.total), least=Bytes(sizes.total), devices=devices)

    def fits(self, ceiling: int) -> bool:
        """Whether the model is admitted when it is alone; `ceiling`: the bytes that all models together may have."""
        return self.least - self.devices.total + self.devices.here <= ceiling


def cost(
    entry: Entry,
    estimated: Estimate | None,
    measured: Bytes | None,
    devices: Amounts = ZERO,
    sizes: Mapping[str, int] = MappingProxyType({}),
) -> Cost:
    """What a model is going to cost.

    A declared cost is believed until more is measured, and includes any growth. A measurement replaces an estimate,
    even if it is smaller.

    Args:
        measured: What it took at its last start, in bytes.
        devices: What of that was on devices with their own memory.
        sizes: What each of those has, in bytes, by its pool.
    """
    declared = entry.spec.memory
    if estimated is not None and measured is None and (taken := preallocated(estimated, declared, sizes)):
        if declared is not None:
            return Cost(declared, "declared", declared, devices=taken)
        return Cost(Bytes(taken.total + estimated.engine), "estimated", estimated.total, devices=taken)
    if declared is not None:
        most = max(declared, measured or 0)
        known = Cost(Bytes(most), "declared" if most == declared else "measured", Bytes(most), devices=devices)
        return known if estimated is None or measured is not None else _unplaced(known, estimated)
    if measured is not None:
        least = measured if estimated is None else min(measured, estimated.total)
        return Cost(measured, "measured", least, prompts(estimated), devices)
    if estimated is not None:
        total = estimated.total
        return _unplaced(Cost(total, "estimated", total, prompts(estimated)), estimated)
    if entry.found is None:
        return Cost(UNKNOWN, "estimated", Bytes(0))
    return Cost(entry.found.size, "estimated", entry.found.size)


def _unplaced(known: Cost, estimated: Estimate) -> Cost:
    return evolve(known, layout=estimated.layout, offload=estimated.context.offload)


def _at_most(devices: Amounts, size: int) -> Amounts:
    """The same, in proportion, if it is more than this."""
    total = devices.total
    return devices if total <= size else Amounts({pool: devices[pool] * size // total for pool in devices})


def scaled(cost: Cost, size: int) -> Amounts:
    """By pool, as if it were this much larger or smaller as a whole."""
    devices = (
        cost.devices
        if size <= cost.bytes
        else Amounts({pool: cost.devices[pool] * size // max(cost.bytes, 1) for pool in cost.devices})
    )
    return by_pool(size, devices)


def preallocated(estimated: Estimate, declared: int | None, sizes: Mapping[str, int]) -> Amounts:
    """What an engine that takes a share of its devices takes of each, whatever its model needs; nothing for any other.

    Args:
        declared: What its model is declared to take, in bytes, which the share is then made from.
        sizes: As for `cost`. The engine takes the first of them.
    """
    context = estimated.context
    used = dict(list(sizes.items())[: context.devices]) if context.share else {}
    return Amounts(
        {pool: int(size * context.share) if declared is None else declared // len(used) for pool, size in used.items()}
    )


def by_pool(size: int, devices: Amounts = ZERO) -> Amounts:
    """A model's size by pool: what it is known to have on devices is there, the rest in the machine's own memory."""
    return devices + Amounts({HOST: max(size - devices.total, 0)})


def prompts(estimated: Estimate | None) -> Bytes:
    """Bytes that an engine's prompt cache (llama-server's `--cache-ram`) may take; 0 for an engine that returns vectors
    or ranks, as it caches none, and for a command, as that is unknown.
    """
    return Bytes(0) if estimated is None or estimated.context.embeddings else estimated.context.cache_ram
