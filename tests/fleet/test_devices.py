"""Devices with their own memory are pools like the machine's: measured, remembered, and fought for one by one."""

from __future__ import annotations

import pytest
import trio
from machines import Machine, machine
from trio.testing import MockClock

from llmsup.config.schema import GiB, Memory
from llmsup.engines.offload import OFFLOAD, Offload
from llmsup.errors import ModelTooLarge
from llmsup.fleet.memory.device_pools import at_most
from llmsup.memory.amounts import HOST, Amounts
from llmsup.memory.cost.cost import Cost, scaled
from llmsup.memory.cost.placement import Layout
from llmsup.memory.machine.reading import Gpu, device_pool
from llmsup.memory.policy.inputs import Machine as Pools
from llmsup.memory.policy.inputs import Pool, host_pools
from llmsup.units import Bytes

FIRST, SECOND = device_pool(0), device_pool(1)
PLENTY = Memory(limit=Bytes(500 * GiB), reserve=Bytes(4 * GiB))


class TwoGpus:
    """The devices of a machine with two, of 24 GiB each. `others`: bytes that other programs have, by pool."""

    def __init__(self, machine: Machine) -> None:
        self.others: dict[str, int] = {}
        self._machine = machine

    async def read(self) -> tuple[Gpu, ...]:
        devices = self._machine.garage.devices
        used = [devices.get(name, Amounts()) for name in self._machine.loaded]
        taken = {pool: sum(each[pool] for each in used) for pool in (FIRST, SECOND)}
        free = {pool: max(24 * GiB - size - self.others.get(pool, 0), 0) for pool, size in taken.items()}
        return tuple(Gpu(pool, Bytes(24 * GiB), Bytes(size)) for pool, size in free.items())


async def with_devices(m: Machine, **models: tuple[str, int]) -> TwoGpus:
    """Have models that take 1 GiB of the host and so many of a device; nothing of that is known before they ran."""
    m.probe.gpus = gpus = TwoGpus(m)  # type: ignore[assignment]  # a stand-in
    m.garage.devices = {name: Amounts({pool: gib * GiB}) for name, (pool, gib) in models.items()}
    m.serve(**dict.fromkeys(models, 1))
    await m.monitor.fresh()
    return gpus


def unmeasured(gib: int, *, pools: tuple[str, ...] | None = None, how: Offload = OFFLOAD) -> Cost:
    """What is known of a model of so many GiB that never ran: its layout, and the devices that it may use."""
    layout = Layout(weights=(GiB,) * gib, caches=(0,) * gib, host=GiB)
    return Cost(Bytes(layout.total), "estimated", Bytes(layout.total), layout=layout, offload=how, pools=pools)


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


def evictions(m: Machine) -> list[tuple[str, tuple[str, ...]]]:
    """For whom, and who went."""
    return [
        (each.decision.model, each.decision.victims) for each in m.governor.records if each.decision.kind == "evict"
    ]


async def test_two_models_on_one_card_with_room_for_one(autojump_clock: MockClock) -> None:
    """On their first load, of which nothing was measured: the second waits for the first to go, though the host and the
    other card have room, and though `--fit` would squeeze it beside the first.
    """
    async with machine(PLENTY) as m:
        await with_devices(m, a=(FIRST, 15), b=(FIRST, 15))
        m.costs.layouts = dict.fromkeys(("a", "b"), unmeasured(15, pools=(FIRST,)))
        await m.use("a")
        await m.use("b")
        assert m.loaded == ["b"]
        assert evictions(m) == [("b", ("a",))]


async def test_each_card_for_itself(autojump_clock: MockClock) -> None:
    """Nobody leaves for a model that goes to the other card; the third leaves a mark on its own only."""
    async with machine(PLENTY) as m:
        await with_devices(m, a=(FIRST, 15), b=(SECOND, 15), c=(SECOND, 15))
        first, second = unmeasured(15, pools=(FIRST,)), unmeasured(15, pools=(SECOND,))
        m.costs.layouts = {"a": first, "b": second, "c": second}
        await m.use("a")
        await m.use("b")
        assert (m.loaded, evictions(m)) == (["a", "b"], [])
        await m.use("c")
        assert (m.loaded, evictions(m)) == (["a", "c"], [("c", ("b",))])


async def test_without_a_choice_it_is_spread(autojump_clock: MockClock) -> None:
    """Over both, by what is free; what is on both leaves for one that needs either."""
    async with machine(PLENTY) as m:
        await with_devices(m, wide=(FIRST, 15), b=(SECOND, 15))
        m.garage.devices["wide"] = Amounts({FIRST: 16 * GiB, SECOND: 16 * GiB})
        m.costs.layouts = {"wide": unmeasured(30), "b": unmeasured(15, pools=(SECOND,))}
        await m.use("wide")
        (admitted,) = (each.decision for each in m.governor.records)
        assert admitted.bytes > 30 * GiB
        await m.use("b")
        assert evictions(m) == [("b", ("wide",))]


async def test_a_model_for_the_cpu_leaves_cards_alone(autojump_clock: MockClock) -> None:
    """`devices = ["none"]`, or a build without any."""
    async with machine(PLENTY) as m:
        await with_devices(m, a=(FIRST, 20), b=(FIRST, 0))
        m.costs.layouts = {"a": unmeasured(20, pools=(FIRST,)), "b": unmeasured(20, pools=())}
        await m.use("a")
        await m.use("b")
        assert (m.loaded, evictions(m)) == (["a", "b"], [])


