"""What happens to a model while something else is happening to it; engines are fakes and the clock jumps."""

from __future__ import annotations

import pytest
import trio
from fake_life import FakeEngine, Garage
from fleets import LONG, entries, entry, fleet_of_fakes, garage_of_fakes, use  # noqa: F401 -- fixtures are named by their tests
from trio.testing import MockClock, wait_all_tasks_blocked

from llmsup.errors import EngineDied, Error, ShuttingDown
from llmsup.fleet.changes import Changes
from llmsup.fleet.fleet import Fleet
from llmsup.fleet.state import State
from llmsup.gateway.exchange import Exchange, Order
from llmsup.units import NEVER, Bytes, Seconds


async def told(fleet: Fleet, answers: list[str | Error], seconds: float = 1) -> None:
    """Use model a, and keep what came of it: what it was served with, or the error."""
    try:
        answers.append(await use(fleet, "a", seconds))
    except Error as error:
        answers.append(error)


async def test_a_limit_that_is_raised_lets_in_who_waits(
    autojump_clock: MockClock, fleet: Fleet, nursery: trio.Nursery
) -> None:
    """At once, not when the next request comes or goes."""
    fleet.apply(entries(entry("a", max_in_flight=1)))
    for _ in range(2):
        nursery.start_soon(use, fleet, "a", 1000)
    await trio.sleep(5)
    assert fleet.models["a"].desk.waiting == 1
    fleet.apply(entries(entry("a", max_in_flight=2)))
    assert (fleet.models["a"].desk.in_flight, fleet.models["a"].desk.waiting) == (2, 0)


@pytest.mark.parametrize("end", [Fleet.close, Fleet.give_up])
async def test_who_waits_for_a_name_is_told_of_the_end(autojump_clock: MockClock, fleet: Fleet, end: object) -> None:
    """A file that is still to be read will not be served any more."""
    fleet.apply({}, complete=False)
    answers: list[Error] = []

    async def ask() -> None:
        with pytest.raises(ShuttingDown) as caught:
            await fleet.known("x")
        answers.append(caught.value)

    async with trio.open_nursery() as asking:
        asking.start_soon(ask)
        await wait_all_tasks_blocked()
        assert callable(end)
        end(fleet)
        with trio.fail_after(60):
            await fleet.until(lambda: answers)


async def test_a_load_is_not_lost_in_a_change(autojump_clock: MockClock, fleet: Fleet, garage: Garage) -> None:
    """Who asks for a load while the old engine is still to be ended gets the new one."""
    fleet.apply(entries(entry("a")))
    await use(fleet, "a")
    fleet.apply(entries(entry("a", ctx_size=7)))
    fleet.load(fleet.models["a"])
    await trio.sleep(60)
    assert fleet.models["a"].state is State.READY
    assert [started.spec.ctx_size for started in garage.started_with] == [0, 7]


async def test_mended_while_it_fails(
    autojump_clock: MockClock, fleet: Fleet, garage: Garage, nursery: trio.Nursery
) -> None:
    """Its engine failed as what it no longer is, so nobody who waits is told of that."""
    garage.stop_time, garage.ready = 5, False
    fleet.apply(entries(entry("a")))
    answers: list[str | Error] = []
    nursery.start_soon(told, fleet, answers)
    await trio.sleep(0.5)
    garage.last.exit(1)
    await trio.sleep(1)
    assert fleet.models["a"].state is State.STOPPING
    garage.ready = True
    fleet.apply(entries(entry("a", description="mended", ctx_size=7)))
    await trio.sleep(60)
    assert answers == ["mended"]


