"""A reload that meets something else at the same moment: a failure, a crash, another reload, the end."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from fake_run import FakeEngine, Garage
from fleets import entries, entry, use
from trio.testing import MockClock, wait_all_tasks_blocked

from llmsup.engines.http import header_lines
from llmsup.errors import EngineDied, ShuttingDown
from llmsup.fleet.fleet import Fleet
from llmsup.fleet.model.states import State
from llmsup.gateway.exchange import Exchange, Order
from llmsup.units import NEVER, Seconds


class Clients:
    """Requests that run beside a test, and how each ended."""

    def __init__(self, fleet: Fleet, nursery: trio.Nursery) -> None:
        self.ended: list[str] = []
        self._fleet = fleet
        self._nursery = nursery

    async def ask(self, seconds: float) -> None:
        """Start one that takes so many seconds of model `a`."""

        async def one() -> None:
            self.ended.append(await use(self._fleet, "a", seconds))

        self._nursery.start_soon(one)
        await wait_all_tasks_blocked()


async def test_a_higher_limit_lets_those_in_who_wait(
    autojump_clock: MockClock, fleet: Fleet, nursery: trio.Nursery
) -> None:
    """At once, not when the next one leaves."""
    fleet.apply(entries(entry("a", max_in_flight=1)))
    clients = Clients(fleet, nursery)
    await clients.ask(1000)
    await fleet.models["a"].until(lambda: fleet.models["a"].queue.in_flight)
    await clients.ask(1)
    fleet.apply(entries(entry("a", max_in_flight=2)))
    await trio.sleep(5)
    assert clients.ended == [""]


async def test_who_waits_for_an_unknown_name_is_told_of_the_end(
    autojump_clock: MockClock, fleet: Fleet, nursery: trio.Nursery
) -> None:
    """A look that is never finished must not hold anybody for the whole grace."""
    fleet.apply({}, complete=False)
    told: list[str] = []

    async def ask() -> None:
        with pytest.raises(ShuttingDown):
            await fleet.known("x")
        told.append("told")

    nursery.start_soon(ask)
    await wait_all_tasks_blocked()
    fleet.close()
    await wait_all_tasks_blocked()
    assert told == ["told"]


async def test_a_load_asked_for_during_a_change_is_not_lost(autojump_clock: MockClock, fleet: Fleet) -> None:
    """The engine that is there is doomed; what was asked for is the next one."""
    fleet.apply(entries(entry("a")))
    await use(fleet, "a")
    model = fleet.models["a"]
    fleet.apply(entries(entry("a", ctx_size=7)))
    fleet.load(model)
    await trio.sleep(60)
    assert model.state is State.READY


async def test_a_failure_of_what_it_no_longer_is_counts_for_nobody(
    autojump_clock: MockClock, fleet: Fleet, garage: Garage, nursery: trio.Nursery
) -> None:
    """Who waited gets the mended one, without its predecessor's error and cool-down."""
    garage.stop_time, garage.ready = 5, False
    fleet.apply(entries(entry("a")))
    clients = Clients(fleet, nursery)
    await clients.ask(1)
    await fleet.models["a"].until(lambda: garage.engines)
    garage.last.exit(1)
    await fleet.models["a"].until(lambda: fleet.models["a"].state is State.STOPPING)
    garage.ready = True
    fleet.apply(entries(entry("a", description="mended", ctx_size=7)))
    await trio.sleep(60)
    assert clients.ended == ["mended"]


async def test_a_model_that_is_back_before_it_went_cuts_nobody_off(
    autojump_clock: MockClock, fleet: Fleet, nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither who waits nor who is served, however long its memory takes to be measured on the way out."""
    gate = trio.Event()

    async def measure(_: FakeEngine) -> None:
        with trio.CancelScope(shield=True):  # as in a worker thread that can't be abandoned
            await gate.wait()

    this = entry("a", max_in_flight=1, drain_timeout=Seconds(30))
    fleet.apply(entries(this))
    await use(fleet, "a")
    monkeypatch.setattr(FakeEngine, "measure", measure)
    fleet.apply({})
    await wait_all_tasks_blocked()
    fleet.apply(entries(this))
    clients = Clients(fleet, nursery)
    await clients.ask(100)
    await clients.ask(1)
    gate.set()
    await trio.sleep(400)
    assert clients.ended == ["", ""]


@pytest.mark.parametrize("before", [{}, entries(entry("a"))])
async def test_nothing_is_preloaded_at_the_end(
    autojump_clock: MockClock, fleet: Fleet, garage: Garage, before: dict[str, Any]
) -> None:
    """A reload while requests have their grace brings no engine, and no error that would cut them off."""
    fleet.apply(before)
    fleet.close()
    fleet.apply(entries(entry("a", preload=True)))
    await trio.sleep(10)
    assert garage.engines == []


async def test_a_file_that_is_gone_for_one_look(
    autojump_clock: MockClock, fleet: Fleet, garage: Garage, nursery: trio.Nursery
) -> None:
    """Who was let in is served by the engine that is ready, also who still waits."""
    fleet.apply(entries(entry("a", max_in_flight=1)))
    clients = Clients(fleet, nursery)
    await clients.ask(100)
    await fleet.models["a"].until(lambda: fleet.models["a"].queue.in_flight)
    await clients.ask(1)
    fleet.apply(entries(entry("a", max_in_flight=1, refusal="its file is not there.")))
    await trio.sleep(400)
    assert clients.ended == ["", ""]
    assert fleet.models["a"].state is State.UNLOADED


async def test_what_is_shown_as_running_can_be_unloaded(
    autojump_clock: MockClock, fleet: Fleet, nursery: trio.Nursery
) -> None:
    """A model on its way out, too: who unloads the last of the list must not be stuck with it."""
    fleet.apply(entries(entry("a")))
    model = fleet.models["a"]
    nursery.start_soon(use, fleet, "a", 100)
    await model.until(lambda: model.queue.in_flight)
    fleet.apply({})
    assert fleet.find_running(fleet.running()[-1].spec.name) is model


async def test_preload_after_it_was_away_or_broken(autojump_clock: MockClock, fleet: Fleet, garage: Garage) -> None:
    """One that comes back while it is still stopping, and one of which the file is mended."""
    garage.stop_time = 5
    mended = entry("b", preload=True, refusal="no file.")
    fleet.apply(entries(entry("a", preload=True), mended))
    await trio.sleep(10)
    fleet.apply(entries(mended))
    await trio.sleep(1)
    fleet.apply(entries(entry("a", preload=True), entry("b", preload=True)))
    await trio.sleep(60)
    assert [model.state for model in fleet.models.values()] == [State.READY, State.READY]


async def test_the_engine_of_a_removed_model_dies(
    autojump_clock: MockClock, fleet: Fleet, garage: Garage, nursery: trio.Nursery
) -> None:
    """What is told is that it died, and nothing of the model is left."""
    fleet.apply(entries(entry("a")))
    model = fleet.models["a"]
    order = Order(model, "POST", b"/", header_lines([]))
    told: list[str] = []

    async def ask() -> None:
        exchange = Exchange(fleet, order, lambda _: b"", NEVER)
        with pytest.raises(EngineDied, match="was killed by SIGKILL"):
            await exchange.reply()
        await exchange.close()
        told.append("told")

    nursery.start_soon(ask)
    await model.until(lambda: model.queue.in_flight)
    fleet.apply({})
    garage.last.exit(-9)
    await trio.sleep(60)
    assert told == ["told"]
    assert fleet.running() == []
