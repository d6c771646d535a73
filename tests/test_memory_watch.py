"""The memory watch: it looks all the time, survives what can't be read, and tells each change of level once."""

from __future__ import annotations

import logging
import sys

import pytest
import trio
from attrs import evolve
from machines import NoGpus
from trio.testing import MockClock

from llmsup.config.schema import GiB, Memory
from llmsup.errors import SetupError
from llmsup.memory.readings.reading import Reading
from llmsup.memory.readings.sampler import Sampler
from llmsup.memory.watch import GOOD_FOR, MachineWatch
from llmsup.process.events import Events
from llmsup.units import Bytes, Seconds

TOTAL = Bytes(64 * GiB)
SETTINGS = Memory(reserve=Bytes(4 * GiB))


class World:
    """A machine that says what a test wants, and counts how often it is asked."""

    def __init__(self) -> None:
        self.available = 40 * GiB
        self.broken: Exception | None = None
        self.looks = 0
        self.events = Events()
        sampler = Sampler(system=self.reading, gpus=NoGpus())  # type: ignore[arg-type]  # a stand-in
        self.watch = MachineWatch(SETTINGS, sampler, self.events, total=lambda: TOTAL)

    def reading(self) -> Reading:
        self.looks += 1
        if self.broken is not None:
            raise self.broken
        return Reading(total=TOTAL, available=Bytes(self.available))


@pytest.fixture
def world() -> World:
    return World()


async def test_the_machine_as_the_policy_sees_it(
    autojump_clock: MockClock, nursery: trio.Nursery, world: World
) -> None:
    """The ceiling and the reserve by the config, what is available by the last look."""
    await nursery.start(world.watch.run)
    machine = world.watch.machine(trio.current_time())
    assert (machine.ceiling, machine.reserve, machine.headroom) == (60 * GiB, 4 * GiB, 40 * GiB)
    assert machine.level == "normal"
    world.watch.use(evolve(SETTINGS, limit=Bytes(10 * GiB)))
    assert world.watch.machine(0.0).ceiling == 10 * GiB


async def test_a_macs_gpu_bounds_the_ceiling(autojump_clock: MockClock, nursery: trio.Nursery, world: World) -> None:
    """What it may wire, as soon as that is known."""
    await nursery.start(world.watch.run)
    world.watch.working_set = Bytes(48 * GiB)
    assert world.watch.machine(0.0).ceiling == 48 * GiB


