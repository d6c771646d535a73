"""`llmsup check`: which devices this machine has, and where each model would go."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import evolve

from ..catalog.entry import Entry
from ..engines.selector import EngineSelector
from ..fleet.memory.device_pools import DevicePools
from ..memory.cost.cost import Cost, by_pool
from ..memory.cost.placement import DRIVER, Room
from ..memory.machine.device_names import pools_of
from ..memory.machine.reading import Gpu, Reading, device_pool
from ..memory.machine.sampler import Gpus
from ..units import format_bytes


class Placing:
    """Places models on this machine's devices as if nothing else were there.

    Attributes:
        gpus: The devices, as their drivers tell them.
    """

    def __init__(self, selector: EngineSelector, gpus: Sequence[Gpu]) -> None:
        self.gpus = tuple(gpus)
        self._names = DevicePools(lambda: Reading(gpus=self.gpus), selector.devices)
        self._rooms = {
            device_pool(number): Room(device_pool(number), gpu.total, gpu.total, DRIVER)
            for number, gpu in enumerate(self.gpus)
            if gpu.own and gpu.total is not None
        }

    @classmethod
    async def here(cls, selector: EngineSelector, gpus: Gpus | None = None) -> Placing:
        """On this machine as it is now."""
        return cls(selector, await (gpus or Gpus()).read() or ())

    async def place(self, entry: Entry, cost: Cost) -> Cost:
        """A model's cost with what it would take of each device."""
        if not self._rooms or cost.layout is None:
            return cost
        by_name = await self._names(entry)
        pools = None if by_name is None else pools_of(cost.offload.devices, by_name)
        return evolve(cost, pools=pools).placed(self._rooms)

    @property
    def lines(self) -> list[str]:
        """The devices, a line each."""
        return [
            f"{device_pool(number)}: {gpu.name}, {format_bytes(gpu.total or 0)}{_free(gpu)}"
            for number, gpu in enumerate(self.gpus)
            if gpu.own
        ]

    def as_json(self) -> list[dict[str, object]]:
        """For programs."""
        return [
            {"pool": device_pool(number), "name": gpu.name, "total_bytes": gpu.total, "free_bytes": gpu.free}
            for number, gpu in enumerate(self.gpus)
            if gpu.own
        ]


def where(cost: Cost) -> str:
    """Where a model goes, for people; "" if all of it is in the machine's own memory."""
    sizes = by_pool(cost.bytes, cost.devices)
    return ", ".join(f"{format_bytes(sizes[pool])} on {pool}" for pool in sizes) if cost.devices else ""


def _free(gpu: Gpu) -> str:
    return "" if gpu.free is None else f", {format_bytes(gpu.free)} free"
