"""What an engine may do between ready and its first request, and before a planned stop."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import trio
from fake_run import FakeEngine, Garage
from trio.testing import MockClock, wait_all_tasks_blocked

from llmsup.errors import EngineBadAnswer
from llmsup.fleet.model.hooks import AFTER_READY, BEFORE_STOP, IDLE
from llmsup.fleet.model.intent import StopRequest
from llmsup.fleet.model.model import Model
from llmsup.fleet.model.states import Cause, State
from llmsup.memory.policy.decision import Decision
from llmsup.memory.policy.inputs import Level
from llmsup.units import Seconds

LONG = Seconds(10_000)


class Preparing(Garage):
    """Its engines use both hooks, as long as the test says."""

    def __init__(self) -> None:
        super().__init__()
        self.takes: dict[str, float] = {"after ready": 0, "while idle": 0, "before stop": 0}
        self.fails: Exception | None = None
        self.did: list[str] = []
        self.had: list[float] = []  # seconds until the deadlines

    async def _do(self, what: str) -> None:
        try:
            await trio.sleep(self.takes[what])
            if self.fails:
                raise self.fails
        except trio.Cancelled:
            self.did.append(f"{what}: cancelled")
            raise
        self.did.append(what)

    async def after_ready(self, engine: FakeEngine) -> None:
        await self._do("after ready")

    async def while_idle(self, engine: FakeEngine) -> None:
        await self._do("while idle")

    async def before_stop(self, engine: FakeEngine, deadline: float) -> None:
        self.had.append(deadline - trio.current_time())
        assert engine.stopped_at is None
        await self._do("before stop")


@pytest.fixture
def garage() -> Preparing:
    return Preparing()


async def use(model: Model, seconds: float = 0) -> None:
    with model.enter() as lease:
        await lease.run(LONG)
        await trio.sleep(seconds)


async def loaded(model: Model) -> None:
    model.load()
    await model.until(lambda: model.state is State.READY)


def decision(level: Level) -> Decision:
    return Decision("evict", "it is short", victims=("m",), level=level)


async def test_the_first_request_waits_for_it(
    autojump_clock: MockClock, make: Callable[..., Model], garage: Preparing
) -> None:
    """And the preparation is no part of what the load takes: that is measured for the speed of the disk, and would make
    one way of loading look slower than another for what was restored.
    """
    garage.takes["after ready"] = 3
    model = make()
    began = trio.current_time()
    await use(model)
    assert trio.current_time() - began == pytest.approx(garage.load_time + 3)
    assert garage.did == ["after ready"]
    assert model.load_seconds == pytest.approx(garage.load_time)


async def test_it_does_not_wait_for_ever(
    autojump_clock: MockClock, make: Callable[..., Model], garage: Preparing
) -> None:
    garage.takes["after ready"] = 1000
    began = trio.current_time()
    await use(make())
    assert trio.current_time() - began == pytest.approx(garage.load_time + AFTER_READY)
    assert garage.did == ["after ready: cancelled"]


async def test_an_unload_does_not_wait_for_it(
    autojump_clock: MockClock, make: Callable[..., Model], garage: Preparing
) -> None:
    garage.takes["after ready"] = 8
    model = make()
    model.load()
    await trio.sleep(garage.load_time + 1)
    began = trio.current_time()
    await model.unload("asked")
    assert trio.current_time() == began
    assert garage.did == ["after ready: cancelled"], "what was not ready needs no preparation to be stopped"


@pytest.mark.parametrize("failure", [OSError("disk full"), EngineBadAnswer("what?")])
async def test_a_preparation_that_fails_changes_nothing(
    autojump_clock: MockClock,
    make: Callable[..., Model],
    garage: Preparing,
    failure: Exception,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It is served and stopped all the same, and the log says why it isn't prepared."""
    garage.fails = failure
    model = make()
    await use(model)
    await model.unload("asked")
    assert (model.state, model.crashes) == (State.UNLOADED, 0)
    assert len([text for text in caplog.messages if str(failure) in text]) == 2


async def test_a_planned_stop_is_prepared(
    autojump_clock: MockClock, make: Callable[..., Model], garage: Preparing
) -> None:
    """Once it is idle for its ttl, once somebody asks, once its settings change: the engine still runs meanwhile, and
    nobody is served by it any more.
    """
    garage.takes["before stop"] = 2
    model = make(ttl=Seconds(20))
    await use(model)
    served = trio.current_time()
    await model.until(lambda: model.state is State.UNLOADED)
    assert garage.last.stopped_at == pytest.approx(served + 22)
    await loaded(model)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(model.unload, "asked")
        await wait_all_tasks_blocked()
        assert garage.last.stopped_at is None
        await use(model)  # by the next one
    assert garage.did == ["after ready", "before stop"] * 2 + ["after ready"]
    assert len(garage.engines) == 3
    assert garage.had == [pytest.approx(BEFORE_STOP)] * 2


