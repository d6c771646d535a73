"""What machines of both systems say of their memory, as readings, a gauge that is shown some of them, and a sampler."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

import trio
from attrs import evolve

from llmsup.config.schema import GiB
from llmsup.errors import SetupError
from llmsup.memory.machine.gauge import Gauge
from llmsup.memory.machine.reading import Reading, Stall
from llmsup.memory.machine.sampler import Gpus, Sampler
from llmsup.units import Bytes

RESERVE = 4 * GiB

LINUX = Reading(
    total=Bytes(32 * GiB),
    available=Bytes(20 * GiB),
    some=Stall(0, 0, 0, 1_000_000),
    full=Stall(0, 0, 0, 900_000),
    sources={"available": "/proc/meminfo MemAvailable"},
)
"""A desktop with nothing much to do. Its reserve is 4 GiB: 1.5 GiB are little, 0.75 GiB very little."""

MAC = Reading(
    total=Bytes(64 * GiB),
    available=Bytes(22 * GiB),
    level="normal",
    swap_total=Bytes(2 * GiB),
    swap_free=Bytes(1 * GiB),
    swapped_out=Bytes(9_000_000_000),
    compressed=Bytes(3 * GiB),
    swap_out_rate=0.0,
    compressor_rate=0.0,
    sources={"level": "kern.memorystatus_vm_pressure_level"},
)
"""A Mac with some models loaded."""


def with_free(gib: float, **other: Any) -> Reading:
    """The desktop with so much memory left."""
    return evolve(LINUX, available=Bytes(round(gib * GiB)), **other)


def stalling(avg10: float, total_us: int, gib: float = 3.0) -> Reading:
    """The desktop, short of memory, where all tasks wait for it; `total_us`: for how long they have, in all."""
    stall = Stall(avg10, avg10 / 3, avg10 / 9, total_us)
    return with_free(gib, some=stall, full=stall)


def shown(gauge: Gauge, looks: Iterable[tuple[float, Reading]], reserve: int = RESERVE) -> Gauge:
    """The gauge after looks at these moments."""
    for now, reading in looks:
        gauge = gauge.look(reading, now, reserve)
    return gauge


def held(reading: Reading, seconds: float, start: float = 0.0, step: float = 1.0) -> list[tuple[float, Reading]]:
    """The same reading from `start` to `start + seconds`."""
    return [(start + i * step, reading) for i in range(int(seconds / step) + 1)]


class Camera(Sampler):
    """A sampler that a test tells what it sees.

    Attributes:
        view: What the next looks show, or how they fail.
        takes: Seconds that a look takes.
        looks: When each look began.
        probe: What the last one was told to ask.
    """

    def __init__(self, view: Reading | SetupError, takes: float = 0.0) -> None:
        super().__init__(system=Reading, gpus=Gpus(cards=(), nvml=None))
        self.view = view
        self.takes = takes
        self.looks: list[float] = []
        self.probe: tuple[str, ...] | Literal["auto"] = "auto"

    async def read(self, probe: tuple[str, ...] | Literal["auto"] = "auto") -> Reading:
        self.probe = probe
        self.looks.append(trio.current_time())
        view = self.view
        await trio.sleep(self.takes)
        if isinstance(view, SetupError):
            raise view
        return view
