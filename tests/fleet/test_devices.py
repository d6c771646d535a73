"""Devices with their own memory are pools like the machine's: measured, remembered, and fought for one by one."""

from __future__ import annotations

import pytest
from machines import Machine, machine
from trio.testing import MockClock

from llmsup.config.schema import GiB, Memory
from llmsup.errors import ModelTooLarge
from llmsup.memory.amounts import HOST, Amounts
from llmsup.memory.machine.reading import Gpu, device_pool
from llmsup.units import Bytes

FIRST, SECOND = device_pool(0), device_pool(1)
PLENTY = Memory(limit=Bytes(500 * GiB), reserve=Bytes(4 * GiB))


class TwoGpus:
    """The devices of a machine with two, of 24 GiB each."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine

    async def read(self) -> tuple[Gpu, ...]:
        devices = self._machine.garage.devices
        used = [devices.get(name, Amounts()) for name in self._machine.loaded]
        taken = {pool: sum(each[pool] for each in used) for pool in (FIRST, SECOND)}
        return tuple(Gpu(pool, Bytes(24 * GiB), Bytes(24 * GiB - size)) for pool, size in taken.items())


async def with_devices(m: Machine, **models: tuple[str, int]) -> None:
    """Have models that take 1 GiB of the host and so many of a device; nothing of that is known before they ran."""
    m.probe.gpus = TwoGpus(m)  # type: ignore[assignment]  # a stand-in
    m.garage.devices = {name: Amounts({pool: gib * GiB}) for name, (pool, gib) in models.items()}
    m.serve(**dict.fromkeys(models, 1))
    await m.monitor.fresh()


def costs(m: Machine) -> dict[str, Amounts]:
    return {each.name: each.cost for each in m.governor.loaded_models()}


async def test_what_is_on_a_device_is_counted_there(autojump_clock: MockClock) -> None:
    """From its first measurement on; what its end gives back to the host is the host's part alone."""
    async with machine(PLENTY) as m:
        await with_devices(m, a=(FIRST, 20))
        await m.use("a", 10)
        assert costs(m) == {"a": Amounts({HOST: GiB, FIRST: 20 * GiB})}
        await m.monitor.fresh()
        pools = m.governor.machine().pools
        assert (pools[FIRST].available, pools[SECOND].available) == (4 * GiB, 24 * GiB)
        a = m.fleet.models["a"]
        run = a.run
        await a.unload("a test")
        assert run is not None
        assert run.freed == GiB


async def test_a_load_evicts_from_the_device_that_it_needs(autojump_clock: MockClock) -> None:
    """There is room on the host, and on the other device; the model there stays, though it is cheaper to lose."""
    async with machine(PLENTY) as m:
        await with_devices(m, a=(FIRST, 20), b=(FIRST, 20), c=(SECOND, 20))
        m.costs.devices = dict(m.garage.devices)  # known from an earlier run
        await m.use("c")
        await m.use("a")
        await m.use("b")
        assert m.loaded == ["c", "b"]
        (decision,) = (each.decision for each in m.governor.records if each.decision.kind == "evict")
        assert decision.victims == ("a",)
        assert decision.missing[FIRST] > 0
        assert decision.missing[SECOND] <= 0


async def test_what_no_device_could_hold_is_refused(autojump_clock: MockClock) -> None:
    """The message says of which device there is too little."""
    async with machine(PLENTY) as m:
        await with_devices(m, a=(FIRST, 30))
        m.costs.devices = dict(m.garage.devices)
        with pytest.raises(ModelTooLarge, match=f"{FIRST} has only 24"):
            await m.use("a")