async def test_a_stop_waits_until_the_deadline(
    autojump_clock: MockClock, make: Callable[..., Model], garage: Preparing
) -> None:
    garage.takes["before stop"] = 1000
    model = make()
    await loaded(model)
    began = trio.current_time()
    await model.unload("asked")
    assert trio.current_time() - began == pytest.approx(BEFORE_STOP)
    assert garage.did == ["after ready", "before stop: cancelled"]


async def test_a_stop_that_is_forced_does_not_wait(
    autojump_clock: MockClock, make: Callable[..., Model], garage: Preparing
) -> None:
    """Neither when it was from the beginning, nor when somebody loses patience."""
    garage.takes["before stop"] = 4
    model = make()
    await loaded(model)
    await model.unload("asked", force=True)
    assert garage.did == ["after ready"]
    await loaded(model)
    began = trio.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(model.unload, "asked")
        await trio.sleep(1)
        await model.unload("now", force=True)
    assert trio.current_time() - began == pytest.approx(1)
    assert garage.did[-1] == "before stop: cancelled"
    assert "now" in model.reason


@pytest.mark.parametrize(
    ("level", "prepared"), [("normal", ["before stop"]), ("warn", ["before stop"]), ("critical", [])]
)
async def test_under_critical_pressure_it_goes_at_once(
    autojump_clock: MockClock, make: Callable[..., Model], garage: Preparing, level: Level, prepared: list[str]
) -> None:
    model = make()
    await loaded(model)
    assert model.run is not None
    model.run.decision = decision(level)
    model.stop(StopRequest("under memory pressure", Cause.PRESSURE))
    await model.until(lambda: model.state is State.UNLOADED)
    assert garage.did == ["after ready", *prepared]


async def test_pressure_that_becomes_critical_meanwhile(
    autojump_clock: MockClock, make: Callable[..., Model], garage: Preparing
) -> None:
    """Whatever the stop was for."""
    garage.takes["before stop"] = 4
    model = make()
    await loaded(model)
    began = trio.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(model.unload, "asked")
        await trio.sleep(1)
        assert model.run is not None
        model.run.urgent = True
        model.notify()
    assert trio.current_time() - began == pytest.approx(1)
    assert garage.did[-1] == "before stop: cancelled"


async def test_idle_time_is_used(autojump_clock: MockClock, make: Callable[..., Model], garage: Preparing) -> None:
    """Once after some work, if nobody comes for a while; a request doesn't wait for it."""
    model = make()
    await loaded(model)
    await trio.sleep(10 * IDLE)
    assert garage.did == ["after ready"], "it has not worked yet"
    for _ in range(3):
        await use(model)
        await trio.sleep(IDLE / 2)
    assert garage.did == ["after ready"]
    garage.takes["while idle"] = 100
    await trio.sleep(IDLE)
    began = trio.current_time()
    await use(model)
    assert trio.current_time() == began
    await trio.sleep(1000)
    assert garage.did == ["after ready", "while idle", "while idle"], "once more, as it has worked again"
    garage.fails = OSError("disk full")
    await use(model)
    await trio.sleep(1000)
    assert model.state is State.READY


async def test_an_engine_that_is_worked_with_is_not_prepared(
    autojump_clock: MockClock, make: Callable[..., Model], garage: Preparing
) -> None:
    """Whoever is cut off has had `drain_timeout`, and that is the limit."""
    model = make(drain_timeout=Seconds(7))
    await loaded(model)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(use, model, 1000)
        await wait_all_tasks_blocked()
        began = trio.current_time()
        await model.unload("asked")
        assert trio.current_time() - began == pytest.approx(7)
        nursery.cancel_scope.cancel()
    assert garage.did == ["after ready"]


async def test_a_crash_is_no_planned_stop(
    autojump_clock: MockClock, make: Callable[..., Model], garage: Preparing
) -> None:
    """And one during the preparation ends that."""
    garage.takes["before stop"] = 4
    model = make()
    await loaded(model)
    garage.last.exit(1)
    await model.until(lambda: model.state is State.UNLOADED)
    assert garage.did == ["after ready"]
    await loaded(model)
    began = trio.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(model.unload, "asked")
        await trio.sleep(1)
        garage.last.exit(1)
    assert trio.current_time() - began == pytest.approx(1, abs=0.1)
    assert garage.did[-1] == "before stop: cancelled"