async def test_what_is_pinned_is_not_waited_for(autojump_clock: MockClock) -> None:
    """The engine will find what is left, and put the rest into the host's memory."""
    async with machine(PLENTY) as m:
        await with_devices(m, a=(FIRST, 15), b=(FIRST, 6))
        m.costs.layouts = dict.fromkeys(("a", "b"), unmeasured(15, pools=(FIRST,)))
        await m.use("a")
        m.fleet.models["a"].pin(True)
        await m.use("b")
        assert (m.loaded, evictions(m)) == (["a", "b"], [])


async def test_a_small_machine_with_a_large_card(autojump_clock: MockClock) -> None:
    """With `limit = "auto"` the host's size bounds what is in the host, and nothing else."""
    async with machine() as m:
        gpus = await with_devices(m, a=(FIRST, 22), b=(SECOND, 22), c=(FIRST, 22))
        m.neighbour = 0
        for name in ("a", "b"):
            m.garage.sizes[name] = 25 * GiB
        m.costs.devices = dict(m.garage.devices)
        await m.use("a")
        await m.use("b")
        assert m.loaded == ["a", "b"], "94 GiB together, 50 of them in the host's 60"
        assert evictions(m) == []
        assert gpus.others == {}
        assert m.governor.machine().ceiling == 60 * GiB + 48 * GiB
        m.garage.sizes["c"] = 61 * GiB
        with pytest.raises(ModelTooLarge, match="of the machine's own memory all models together may use 60"):
            await m.use("c")


async def test_a_game_gets_its_card(autojump_clock: MockClock) -> None:
    """The idle model on that card goes, and not the one on the other, though it is cheaper to lose; one is enough. When
    the game is over, all is as before.
    """
    async with machine(PLENTY) as m:
        gpus = await with_devices(m, a=(FIRST, 12), b=(FIRST, 6), c=(SECOND, 20))
        m.costs.devices = dict(m.garage.devices)
        await m.use("c")
        await m.use("a")
        await m.use("b")
        await trio.sleep(120)
        gpus.others[FIRST] = 6 * GiB - GiB // 8
        await trio.sleep(5)
        assert m.loaded == ["c", "a", "b"], "not at once"
        await trio.sleep(60)
        assert m.loaded == ["c", "b"] or m.loaded == ["c", "a"]
        assert [cause for _, cause in m.went()] == ["pressure"]
        (decision,) = (each.decision for each in m.governor.records if each.decision.kind == "evict")
        assert f"{FIRST} is short of" in decision.reason
        assert m.governor.pressure.level == "normal", "the machine's own memory isn't short"
        assert list(m.governor.devices.short) == []
        gpus.others.clear()
        await trio.sleep(5)
        await m.use("a")
        await m.use("b")
        assert sorted(m.loaded) == ["a", "b", "c"]


async def test_a_card_that_our_models_fill_is_left_alone(autojump_clock: MockClock) -> None:
    """Nobody else wants it."""
    async with machine(PLENTY) as m:
        await with_devices(m, a=(FIRST, 24), b=(SECOND, 24))
        m.costs.devices = dict(m.garage.devices)
        await m.use("a")
        await m.use("b")
        await trio.sleep(600)
        assert (m.loaded, m.went()) == (["a", "b"], [])


async def test_on_a_card_that_is_short_nothing_is_added(autojump_clock: MockClock) -> None:
    """A load waits there, or takes another's place; elsewhere it goes on."""
    async with machine(PLENTY) as m:
        gpus = await with_devices(m, a=(FIRST, 12), b=(FIRST, 1), c=(SECOND, 12))
        m.costs.devices = dict(m.garage.devices)
        m.nursery.start_soon(m.keep_using, "a", 5)
        await trio.sleep(30)
        gpus.others[FIRST] = 12 * GiB - GiB // 8
        await trio.sleep(30)
        assert list(m.governor.devices.short) == [FIRST]
        assert m.governor.left is not None
        assert "in flight" in m.governor.left.reason
        m.ask("b")
        await m.use("c")
        assert m.loaded == ["a", "c"]
        gpus.others.clear()
        await trio.sleep(60)
        assert sorted(m.loaded) == ["a", "b", "c"]


def test_more_of_everything_but_no_more_than_there_is() -> None:
    """What is asked for after a load ran out of memory grows where it was, and isn't refused for that."""
    known = Cost(Bytes(10 * GiB), "measured", Bytes(10 * GiB), devices=Amounts({FIRST: 8 * GiB}))
    assert scaled(known, 10 * GiB) == Amounts({FIRST: 8 * GiB, HOST: 2 * GiB})
    assert scaled(known, 20 * GiB) == Amounts({FIRST: 16 * GiB, HOST: 4 * GiB})
    pools = {**host_pools(60 * GiB), FIRST: Pool(total=12 * GiB, available=12 * GiB)}
    assert at_most(scaled(known, 20 * GiB), Pools(pools)) == Amounts({FIRST: 12 * GiB, HOST: 4 * GiB})
