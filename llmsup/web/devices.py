"""Devices with their own memory, as `/memory` and `/metrics` tell of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from attrs import frozen

from ..fleet.memory.governor import Governor
from ..fleet.rpc.workers import UNKNOWN
from ..memory.amounts import REMOTE, Amounts, add_up, is_remote
from ..memory.machine.device_gauge import DeviceGauge
from ..memory.machine.reading import device_pool, is_device
from ..units import Bytes, format_bytes
from .shapes import memory as shapes


@frozen
class DeviceNow:
    """One device.

    Attributes:
        pool: Its pool.
        name: Its driver's name for it.
        total: In bytes.
        free: In bytes; None: unknown.
        committed: What the loaded models count for there, in bytes.
        gauge: Whether others press for it.
        note: What is said after its name to people; labels of metrics must not change with it.
    """

    pool: str
    name: str
    total: int
    free: int | None
    committed: int
    gauge: DeviceGauge
    note: str = ""

    def as_json(self, wall: Callable[[float], float | None]) -> shapes.Device:
        """For `/memory`. `wall` turns our clock's time into Unix seconds."""
        return {
            "pool": self.pool,
            "name": self.name + self.note,
            "total_bytes": self.total,
            "committed_bytes": self.committed,
            "free_bytes": self.free,
            "level": "warn" if self.gauge.short else "normal",
            "since": wall(self.gauge.since),
            "reason": self.gauge.reason,
            "shortfall_bytes": self.gauge.shortfall,
        }


def devices(governor: Governor) -> Iterator[DeviceNow]:
    """Every device of this machine with its own memory, as it was read last; and the RPC workers, as far as it is known
    what they have.
    """
    reading, pools = governor.reading, governor.machine().pools
    ours = add_up(each.cost for each in governor.loaded_models())
    for number, gpu in enumerate((reading and reading.gpus) or ()):
        pool = device_pool(number)
        if pool in pools and gpu.total is not None:
            gauge = governor.devices.gauges.get(pool, DeviceGauge())
            yield DeviceNow(pool, gpu.name, gpu.total, gpu.free, ours[pool], gauge)
    for pool in filter(is_remote, pools):
        if (total := pools[pool].total) is not None and total != UNKNOWN:
            name = f"RPC worker {pool.removeprefix(REMOTE)}"
            note = ""
            if (used := governor.used(pool)) < ours[pool]:
                note = f", {format_bytes(Bytes(used))} of it used: it serves one model at a time"
            yield DeviceNow(pool, name, total, None, ours[pool], DeviceGauge(), note)


def sizes(amounts: Amounts) -> Iterator[tuple[str, int]]:
    """What of it is on devices, in bytes by pool."""
    return ((pool, amounts[pool]) for pool in amounts if is_device(pool) or is_remote(pool))
