"""Rates from counters that are looked at more often than they mean anything."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import trio
import trio.testing
from attrs import evolve
from looks import MAC

from llmsup.memory.machine.reading import Reading
from llmsup.memory.machine.sampler import RATES_OVER, Gpus, Sampler
from llmsup.units import Bytes

MiB = 1024**2


def growing(by: float) -> Callable[[], Reading]:
    """A Mac whose counters grow by so many bytes a second, in jumps of a whole MiB."""

    def system() -> Reading:
        grown = int(trio.current_time() * by) // MiB * MiB
        return evolve(MAC, swap_out_rate=None, compressor_rate=None, swapped_out=Bytes(grown), compressed=Bytes(grown))

    return system


def sampler(system: Callable[[], Reading]) -> Sampler:
    return Sampler(system=system, gpus=Gpus(cards=(), nvml=None))


async def test_looks_in_a_hurry_keep_the_rate(autojump_clock: trio.testing.MockClock) -> None:
    """Five a second: in between the rate of before holds; a jump of the counter is no burst, a gap no calm."""
    source, rates = sampler(growing(10 * MiB)), []
    for _ in range(30):
        rates.append((await source.read()).swap_out_rate)
        await trio.sleep(0.2)
    assert rates[:3] == [None, None, None]
    assert rates[3:] == [pytest.approx(10 * MiB, rel=0.2)] * 27


async def test_what_is_unknown_in_between_has_no_rate(autojump_clock: trio.testing.MockClock) -> None:
    """A counter that is not read any more does not grow at its old rate for ever."""
    readings = iter([MAC, evolve(MAC, swapped_out=Bytes(MAC.swapped_out + 10**9)), Reading(), Reading()])  # type: ignore[operator]  # it is known
    source = sampler(lambda: evolve(next(readings), swap_out_rate=None, compressor_rate=None))
    await source.read()
    await trio.sleep(1)
    assert (await source.read()).swap_out_rate == pytest.approx(1e9)
    await trio.sleep(RATES_OVER / 2)
    assert (await source.read()).swap_out_rate is None
    await trio.sleep(RATES_OVER)
    assert (await source.read()).swap_out_rate is None


async def test_exactly_the_least_time_is_enough(autojump_clock: trio.testing.MockClock) -> None:
    """Half a second makes a rate."""
    source = sampler(growing(10 * MiB))
    await source.read()
    await trio.sleep(RATES_OVER)
    assert (await source.read()).swap_out_rate == pytest.approx(10 * MiB)


async def test_it_ends_when_it_ends(autojump_clock: trio.testing.MockClock) -> None:
    """The rate is 0 half a second after the last growth, however often one looks."""
    source = sampler(
        lambda: growing(100 * MiB)() if trio.current_time() < 5 else evolve(MAC, swapped_out=Bytes(500 * MiB))
    )
    while trio.current_time() < 5:
        await source.read()
        await trio.sleep(0.2)
    for _ in range(6):
        rate = (await source.read()).swap_out_rate
        await trio.sleep(0.2)
    assert rate == 0
