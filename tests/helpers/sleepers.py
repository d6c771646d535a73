"""A machine with one device, and engines on it that can sleep: what each takes of either memory, awake and asleep."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import trio
from fake_run import FakeEngine
from machines import Machine, machine

from llmsup.config.schema import GiB, Memory
from llmsup.memory.amounts import HOST, ZERO, Amounts
from llmsup.memory.cost.process import Footprint
from llmsup.memory.machine.reading import Gpu, device_pool
from llmsup.units import Bytes, Seconds

GPU = device_pool(0)
CARD = 24 * GiB
SETTINGS = Memory(limit=Bytes(200 * GiB), reserve=Bytes(4 * GiB))
LEFT = 20
"""A sleeping engine keeps one part in so many of what it had on the device."""


def holds(engine: FakeEngine) -> Amounts:
    """What it has now: 1 GiB of the machine's memory, and the rest on the device unless it sleeps."""
    there = engine._garage.devices.get(engine.name, ZERO)[GPU]
    weights = there * 4 // 5
    match engine.asleep:
        case 1:
            return Amounts({HOST: GiB + weights, GPU: there // LEFT})
        case 2:
            return Amounts({HOST: GiB, GPU: there // LEFT})
    return Amounts({HOST: GiB, GPU: there})


class Card:
    """The device."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine

    @property
    def used(self) -> int:
        return sum(holds(engine)[GPU] for engine in self._machine.alive())

    async def read(self) -> tuple[Gpu, ...]:
        return (Gpu("a card", Bytes(CARD), Bytes(max(CARD - self.used, 0))),)


async def _measure(engine: FakeEngine) -> None:
    has = holds(engine)
    engine.meter.saw(Footprint(Bytes(has[HOST])), has - has.within({HOST}))


@asynccontextmanager
async def machine_with_card(*, load_time: float = 30, wake_time: float = 1) -> AsyncIterator[Machine]:
    """Engines take their times to load, to fall asleep (1 s) and to wake; what is loaded is measured as it is."""
    async with machine(SETTINGS, load_time=load_time) as m:
        card = Card(m)
        m.probe.gpus = card  # type: ignore[assignment]  # a stand-in
        m.garage.sleeps = True
        m.garage.measure = _measure  # type: ignore[method-assign]  # a test decides

        async def sleep(engine: FakeEngine, level: int) -> None:
            await trio.sleep(1)

        async def wake(engine: FakeEngine, level: int) -> None:
            await trio.sleep(wake_time)

        m.garage.sleep = sleep  # type: ignore[method-assign]  # a test decides
        m.garage.wake = wake  # type: ignore[method-assign]  # a test decides
        m.host = lambda engine: holds(engine)[HOST]
        yield m


async def have(m: Machine, **models: tuple[float, dict[str, Any]]) -> None:
    """Have these models: what each takes of the device in GiB, and its settings."""
    there = {name: Amounts({GPU: round(size * GiB)}) for name, (size, _) in models.items()}
    m.garage.devices = m.costs.devices = there
    usual = {"ttl": Seconds(600), "queue_timeout": Seconds(10_000)}
    m.have(**{name: (1, {**usual, **spec}) for name, (_, spec) in models.items()})
    await m.monitor.fresh()
