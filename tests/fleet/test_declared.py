"""A declared `memory` is what a model's going gives back, too, where the system can't see it."""

from __future__ import annotations

import pytest
import trio
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st
from machines import Machine, machine
from trio.testing import MockClock

from llmsup.config.schema import GiB, MiB
from llmsup.fleet.model.states import Cause
from llmsup.memory.cost.meter import Meter
from llmsup.memory.cost.process import Footprint
from llmsup.units import Bytes

SIZES = st.integers(0, 2**40)


def elsewhere(m: Machine, names: str, later: float = 0.0) -> None:
    """Each of these models is a command of 12 MiB, whose server has 4 GiB where no process of ours does; they are back
    so many seconds after it is gone.
    """
    real = m.reading

    def taken(name: str) -> int:
        engines = [engine for engine in m.garage.engines if engine.name == name]
        ends = [engine.stopped_at for engine in engines if engine.stopped_at is not None]
        here = len(ends) < len(engines) or any(trio.current_time() < end + later for end in ends)
        return 4 * GiB if here else 0

    m.probe.system = lambda: evolve(
        (now := real()), available=Bytes(max((now.available or 0) - sum(map(taken, names)), 0))
    )


@pytest.mark.parametrize("later", [0.0, 3.0])
async def test_under_pressure_it_goes_for_what_was_declared(autojump_clock: MockClock, later: float) -> None:
    """12 MiB of each are to be seen: neither are they too small to help, nor have all together too little; and a step
    is not in vain because what it gives back comes late.
    """
    async with machine() as m:
        m.have(**{name: (12 / 1024, {"memory": Bytes(4 * GiB)}) for name in "abcd"})
        elsewhere(m, "abcd", later)
        for name in "abcd":
            await m.use(name)
            await trio.sleep(100)
        assert [each.freeable.total for each in m.governor.loaded_models()] == [4 * GiB] * 4
        for number in (1, 2, 3):  # each time it is short of less than what one of them has
            m.neighbour = 64 * GiB - (5 - number) * 4 * GiB - 500 * MiB
            await trio.sleep(120)
            assert m.went() == [(name, Cause.PRESSURE) for name in "abc"[:number]]
        freed = [record.freed for record in m.governor.records if record.decision.victims]
        assert all(each is not None and each > 3 * GiB for each in freed)


async def test_an_unload_says_what_was_declared(autojump_clock: MockClock) -> None:
    """As the memory that it had."""
    async with machine() as m:
        m.have(a=(12 / 1024, {"memory": Bytes(4 * GiB)}))
        elsewhere(m, "a")
        await m.use("a")
        await trio.sleep(10)
        assert await m.fleet.models["a"].unload("a test") == 4 * GiB


async def test_not_before_it_is_loaded(autojump_clock: MockClock) -> None:
    """While it loads, what it is going to take is still missing."""
    async with machine(load_time=100) as m:
        m.have(a=(12 / 1024, {"memory": Bytes(4 * GiB)}))
        m.ask("a")
        await trio.sleep(50)
        (a,) = m.governor.loaded_models()
        assert (a.cost.total, a.freeable.total, a.pending.total) == (4 * GiB, 12 * MiB, 4 * GiB - 12 * MiB)


@given(SIZES, SIZES | st.none(), SIZES | st.none())
def test_what_can_be_seen_is_not_counted_twice(held: int, mapped: int | None, declared: int | None) -> None:
    """What is mapped of a file is seen, and doesn't come back."""
    meter = Meter()
    assert meter.gives_back(declared) is None
    meter.saw(Footprint(Bytes(held), None if mapped is None else Bytes(mapped)))
    unseen = max((declared or 0) - held - (mapped or 0), 0)
    assert meter.gives_back(declared) == held + unseen
