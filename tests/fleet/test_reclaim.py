"""The end of an unload: its memory is seen to come back, for as long as that is worth waiting for."""

from __future__ import annotations

import sys
from typing import Literal

import pytest
import trio
import trio.testing
from attrs import evolve
from looks import LINUX, Camera

from llmsup.config.live import LiveConfig
from llmsup.config.schema import Config, GiB, Memory
from llmsup.errors import SetupError
from llmsup.fleet.memory.reclaim import HURRY, PATIENCE, WORTH_WAITING, until_returned
from llmsup.memory.amounts import HOST, Amounts
from llmsup.memory.cost.cost import by_pool
from llmsup.memory.machine.monitor import MemoryMonitor
from llmsup.memory.machine.reading import Gpu, Reading, device_pool
from llmsup.process.ring import Events
from llmsup.units import Bytes

Clock = trio.testing.MockClock
BEFORE = 10 * GiB


GPUS = (Gpu("a card"),)
DEFAULTS = Memory()


def returns(*after: tuple[float, float], gpus: tuple[Gpu, ...] = GPUS, memory: Memory = DEFAULTS) -> MemoryMonitor:
    """A machine where so many GiB more than before are available from so many seconds on. A card's driver takes its
    time with that.
    """

    class Returning(Camera):
        async def read(self, probe: tuple[str, ...] | Literal["auto"] = "auto") -> Reading:
            self.looks.append(trio.current_time())
            gib = max((gib for seconds, gib in after if trio.current_time() >= seconds), default=0.0)
            return evolve(LINUX, available=Bytes(BEFORE + round(gib * GiB)), gpus=gpus)

    return MemoryMonitor(LiveConfig(Config(memory=memory)), Returning(LINUX), Events())


def fails(view: Reading | SetupError, takes: float = 0.0) -> MemoryMonitor:
    return MemoryMonitor(LiveConfig(Config()), Camera(view, takes), Events())


async def test_it_is_over_when_three_quarters_are_back(autojump_clock: Clock) -> None:
    """Others take some meanwhile; what came back is told as it was seen."""
    monitor = returns((0.5, 2.0), (1.2, 3.1), (2.0, 4.0))
    freed = await until_returned(monitor, expected=by_pool(4 * GiB), before=by_pool(BEFORE), hurry=False)
    assert freed == round(3.1 * GiB)
    assert 1.2 <= trio.current_time() <= 1.5


@pytest.mark.parametrize(("hurry", "seconds"), [(False, PATIENCE), (True, HURRY)])
async def test_it_is_not_waited_for_any_longer(autojump_clock: Clock, hurry: bool, seconds: float) -> None:
    """A driver that keeps the memory, or a neighbour that took it: as much as was seen, and no more time."""
    freed = await until_returned(returns((0.5, 1.0)), expected=by_pool(4 * GiB), before=by_pool(BEFORE), hurry=hurry)
    assert freed == GiB
    assert trio.current_time() == pytest.approx(seconds)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere memory may come back later")
async def test_where_a_process_that_is_gone_has_nothing_any_more(autojump_clock: Clock) -> None:
    """What others do meanwhile would only be mistaken for its memory: one look, and no waiting."""
    freed = await until_returned(
        returns((0.5, 1.0), gpus=()), expected=by_pool(4 * GiB), before=by_pool(BEFORE), hurry=False
    )
    assert (freed, trio.current_time()) == (0, 0)


async def test_what_a_probe_speaks_of_comes_back_later(autojump_clock: Clock) -> None:
    """It may be in a driver or on another host, whatever the system is that llmsup runs on."""
    monitor = returns((2.5, 4.0), gpus=(), memory=Memory(probe=("probe",)))
    assert await until_returned(monitor, expected=by_pool(4 * GiB), before=by_pool(BEFORE), hurry=False) == 4 * GiB
    assert trio.current_time() >= 2.5


async def test_what_was_no_process_of_ours_comes_back_later(autojump_clock: Clock) -> None:
    """A container ends after the command that it was started by."""
    monitor = returns((2.5, 4.0), gpus=())
    assert (
        await until_returned(monitor, expected=by_pool(4 * GiB), before=by_pool(BEFORE), hurry=False, unseen=True)
        == 4 * GiB
    )
    assert trio.current_time() >= 2.5


async def test_a_small_one_is_not_waited_for(autojump_clock: Clock) -> None:
    """One look."""
    monitor = returns((9.0, 1.0))
    assert await until_returned(monitor, expected=by_pool(WORTH_WAITING - 1), before=by_pool(BEFORE), hurry=False) == 0
    assert trio.current_time() == 0
    assert await until_returned(monitor, expected=by_pool(0), before=by_pool(BEFORE), hurry=False) == 0


async def test_others_that_take_more_than_comes_back(autojump_clock: Clock) -> None:
    """Nothing less than nothing is freed."""
    freed = await until_returned(
        returns((0.0, -3.0)), expected=by_pool(GiB), before=by_pool(BEFORE + 4 * GiB), hurry=True
    )
    assert freed == 0


async def test_nobody_knows_what_was_available_before(autojump_clock: Clock) -> None:
    """Then nothing can be told, and nobody waits."""
    assert await until_returned(returns((0.0, 1.0)), expected=by_pool(GiB), before=None, hurry=False) is None
    assert trio.current_time() == 0


@pytest.mark.parametrize("view", [Reading(), SetupError("it is broken")])
async def test_a_machine_that_can_not_be_read(autojump_clock: Clock, view: Reading | SetupError) -> None:
    """Nobody waits for what nobody will see."""
    assert await until_returned(fails(view), expected=by_pool(GiB), before=by_pool(BEFORE), hurry=False) is None
    assert trio.current_time() == 0


async def test_a_probe_that_hangs(autojump_clock: Clock) -> None:
    """It is not waited for beyond the usual time."""
    assert (
        await until_returned(fails(LINUX, takes=60.0), expected=by_pool(GiB), before=by_pool(BEFORE), hurry=True)
        is None
    )
    assert trio.current_time() == pytest.approx(HURRY)


async def test_a_device_is_waited_for_as_well(autojump_clock: Clock) -> None:
    """The machine's own memory is back at once; who starts before the device's is would take the little that is free
    for all there is. What comes back of the host is told.
    """

    class Returning(Camera):
        async def read(self, probe: tuple[str, ...] | Literal["auto"] = "auto") -> Reading:
            free = 23 * GiB if trio.current_time() >= 1.5 else 4 * GiB
            return evolve(LINUX, available=Bytes(BEFORE + GiB), gpus=(Gpu("a card", Bytes(24 * GiB), Bytes(free)),))

    pool = device_pool(0)
    monitor = MemoryMonitor(LiveConfig(Config()), Returning(LINUX), Events())
    had, before = Amounts({HOST: GiB, pool: 20 * GiB}), Amounts({HOST: BEFORE, pool: 4 * GiB})
    assert await until_returned(monitor, expected=had, before=before, hurry=False) == GiB
    assert 1.5 <= trio.current_time() <= 1.8
    gone = Amounts({HOST: GiB, "gpu7": 20 * GiB})  # a device that has fallen off the bus
    assert await until_returned(monitor, expected=gone, before=before, hurry=False) == GiB
    assert trio.current_time() <= 1.8
