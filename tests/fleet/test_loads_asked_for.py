"""A load that somebody asked for stays asked for until it is done, can't be had, or the model is unloaded."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import trio
from machines import Machine, machine
from trio.testing import MockClock

from llmsup.fleet.model.states import Cause, State
from llmsup.units import Seconds


def load(m: Machine) -> None:
    """As `POST /models/load` and `llmsup load` do."""
    m.fleet.load(m.fleet.models["b"])


def preload(m: Machine) -> None:
    """As a reload does, where `preload` was set meanwhile."""
    m.fleet.load(m.fleet.models["b"], no_eviction=True)


def ask(m: Machine) -> None:
    """A request that goes before it is served."""
    m.ask("b", patience=Seconds(20))


async def until_b_is_loaded(m: Machine) -> None:
    b = m.fleet.models["b"]
    with trio.fail_after(1000):
        await b.until(lambda: b.state is State.READY)


@pytest.mark.parametrize(
    "steps",
    [(load, load), (load, load, load), (ask, load), (load, ask), (load, preload), (preload, load), (load, ask, load)],
    ids=lambda steps: "-".join(step.__name__ for step in steps),
)
async def test_whoever_asks_again_cancels_nothing(
    autojump_clock: MockClock, steps: tuple[Callable[[Machine], None], ...]
) -> None:
    """It waits for memory that a request has; however often it is asked for meanwhile, and by whom, it comes."""
    async with machine() as m:
        m.serve(a=40, b=40)
        m.ask("a", 100)
        await trio.sleep(5)
        for step in steps:
            step(m)
            await trio.sleep(1)
        await trio.sleep(50)  # long after the last request for it has gone
        b = m.fleet.models["b"]
        assert b.state is State.WAITING
        assert [each.name for each in m.governor.asks] == ["b"]
        await until_b_is_loaded(m)
        assert m.went() == [("a", Cause.ROOM)]
        assert not b.intent.load, "it is done"


async def test_a_preload_that_waits_becomes_a_load_like_any_other(autojump_clock: MockClock) -> None:
    """Alone nobody goes for it; once somebody asks, somebody may, though a reload finds the `preload` again."""
    async with machine() as m:
        m.have(a=(40, {}))
        await m.use("a")
        await trio.sleep(100)
        m.have(a=(40, {}), b=(40, {"preload": True}))
        await trio.sleep(100)
        assert m.loaded == ["a"]
        m.ask("a", 50)
        await trio.sleep(1)
        load(m)
        m.have(a=(40, {}), b=(40, {}))
        m.have(a=(40, {}), b=(40, {"preload": True}))
        await until_b_is_loaded(m)
        assert m.went() == [("a", Cause.ROOM)]


async def test_a_load_while_it_starts(autojump_clock: MockClock) -> None:
    """One load, and nothing is loaded again later."""
    async with machine(load_time=10) as m:
        m.serve(b=10)
        load(m)
        await trio.sleep(5)
        load(m)
        await until_b_is_loaded(m)
        load(m)
        await trio.sleep(100)
        assert len(m.garage.engines) == 1
        await m.fleet.models["b"].unload("a test")
        await trio.sleep(100)
        assert (len(m.garage.engines), m.loaded) == (1, [])


@pytest.mark.parametrize("state", [State.DRAINING, State.STOPPING])
async def test_a_load_while_it_goes(autojump_clock: MockClock, state: State) -> None:
    """It comes back as soon as it is gone."""
    async with machine(stop_time=5) as m:
        m.serve(b=10)
        b = m.fleet.models["b"]
        m.ask("b", 10)
        await trio.sleep(5)
        m.nursery.start_soon(b.unload, "a test")
        await b.until(lambda: b.state is state)
        load(m)
        load(m)
        assert b.intent.load
        await trio.sleep(20)
        assert (b.state, len(m.garage.engines)) == (State.READY, 2)


async def test_a_load_while_a_crash_is_cleared_away(autojump_clock: MockClock) -> None:
    """The end of the engine that crashed isn't the end of the load that was asked for meanwhile."""
    async with machine(stop_time=5) as m:
        m.serve(b=10)
        await m.use("b")
        b = m.fleet.models["b"]
        m.garage.last.exit(-11)
        await b.until(lambda: b.state is State.STOPPING)
        load(m)
        await trio.sleep(20)
        assert (b.state, len(m.garage.engines)) == (State.READY, 2)


async def test_an_unload_ends_every_load(autojump_clock: MockClock) -> None:
    """However often it was asked for."""
    async with machine() as m:
        m.serve(a=40, b=40)
        m.ask("a", 100)
        await trio.sleep(5)
        load(m)
        load(m)
        await trio.sleep(1)
        await m.fleet.models["b"].unload("a test")
        await trio.sleep(1000)
        assert m.loaded == ["a"]