async def test_wanted_back_while_its_last_engine_is_asked_what_it_costs(
    autojump_clock: MockClock, fleet: Fleet, nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That may take long and can't be broken off; nobody is turned away meanwhile or after."""
    gate = trio.Event()

    async def footprint(self: FakeEngine) -> Bytes:
        with trio.CancelScope(shield=True):  # as a worker thread that can't be abandoned
            await gate.wait()
        return Bytes(1)

    only = entries(entry("a", max_in_flight=1, drain_timeout=Seconds(30), description="a"))
    fleet.apply(only)
    await use(fleet, "a")
    monkeypatch.setattr(FakeEngine, "footprint", footprint)
    fleet.apply({})
    await wait_all_tasks_blocked()
    fleet.apply(only)
    answers: list[str | Error] = []
    nursery.start_soon(told, fleet, answers, 100)
    await wait_all_tasks_blocked()
    nursery.start_soon(told, fleet, answers)
    await wait_all_tasks_blocked()
    gate.set()
    await trio.sleep(400)
    assert answers == ["a", "a"]


async def test_a_reload_loads_nothing_while_llmsup_stops(
    autojump_clock: MockClock, fleet: Fleet, garage: Garage
) -> None:
    """Neither what is new, nor what gets the wish, nor what comes back; and it goes through."""
    fleet.apply(entries(entry("a"), entry("c")))
    await use(fleet, "c")
    async with trio.open_nursery() as requests:
        requests.start_soon(use, fleet, "c", 100)
        await wait_all_tasks_blocked()
        fleet.apply(entries(entry("a")))
        fleet.close()
        preloaded = entries(*(entry(name, preload=True) for name in "abc"))
        assert fleet.apply(preloaded) == Changes(added=("b", "c"), changed=("a",))
        await trio.sleep(10)
    assert [started.name for started in garage.started_with] == ["c"]


async def test_a_file_that_goes_while_requests_wait(
    autojump_clock: MockClock, fleet: Fleet, nursery: trio.Nursery
) -> None:
    """The engine has it open already: who was let in is served, also who still waits."""
    fleet.apply(entries(entry("a", max_in_flight=1)))
    answers: list[str | Error] = []
    nursery.start_soon(told, fleet, answers, 100)
    await trio.sleep(5)
    nursery.start_soon(told, fleet, answers)
    await trio.sleep(5)
    fleet.apply(entries(entry("a", max_in_flight=1, refusal="its file is gone.", description="last")))
    await trio.sleep(400)
    assert answers == ["last", "last"]
    assert fleet.models["a"].state is State.UNLOADED


async def test_what_is_on_its_way_out_can_be_unloaded(
    autojump_clock: MockClock, fleet: Fleet, nursery: trio.Nursery
) -> None:
    """What is shown as running is found by its name; a new model of that name comes first."""
    fleet.apply(entries(entry("a")))
    nursery.start_soon(use, fleet, "a", 100)
    await trio.sleep(5)
    fleet.apply(entries(entry("b")))
    (leaving,) = fleet.running()
    assert fleet.find_running("a") is leaving
    fleet.apply(entries(entry("b", aliases=("a",))))
    assert fleet.find_running("a") is fleet.models["b"]


async def test_preload_of_what_comes_back(autojump_clock: MockClock, fleet: Fleet, garage: Garage) -> None:
    """It is loaded again though its last engine was still ending."""
    garage.stop_time = 5
    only = entries(entry("a", preload=True))
    fleet.apply(only)
    await trio.sleep(10)
    fleet.apply({})
    await trio.sleep(1)
    assert not garage.last.stopped_at
    fleet.apply(only)
    await trio.sleep(60)
    assert fleet.models["a"].state is State.READY
    assert len(garage.engines) == 2


async def test_preload_of_what_was_mended(autojump_clock: MockClock, fleet: Fleet) -> None:
    """What could not be loaded at the start is loaded once it can."""
    fleet.apply(entries(entry("a", preload=True, refusal="part 2 of 2 is missing.")))
    await trio.sleep(10)
    fleet.apply(entries(entry("a", preload=True)))
    await trio.sleep(60)
    assert fleet.models["a"].state is State.READY


async def test_a_crash_of_what_is_on_its_way_out(
    autojump_clock: MockClock, fleet: Fleet, garage: Garage, nursery: trio.Nursery
) -> None:
    """Who waits gets a fresh engine, and then it is gone, even if it was pinned."""
    fleet.apply(entries(entry("a", max_in_flight=1, pinned=True, description="a")))
    model = fleet.models["a"]
    nursery.start_soon(cut_off, fleet)
    await trio.sleep(5)
    answers: list[str | Error] = []
    nursery.start_soon(told, fleet, answers)
    await trio.sleep(1)
    fleet.apply({})
    garage.last.exit(-9)
    await trio.sleep(400)
    assert answers == ["a"]
    assert len(garage.engines) == 2
    assert fleet.running() == []
    assert model.state is State.UNLOADED


async def cut_off(fleet: Fleet) -> None:
    """A request that sees its engine die."""
    with fleet.enter(fleet.models["a"]) as ticket:
        life = await ticket.life(LONG)
        assert isinstance(await life.ended(LONG), EngineDied)


async def test_who_can_not_be_asked_again_is_told_why_the_engine_died(
    autojump_clock: MockClock, fleet: Fleet, garage: Garage
) -> None:
    """A model that was removed gets no second engine; that it was removed is not what went wrong."""
    fleet.apply(entries(entry("a")))
    order = Order(
        model=fleet.models["a"], method="POST", target=b"/", path="/", headers=[], body=lambda life: b"",
        streaming=False, ttl=Seconds(0),
    )  # fmt: skip

    async def ask() -> None:
        async with Exchange(fleet, order, NEVER) as exchange:
            with pytest.raises(EngineDied):
                await exchange.reply()

    async with trio.open_nursery() as asking:
        asking.start_soon(ask)
        await trio.sleep(3)
        fleet.apply({})
        garage.last.exit(-9)
    assert len(garage.engines) == 1
