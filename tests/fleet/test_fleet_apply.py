"""Models come, go and change under their requests; engines are fakes and the clock jumps."""

from __future__ import annotations

import pytest
import trio
from fake_run import Garage
from fleets import LONG, entries, entry, use
from trio.testing import MockClock, wait_all_tasks_blocked

from llmsup.errors import ModelFailed, ModelNotFound
from llmsup.fleet.changes import Changes
from llmsup.fleet.fleet import Fleet
from llmsup.fleet.model.outcome import Unloaded
from llmsup.fleet.model.run import Run
from llmsup.fleet.model.states import State
from llmsup.units import Seconds


async def test_what_is_the_same_is_not_touched(autojump_clock: MockClock, fleet: Fleet, garage: Garage) -> None:
    """A loaded model stays loaded, with the engine that it has."""
    fleet.apply(entries(entry("a"), entry("b")))
    await use(fleet, "a")
    changes = fleet.apply(entries(entry("b"), entry("a"), entry("c")))
    assert changes == Changes(added=("c",), unchanged=("b", "a"))
    assert list(fleet.models) == ["b", "a", "c"]
    await use(fleet, "a")
    await trio.sleep(100)
    assert len(garage.engines) == 1
    assert garage.last.stopped_at is None


async def test_what_an_engine_does_not_see_changes_at_once(
    autojump_clock: MockClock, fleet: Fleet, garage: Garage
) -> None:
    """A new ttl or alias needs no new engine."""
    fleet.apply(entries(entry("a")))
    await use(fleet, "a")
    changes = fleet.apply(entries(entry("a", aliases=("nick",), description="new", max_in_flight=1)))
    assert changes == Changes(changed=("a",))
    assert await use(fleet, "nick") == "new"
    assert fleet.models["a"].queue.limit == 1
    assert len(garage.engines) == 1


async def test_a_changed_model_drains_and_comes_back(
    autojump_clock: MockClock, fleet: Fleet, garage: Garage, nursery: trio.Nursery
) -> None:
    """Who is served stays served, far beyond drain_timeout; who comes meanwhile gets the new engine, not an error."""
    fleet.apply(entries(entry("a", ctx_size=512, drain_timeout=Seconds(5))))
    nursery.start_soon(use, fleet, "a", 1000)
    await fleet.models["a"].until(lambda: fleet.models["a"].queue.in_flight)
    fleet.apply(entries(entry("a", ctx_size=1024, drain_timeout=Seconds(5))))
    nursery.start_soon(use, fleet, "a", 1)
    await trio.sleep(500)
    assert fleet.models["a"].state is State.DRAINING
    assert fleet.models["a"].queue.waiting == 1
    assert len(garage.engines) == 1
    await fleet.models["a"].until(lambda: not fleet.models["a"].queue.busy)
    assert [started.spec.ctx_size for started in garage.started_with] == [512, 1024]
    assert garage.engines[0].stopped_at is not None
    assert garage.started_at[1] >= garage.engines[0].stopped_at, "two engines of one model at a time"


async def test_an_idle_changed_model_waits_for_its_next_request(
    autojump_clock: MockClock, fleet: Fleet, garage: Garage
) -> None:
    """Nothing is loaded that nobody asked for; a pinned model is, as it was."""
    fleet.apply(entries(entry("a"), entry("p", pinned=True)))
    await use(fleet, "a")
    await use(fleet, "p")
    fleet.apply(entries(entry("a", ctx_size=9), entry("p", pinned=True, ctx_size=9)))
    await trio.sleep(60)
    assert fleet.models["a"].state is State.UNLOADED
    assert "settings or its file changed" in fleet.models["a"].reason
    assert fleet.models["p"].state is State.READY
    await use(fleet, "a")
    assert [(e.name, e.spec.ctx_size) for e in garage.started_with] == [("a", 0), ("p", 0), ("p", 9), ("a", 9)]


async def test_a_load_under_way_begins_anew(
    autojump_clock: MockClock, fleet: Fleet, garage: Garage, nursery: trio.Nursery
) -> None:
    """Who waits for the old one gets the new one."""
    garage.load_time = 50
    fleet.apply(entries(entry("a")))
    nursery.start_soon(use, fleet, "a")
    await trio.sleep(10)
    fleet.apply(entries(entry("a", ctx_size=9)))
    await fleet.models["a"].until(lambda: fleet.models["a"].queue.in_flight)
    assert [e.spec.ctx_size for e in garage.started_with] == [0, 9]


async def test_a_removed_model_serves_who_is_in_and_goes(
    autojump_clock: MockClock, fleet: Fleet, garage: Garage, nursery: trio.Nursery
) -> None:
    """It is no longer found, but nobody who was let in is sent away, not even one who still waits."""
    fleet.apply(entries(entry("a", max_in_flight=1), entry("b")))
    model = fleet.models["a"]
    nursery.start_soon(use, fleet, "a", 1000)
    nursery.start_soon(use, fleet, "a", 1000)
    await wait_all_tasks_blocked()
    assert fleet.apply(entries(entry("b"))) == Changes(removed=("a",), unchanged=("b",))
    with pytest.raises(ModelNotFound):
        fleet.find("a")
    with pytest.raises(ModelNotFound, match="just removed"):
        fleet.enter(model)
    await trio.sleep(1500)
    assert fleet.running() == [model]
    assert model.queue.in_flight == 1
    await model.until(lambda: model.state is State.UNLOADED)
    assert trio.current_time() >= 2000
    await wait_all_tasks_blocked()
    assert fleet.running() == []
    assert len(garage.engines) == 1


