"""When the bridge runs, by a clock that jumps: what a run does is made up here, and so is the wall clock."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing
from attrs import evolve

from llmsup.bridge.record import BridgeRun
from llmsup.bridge.scheduler import LOOK_AGAIN, BridgeScheduler
from llmsup.config.live import LiveConfig
from llmsup.config.schema import Bridge, Config
from llmsup.errors import BadRequest, ConfigError, ShuttingDown
from llmsup.process.orphans import Orphans
from llmsup.units import NEVER, Seconds

NOON = datetime(2025, 1, 15, 12, 0, tzinfo=UTC).timestamp()


class World:
    """A scheduler, its wall clock, and what became of it.

    Attributes:
        asleep: Seconds by which the wall clock has gone on while trio's stood still.
        takes: Seconds that a run takes.
        outcome: What runs come to.
        runs: When they began, in seconds since noon.
    """

    def __init__(self) -> None:
        self.config = LiveConfig(Config())
        self.asleep = 0.0
        self.takes = 0.0
        self.outcome: dict[str, Any] = {}
        self.runs: list[float] = []
        self.at_once = 0
        self.scans = 0
        self.events: list[dict[str, Any]] = []
        self.rescans: Callable[[], Awaitable[None]] = self._nothing
        self.began = trio.current_time()
        self.scheduler = BridgeScheduler(
            self.config,
            Orphans(Path("nowhere")),
            rescan=self._rescan,
            announce=self._told,
            wall=self.wall,
            jitter=lambda: 0.0,
            bridge=self._bridge,
        )

    @property
    def now(self) -> float:
        """Seconds since noon."""
        return trio.current_time() - self.began + self.asleep

    def wall(self) -> float:
        return NOON + self.now

    def use(self, **bridge: Any) -> None:
        self.config.replace(Config(bridge=Bridge(**bridge)))

    async def _bridge(self, config: Config, _orphans: Orphans, wall: Callable[[], float]) -> BridgeRun:
        assert config is self.config.now
        assert not self.at_once, "two runs at once"
        self.at_once += 1
        self.runs.append(round(self.now))
        run = BridgeRun(started_at=wall(), **self.outcome)
        await trio.sleep(self.takes)
        self.at_once -= 1
        return evolve(run, seconds=self.takes)

    async def _nothing(self) -> None:
        pass

    async def _rescan(self) -> None:
        self.scans += 1
        await self.rescans()

    def _told(self, kind: str, **data: Any) -> None:
        assert kind == "bridge"
        self.events.append(data)


@pytest.fixture
async def world() -> World:
    return World()


async def test_once_at_the_start_and_then_every_so_often(
    autojump_clock: trio.testing.MockClock, world: World, nursery: trio.Nursery
) -> None:
    await nursery.start(world.scheduler.run)
    await trio.sleep(3 * 3600 + 1)
    assert world.runs == [0, 3600, 7200, 10800]
    assert (len(world.events), world.scans) == (4, 5), "one look before the first run, and one after each"
    assert world.scheduler.last is not None
    assert world.scheduler.next_run == NOON + 14400
    assert not world.scheduler.running


async def test_a_long_run_does_not_move_the_next(
    autojump_clock: trio.testing.MockClock, world: World, nursery: trio.Nursery
) -> None:
    """The interval is from start to start; runs that take longer than that follow each other."""
    world.takes = 600
    await nursery.start(world.scheduler.run)
    await trio.sleep(3600 + 1)
    assert world.runs == [0, 3600]
    world.takes = 5000
    await trio.sleep(12000)
    assert world.runs == [0, 3600, 7200, 12200]


async def test_by_cron(autojump_clock: trio.testing.MockClock, world: World, nursery: trio.Nursery) -> None:
    """At the start, too: models that came while we were away shall not wait for the hour."""
    world.use(cron="*/30 * * * *")
    await nursery.start(world.scheduler.run)
    await trio.sleep(3601)
    assert world.runs == [0, 1800, 3600]


async def test_what_was_missed_in_sleep_is_one_run(
    autojump_clock: trio.testing.MockClock, world: World, nursery: trio.Nursery
) -> None:
    """A laptop that slept for ten hours: trio's clock stood still; within a minute of its waking there is one run."""
    await nursery.start(world.scheduler.run)
    await trio.sleep(600)
    world.asleep = 36_000
    await trio.sleep(LOOK_AGAIN + 1)
    assert len(world.runs) == 2
    assert 36_600 <= world.runs[1] <= 36_600 + LOOK_AGAIN
    await trio.sleep(3601)
    assert len(world.runs) == 3, "the next comes an interval later"


async def test_a_clock_that_is_set_back(
    autojump_clock: trio.testing.MockClock, world: World, nursery: trio.Nursery
) -> None:
    """It isn't waited for until it is as late again."""
    await nursery.start(world.scheduler.run)
    await trio.sleep(600)
    world.asleep = -1_000_000
    await trio.sleep(3600 + LOOK_AGAIN + 1)
    assert len(world.runs) == 2


async def test_never_is_off_but_for_who_asks(
    autojump_clock: trio.testing.MockClock, world: World, nursery: trio.Nursery
) -> None:
    world.use(every=NEVER)
    await nursery.start(world.scheduler.run)
    await trio.sleep(80_000)
    assert world.runs == []
    assert world.scheduler.last is None
    run = await world.scheduler.run_now()
    assert run is world.scheduler.last
    assert len(world.runs) == 1


