"""The front: what is asked here, rates from counters, and the probe instead of the system."""

from __future__ import annotations

import sys
from collections.abc import Callable

import pytest
import trio
import trio.testing
from attrs import evolve

from llmsup.errors import SetupError
from llmsup.memory.machine.reading import Reading, Stall
from llmsup.memory.machine.sampler import Gpus, Sampler, this_system
from llmsup.units import Bytes

MAC = Reading(total=Bytes(100), available=Bytes(50), level="normal", swapped_out=Bytes(1000), compressed=Bytes(500))


def sampler(*readings: Reading) -> Sampler:
    """One that gets these readings from its system, one after the other, on a machine without devices."""
    left = iter(readings)
    system: Callable[[], Reading] = lambda: next(left)  # noqa: E731 -- a def would be no shorter
    return Sampler(system, Gpus(cards=(), nvml=None))


async def test_rates(autojump_clock: trio.testing.MockClock) -> None:
    """Per second, since the reading before; there are none for a first one."""
    later = evolve(MAC, swapped_out=Bytes(5000), compressed=Bytes(100))
    source = sampler(MAC, later, later)
    first = await source.read()
    assert (first.swap_out_rate, first.compressor_rate) == (None, None)
    await trio.sleep(4)
    second = await source.read()
    assert second.swap_out_rate == pytest.approx(1000)
    assert second.compressor_rate == pytest.approx(-100)
    await trio.sleep(4)
    assert (await source.read()).swap_out_rate == 0


async def test_rates_of_what_is_unknown(autojump_clock: trio.testing.MockClock) -> None:
    """A counter that was not read once makes no rate, then or after; one that went back has not grown."""
    source = sampler(MAC, Reading(), MAC, evolve(MAC, swapped_out=Bytes(1)))
    rates = []
    for _ in range(4):
        rates.append((await source.read()).swap_out_rate)
        await trio.sleep(1)
    assert rates == [None, None, None, 0]


async def test_two_readings_at_one_moment(mock_clock: trio.testing.MockClock) -> None:
    """No time between them is no rate, and no division by zero."""
    source = sampler(MAC, MAC)
    await source.read()
    assert (await source.read()).swap_out_rate is None


def probe(text: str) -> tuple[str, ...]:
    return (sys.executable, "-S", "-c", f"print({text!r})")


async def test_a_probe_says_all_of_the_state() -> None:
    """Its numbers instead of the system's, and no stalls that would say something else."""
    stall = Stall(90, 90, 90, 1)
    system = evolve(MAC, some=stall, full=stall, oom_kills=3, sources={"total": "meminfo", "some": "psi"})
    answer = '{"total": 80, "available": 7, "level": "critical"}'
    found = await sampler(system).read(probe(answer))
    assert (found.total, found.available, found.level) == (80, 7, "critical")
    assert (found.some, found.full, found.swapped_out, found.compressed) == (None, None, None, None)
    assert (found.oom_kills, found.gpus) == (3, ())
    assert found.sources["available"].startswith("probe ")
    assert "some" not in found.sources
    assert found.raw["probe level"] == "critical"


async def test_a_probe_that_leaves_the_total_out() -> None:
    """That is the system's to know; a level that it leaves out is unknown."""
    system = evolve(MAC, own_group=True, sources={"total": "meminfo"})
    found = await sampler(system).read(probe('{"available": 7}'))
    assert (found.total, found.own_group, found.available, found.level) == (100, True, 7, None)
    assert found.sources["total"] == "meminfo"
    said = await sampler(system).read(probe('{"total": 90, "available": 7}'))
    assert (said.total, said.own_group) == (90, False), "whose that is, nobody knows"


async def test_a_probe_that_fails_is_the_callers_to_bear() -> None:
    """It keeps the last good reading; the next may work."""
    source = sampler(MAC, MAC)
    with pytest.raises(SetupError, match="probe"):
        await source.read(probe("rubbish"))
    assert (await source.read(probe('{"available": 7}'))).available == 7


def test_a_system_that_is_not_known_here() -> None:
    """All unknown; nothing fails."""
    assert this_system("freebsd14")() == Reading()


async def test_this_machine() -> None:
    """All that is to be had here."""
    found = await Sampler().read()
    if sys.platform in ("linux", "darwin"):
        assert found.total is not None
        assert found.available is not None
        assert 0 < found.available <= found.total
        assert set(found.sources) <= {name for name in dir(found) if getattr(found, name) is not None}