async def test_a_model_that_is_wanted_back_stays(
    autojump_clock: MockClock, fleet: Fleet, garage: Garage, nursery: trio.Nursery
) -> None:
    """A file that was away for a moment costs nobody a load."""
    fleet.apply(entries(entry("a")))
    nursery.start_soon(use, fleet, "a", 100)
    await fleet.models["a"].until(lambda: fleet.models["a"].queue.in_flight)
    fleet.apply({})
    assert fleet.apply(entries(entry("a"))) == Changes(added=("a",))
    await trio.sleep(1000)
    assert fleet.models["a"].state is State.READY
    await use(fleet, "a")
    assert len(garage.engines) == 1


async def test_one_that_comes_anew_after_it_went(autojump_clock: MockClock, fleet: Fleet, garage: Garage) -> None:
    """Once gone it is gone, and what has its name then is another."""
    fleet.apply(entries(entry("a")))
    await use(fleet, "a")
    gone = fleet.models["a"]
    fleet.apply({})
    await wait_all_tasks_blocked()
    assert garage.last.stopped_at is not None
    fleet.apply(entries(entry("a")))
    assert fleet.models["a"] is not gone
    await use(fleet, "a")
    assert len(garage.engines) == 2


async def test_a_change_forgives_a_failure(autojump_clock: MockClock, fleet: Fleet, garage: Garage) -> None:
    """A file that was replaced is tried at once, without the rest of the cool-down."""
    garage.refuse = OSError("no such program")
    fleet.apply(entries(entry("a")))
    with pytest.raises(ModelFailed):
        await use(fleet, "a")
    garage.refuse = None
    with pytest.raises(ModelFailed):
        fleet.enter(fleet.models["a"])
    fleet.apply(entries(entry("a", ctx_size=9)))
    began = trio.current_time()
    await use(fleet, "a")
    assert trio.current_time() - began < 5


async def test_what_cannot_be_served_says_why(
    autojump_clock: MockClock, fleet: Fleet, garage: Garage, nursery: trio.Nursery
) -> None:
    """At once, without a try and without a cool-down; a loaded one of which the file went drains."""
    fleet.apply(entries(entry("a", refusal="part 2 of 3 is missing.", preload=True), entry("b")))
    with pytest.raises(ModelFailed, match="model a can't be served: part 2 of 3 is missing") as caught:
        fleet.enter(fleet.models["a"])
    assert caught.value.retry_after is None
    with pytest.raises(ModelFailed):
        fleet.load(fleet.models["a"])
    await use(fleet, "b")
    fleet.apply(entries(entry("a"), entry("b", refusal="its file is gone.")))
    await wait_all_tasks_blocked()
    assert fleet.models["b"].state is State.UNLOADED
    await use(fleet, "a")
    assert [e.name for e in garage.started_with] == ["b", "a"]


async def test_an_operator_may_be_less_patient_than_a_reload(
    autojump_clock: MockClock, fleet: Fleet, garage: Garage
) -> None:
    """A forced unload ends what a reload would let finish."""
    fleet.apply(entries(entry("a")))
    with fleet.enter(fleet.models["a"]) as lease:
        run = await lease.run(LONG)
        assert isinstance(run, Run)
        fleet.apply(entries(entry("a", ctx_size=9)))
        await trio.sleep(100)
        assert run.outcome is None
        await fleet.models["a"].unload("by hand", force=True)
        assert isinstance(run.outcome, Unloaded)
        assert "by hand" in str(run.outcome)


async def test_unknown_names_wait_while_files_are_read(
    autojump_clock: MockClock, fleet: Fleet, nursery: trio.Nursery
) -> None:
    """What was not seen yet may turn up; what is known does not wait."""
    found: list[str] = []

    async def ask(name: str) -> None:
        try:
            found.append((await fleet.known(name)).id)
        except ModelNotFound:
            found.append(f"no {name}")

    fleet.apply(entries(entry("a")), complete=False)
    for name in ("a", "b", "nobody"):
        nursery.start_soon(ask, name)
    await wait_all_tasks_blocked()
    assert found == ["a"]
    fleet.apply(entries(entry("a"), entry("b")), complete=False)
    await wait_all_tasks_blocked()
    assert found == ["a", "b"]
    fleet.apply(entries(entry("a"), entry("b")))
    await wait_all_tasks_blocked()
    assert found == ["a", "b", "no nobody"]


async def test_preload(autojump_clock: MockClock, fleet: Fleet, garage: Garage) -> None:
    """A new model that is to be preloaded is loaded by the reload that brings it, and one that gets the wish, too."""
    fleet.apply(entries(entry("a", preload=True), entry("b")))
    await trio.sleep(10)
    assert [e.name for e in garage.started_with] == ["a"]
    fleet.apply(entries(entry("a", preload=True), entry("b", preload=True)))
    await trio.sleep(10)
    assert [e.name for e in garage.started_with] == ["a", "b"]