async def test_a_reload_takes_effect(
    autojump_clock: trio.testing.MockClock, world: World, nursery: trio.Nursery
) -> None:
    """Within a minute: another interval, off, on again."""
    await nursery.start(world.scheduler.run)
    await trio.sleep(100)
    world.use(every=Seconds(600))
    await trio.sleep(600)
    assert world.runs == [0, 600]
    world.use(every=NEVER)
    await trio.sleep(5000)
    assert world.runs == [0, 600]
    world.use(every=Seconds(600))
    await trio.sleep(LOOK_AGAIN + 1)
    assert len(world.runs) == 3


async def test_a_failing_run_is_retried_on_schedule(
    autojump_clock: trio.testing.MockClock, world: World, nursery: trio.Nursery, caplog: pytest.LogCaptureFixture
) -> None:
    """It is told and the scheduler goes on; problems that stay are told once."""
    world.outcome = {"error": "the script exited with code 3.", "problems": ("a file is there.",)}
    await nursery.start(world.scheduler.run)
    await trio.sleep(7201)
    assert world.runs == [0, 3600, 7200]
    assert world.scheduler.last is not None
    assert world.scheduler.last.error
    assert world.scans == 4
    assert [event["success"] for event in world.events] == [False] * 3
    warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert sum("exited with code 3" in warning for warning in warnings) == 3
    assert sum("a file is there" in warning for warning in warnings) == 1


async def test_run_now_is_a_run_that_begins_after_it(
    autojump_clock: trio.testing.MockClock, world: World, nursery: trio.Nursery
) -> None:
    """One that goes on may have looked before what the caller means was there; who asks at the same time shares one."""
    world.takes = 10
    await nursery.start(world.scheduler.run)
    await trio.sleep(5)
    results: list[BridgeRun] = []

    async def ask() -> None:
        results.append(await world.scheduler.run_now())

    async with trio.open_nursery() as askers:
        for _ in range(3):
            askers.start_soon(ask)
    assert world.runs == [0, 10]
    assert world.now == pytest.approx(20)
    async with trio.open_nursery() as askers:
        for _ in range(3):
            askers.start_soon(ask)
    assert world.runs == [0, 10, 20]
    assert [run.started_at - NOON for run in results] == [10] * 3 + [20] * 3
    await trio.sleep(3595)
    assert world.runs == [0, 10, 20, 3620], "a run by hand counts as one of the schedule's"


async def test_who_leaves_does_not_end_the_run(
    autojump_clock: trio.testing.MockClock, world: World, nursery: trio.Nursery
) -> None:
    world.use(every=NEVER)
    world.takes = 10
    await nursery.start(world.scheduler.run)
    with trio.move_on_after(5):
        await world.scheduler.run_now()
    assert world.scheduler.running
    assert "running" in repr(world.scheduler)
    await trio.sleep(6)
    assert world.runs == [0]
    assert world.scheduler.last is not None
    assert "waiting, 0 links made" in repr(world.scheduler)


async def test_the_answer_comes_after_the_look_at_the_disk(
    autojump_clock: trio.testing.MockClock, world: World, nursery: trio.Nursery
) -> None:
    """Who asked finds the new models at once."""
    world.use(every=NEVER)

    async def slow() -> None:
        await trio.sleep(3)

    world.rescans = slow
    await nursery.start(world.scheduler.run)
    await world.scheduler.run_now()
    assert world.now == pytest.approx(3)
    assert world.scans == 1


@pytest.mark.parametrize("error", [ShuttingDown("stopping."), ConfigError(("x",), "the config")])
async def test_a_look_that_fails_ends_nothing(
    autojump_clock: trio.testing.MockClock, world: World, nursery: trio.Nursery, error: Exception
) -> None:
    async def fail() -> None:
        raise error

    world.rescans = fail
    await nursery.start(world.scheduler.run)
    await trio.sleep(3601)
    assert len(world.runs) == 2


async def test_too_late(autojump_clock: trio.testing.MockClock, world: World, nursery: trio.Nursery) -> None:
    """Who waits when llmsup stops is told, and so is who comes then."""
    world.use(every=NEVER)
    world.takes = 100
    told: list[str] = []

    async def ask() -> None:
        try:
            await world.scheduler.run_now()
        except ShuttingDown as error:
            told.append(error.message)

    async with trio.open_nursery() as own:
        await own.start(world.scheduler.run)
        nursery.start_soon(ask)
        await trio.sleep(5)
        own.cancel_scope.cancel()
    await trio.sleep(1)
    await ask()
    assert told == ["llmsup is shutting down."] * 2


async def test_jitter(autojump_clock: trio.testing.MockClock, nursery: trio.Nursery) -> None:
    """Drawn anew for each run."""
    world = World()
    drawn = iter([0.0, 1.0, 0.5, 0.0, 0.0, 0.0])
    world.scheduler._jitter = lambda: next(drawn)
    await nursery.start(world.scheduler.run)
    await trio.sleep(4 * 3600)
    assert world.runs == [0, 3600, 3600 + 3660, 3600 + 3660 + 3630]


async def test_a_program_can_not_be_asked_what_it_would_do(
    autojump_clock: trio.testing.MockClock, world: World
) -> None:
    world.use(command=("/opt/bridge",))
    with pytest.raises(BadRequest, match=r"Only the built-in bridge.*'/opt/bridge'"):
        await world.scheduler.dry_run()