async def test_what_a_llama_server_says_of_its_devices(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """The Metal device's total; a binary that can't be asked is told, and bounds nothing."""
    line = "  MTL0: Apple M3 Max (98304 MiB, 98303 MiB free)"
    # The flag that is appended is the script's own argument.
    await world.watch.learn_working_set((sys.executable, "-c", f"print({line!r})"))
    assert world.watch.working_set == 96 * GiB
    other = World()
    with caplog.at_level(logging.WARNING):
        await other.watch.learn_working_set(("/no/such/llama-server",))
    assert other.watch.working_set is None
    assert "what the GPU may wire is not known: /no/such/llama-server" in caplog.text


async def test_it_looks_every_interval(autojump_clock: MockClock, nursery: trio.Nursery, world: World) -> None:
    """And five times as often while anything presses."""
    await nursery.start(world.watch.run)
    await trio.sleep(10.5)
    assert world.looks == 11
    world.available = GiB
    await trio.sleep(1)
    before = world.looks
    await trio.sleep(2)
    assert world.looks == before + 10


async def test_each_change_of_level_is_told_once(
    autojump_clock: MockClock, nursery: trio.Nursery, world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """One event and one line in the log, with the reason and what is missing."""
    await nursery.start(world.watch.run)
    world.available = round(1.4 * GiB)
    with caplog.at_level(logging.INFO):
        await trio.sleep(20)
        world.available = 40 * GiB
        await trio.sleep(60)
    told = [event.data for event in world.events.since(0)]
    assert [(each["before"], each["level"]) for each in told] == [("normal", "warn"), ("warn", "normal")]
    assert "1.4 GiB of 64.0 GiB are available" in told[0]["reason"]
    assert told[0]["shortfall_bytes"] > 0
    assert caplog.text.count("memory pressure: ") == 2
    assert "memory pressure: normal -> warn" in caplog.text


@pytest.mark.parametrize(
    "broken",
    [SetupError("[memory] probe x did not end within 5 s."), SetupError("[memory] probe x: it printed 'rubbish'.")],
)
async def test_a_probe_that_fails(
    autojump_clock: MockClock,
    nursery: trio.Nursery,
    world: World,
    caplog: pytest.LogCaptureFixture,
    broken: SetupError,
) -> None:
    """The last good reading for ten seconds, then none; said once, and once more when it is over."""
    await nursery.start(world.watch.run)
    world.available, world.broken = 7 * GiB, broken
    with caplog.at_level(logging.INFO):
        await trio.sleep(GOOD_FOR - 2)
        assert world.watch.machine(trio.current_time()).headroom == 40 * GiB
        await trio.sleep(4)
        assert world.watch.machine(trio.current_time()).headroom is None
        assert world.watch.machine(trio.current_time()).ceiling == 60 * GiB
        assert world.watch.problem == str(broken)
        await trio.sleep(100)
        assert caplog.text.count(str(broken)) == 1
        assert "models are let in by what they cost alone" in caplog.text
        world.broken = None
        await trio.sleep(2)
    assert world.watch.machine(trio.current_time()).headroom == 7 * GiB
    assert world.watch.problem == ""
    assert caplog.text.count("can be read again") == 1


async def test_pressure_that_can_not_be_seen_any_more_is_over(
    autojump_clock: MockClock, nursery: trio.Nursery, world: World
) -> None:
    """Nobody is unloaded for what nobody knows."""
    await nursery.start(world.watch.run)
    world.available = GiB // 2
    await trio.sleep(5)
    assert world.watch.pressure.level == "critical"
    world.broken = SetupError("it broke.")
    await trio.sleep(GOOD_FOR + 2)
    after = world.watch.pressure
    assert (after.level, after.shortfall) == ("normal", 0)


async def test_a_probe_that_never_worked(autojump_clock: MockClock, nursery: trio.Nursery, world: World) -> None:
    """Serving begins all the same."""
    world.broken = SetupError("it can't be run.")
    await nursery.start(world.watch.run)
    machine = world.watch.machine(trio.current_time())
    assert (machine.ceiling, machine.headroom, machine.level) == (60 * GiB, None, "normal")


async def test_a_look_that_is_asked_for_begins_after_the_asking(
    autojump_clock: MockClock, nursery: trio.Nursery, world: World
) -> None:
    """What was seen a moment before says nothing of what came back since; those who ask together share one."""
    await nursery.start(world.watch.run)
    before = world.looks
    world.available = 10 * GiB
    seen = await world.watch.fresh()
    assert seen is not None
    assert (seen.available, world.looks) == (10 * GiB, before + 1)

    gate = trio.Event()

    async def slow() -> tuple[()]:
        await gate.wait()
        return ()

    world.watch._sampler.gpus.read = slow  # type: ignore[method-assign]
    before = world.looks
    async with trio.open_nursery() as askers:
        for _ in range(5):
            askers.start_soon(world.watch.fresh)
        await trio.testing.wait_all_tasks_blocked()
        gate.set()
    assert world.looks <= before + 2, "one that was under way, and one for all who asked meanwhile"


async def test_those_who_wait_for_a_change_are_woken_by_each_look(
    autojump_clock: MockClock, nursery: trio.Nursery, world: World
) -> None:
    """The governor follows it that way."""
    await nursery.start(world.watch.run)
    with trio.fail_after(Seconds(1.5)):
        await world.watch.change()


def test_it_can_be_read_by_people(world: World) -> None:
    """In a log or an assertion."""
    assert repr(world.watch) == "<MachineWatch normal, unknown available of 64.0 GiB>"
