"""Sleep instead of an unload: when, how deeply, what it counts for, and what becomes of it if it goes wrong."""

from __future__ import annotations

import pytest
import trio
from fake_run import FakeEngine
from machines import Machine
from sleepers import CARD, GPU, Card, have, machine_with_card
from trio.testing import MockClock

from llmsup.config.schema import GiB
from llmsup.errors import EngineBadAnswer
from llmsup.fleet.model.states import Cause, State
from llmsup.memory.amounts import HOST
from llmsup.units import NEVER, Seconds


def state(m: Machine, name: str) -> State:
    return m.fleet.models[name].state


async def test_an_idle_model_sleeps_and_is_woken_by_a_request(autojump_clock: MockClock) -> None:
    """In the time that waking takes; the engine is the same one. After another ttl it is unloaded for good."""
    async with machine_with_card() as m:
        await have(m, a=(20, {}))
        await m.use("a")
        await trio.sleep(700)
        assert state(m, "a") is State.SLEEPING
        (seen,) = m.governor.loaded_models()
        assert seen.cost == seen.freeable
        assert (seen.cost[GPU], seen.cost[HOST]) == (GiB, 20 * GiB)  # unknown weights: all that it had there
        before = trio.current_time()
        await m.use("a", 0)
        assert trio.current_time() - before == 1
        (engine,) = m.garage.engines
        assert (engine.asleep, state(m, "a")) == (0, State.READY)
        await trio.sleep(1300)
        assert (state(m, "a"), m.loaded) == (State.UNLOADED, [])
        assert [event.kind for event in m.events.since(0) if event.kind in ("sleep", "wake")] == [
            *("sleep", "wake", "sleep"),
        ]
        assert m.went() == [("a", Cause.IDLE)]


async def test_two_models_take_turns_on_a_card_with_room_for_one(autojump_clock: MockClock) -> None:
    """Each is loaded once; the card never has more than there is."""
    async with machine_with_card() as m:
        await have(m, a=(20, {}), b=(20, {}))
        for _ in range(3):
            for name in "ab":
                await m.use(name)
                await m.monitor.fresh()
                assert Card(m).used <= CARD
        assert len(m.garage.engines) == 2
        assert m.went() == []
        assert [state(m, name) for name in "ab"] == [State.SLEEPING, State.READY]


@pytest.mark.parametrize(("level", "host"), [(1, 20 * GiB), (2, GiB)])
async def test_how_deeply_decides_what_it_keeps(autojump_clock: MockClock, level: int, host: int) -> None:
    async with machine_with_card() as m:
        await have(m, a=(20, {"sleep": level}))
        await m.use("a")
        await trio.sleep(700)
        (seen,) = m.governor.loaded_models()
        assert (m.garage.last.asleep, seen.cost[HOST]) == (level, host)


@pytest.mark.parametrize("why", ["off", "no room", "can't", "no device"])
async def test_it_is_unloaded_where_sleep_gains_nothing(autojump_clock: MockClock, why: str) -> None:
    """By `sleep = 0`; where the machine's memory has no room for the weights; on one whose device has no memory."""
    async with machine_with_card() as m:
        await have(m, a=(20, {"sleep": 0} if why == "off" else {}))
        if why == "no room":
            m.neighbour = 45 * GiB
        if why == "can't":
            m.garage.sleeps = False
        if why == "no device":
            m.garage.devices = m.costs.devices = {}
        await m.use("a")
        await trio.sleep(700)
        assert (state(m, "a"), m.loaded) == (State.UNLOADED, [])


async def test_sleepers_go_first_when_the_host_is_short(autojump_clock: MockClock) -> None:
    """One that is awake and idle stays, though it is used less."""
    async with machine_with_card() as m:
        await have(m, a=(20, {}), b=(3, {"ttl": NEVER}))
        await m.use("b")
        await m.use("a")
        await trio.sleep(700)
        assert [state(m, name) for name in "ab"] == [State.SLEEPING, State.READY]
        m.neighbour = 45 * GiB
        await m.fleet.models["a"].until(lambda: state(m, "a") is State.UNLOADED)
        assert m.went() == [("a", Cause.PRESSURE)]
        assert state(m, "b") is State.READY


async def test_a_model_that_keeps_too_much_is_not_put_to_sleep_for_another(autojump_clock: MockClock) -> None:
    """What stays on the card would be missing: 12 + 2.4 GiB are free of what 15 need."""
    async with machine_with_card() as m:
        await have(m, a=(23, {}), b=(23, {}))
        await m.use("a")
        await m.use("b")
        assert m.loaded == ["b"]
        assert m.went() == [("a", Cause.ROOM)]


async def test_a_wake_waits_for_room_like_a_load(autojump_clock: MockClock) -> None:
    """Another's request holds the card; nobody is cut off."""
    async with machine_with_card() as m:
        await have(m, a=(20, {}), b=(20, {}))
        await m.use("a")
        m.ask("b", 100)
        await trio.sleep(50)
        assert state(m, "a") is State.SLEEPING
        m.ask("a")
        await trio.sleep(1)
        assert state(m, "a") is State.WAITING
        await trio.sleep(300)
        assert m.ended == ["", ""]
        assert len(m.garage.engines) == 2


async def test_a_client_that_leaves_lets_it_sleep_on(autojump_clock: MockClock) -> None:
    async with machine_with_card() as m:
        await have(m, a=(20, {}), b=(20, {}))
        await m.use("a")
        m.ask("b", 100)
        await trio.sleep(50)
        m.ask("a", patience=5)
        await trio.sleep(10)
        assert state(m, "a") is State.SLEEPING
        assert m.governor.asks == []
        await m.use("a")


async def test_an_unload_by_hand_ends_it_whether_it_sleeps_or_falls_asleep(autojump_clock: MockClock) -> None:
    async with machine_with_card() as m:
        await have(m, a=(20, {"ttl": Seconds(60)}))
        for wait in (120, 60.5):
            await m.use("a", 0)
            await trio.sleep(wait)
            await m.fleet.models["a"].unload("a test")
            assert (state(m, "a"), m.loaded) == (State.UNLOADED, [])
        assert m.went() == [("a", Cause.ASKED)] * 2


async def test_a_load_by_hand_wakes_it(autojump_clock: MockClock) -> None:
    async with machine_with_card() as m:
        await have(m, a=(20, {}))
        await m.use("a")
        await trio.sleep(700)
        await m.fleet.until_loaded(m.fleet.models["a"])
        assert (state(m, "a"), len(m.garage.engines)) == (State.READY, 1)
        await trio.sleep(10)
        assert state(m, "a") is State.READY  # and isn't idle for its ttl already


@pytest.mark.parametrize("how", ["refuses", "hangs", "dies"])
async def test_what_can_not_be_woken_is_loaded_afresh(autojump_clock: MockClock, how: str) -> None:
    """The request is served all the same; such a model isn't put to sleep again."""
    async with machine_with_card() as m:
        await have(m, a=(20, {}))

        async def wake(engine: FakeEngine, level: int) -> None:
            if how == "refuses":
                raise EngineBadAnswer("POST /wake_up answered 500")
            if how == "dies":
                engine.exit(1)
            await trio.sleep_forever()

        m.garage.wake = wake  # type: ignore[method-assign]  # a test decides
        await m.use("a")
        await trio.sleep(700)
        await m.use("a")
        assert (len(m.garage.engines), m.loaded) == (2, ["a"])
        await trio.sleep(700)
        assert state(m, "a") is (State.SLEEPING if how == "dies" else State.UNLOADED)


@pytest.mark.parametrize("how", ["refuses", "hangs", "dies"])
async def test_what_can_not_fall_asleep_is_unloaded(autojump_clock: MockClock, how: str) -> None:
    async with machine_with_card() as m:
        await have(m, a=(20, {}), b=(20, {}))

        async def sleep(engine: FakeEngine, level: int) -> None:
            if how == "refuses":
                raise EngineBadAnswer("POST /sleep answered 500")
            if how == "dies":
                engine.exit(1)
            await trio.sleep_forever()

        m.garage.sleep = sleep  # type: ignore[method-assign]  # a test decides
        await m.use("a")
        await m.use("b")
        assert m.loaded == ["b"]
        await m.use("a")


async def test_an_engine_that_dies_asleep_is_loaded_when_it_is_wanted(autojump_clock: MockClock) -> None:
    async with machine_with_card() as m:
        await have(m, a=(20, {}))
        await m.use("a")
        await trio.sleep(700)
        m.garage.last.exit(1)
        await trio.sleep(5)
        assert state(m, "a") is State.UNLOADED
        await m.use("a")
        assert len(m.garage.engines) == 2


async def test_new_settings_end_a_sleeper(autojump_clock: MockClock) -> None:
    async with machine_with_card() as m:
        await have(m, a=(20, {}))
        await m.use("a")
        await trio.sleep(700)
        await have(m, a=(20, {"args": ("--x",)}))
        await m.use("a")
        assert len(m.garage.engines) == 2


async def test_what_changes_while_it_falls_asleep_is_not_forgotten(autojump_clock: MockClock) -> None:
    """It doesn't wake with its old settings, and one that is gone from the config doesn't sleep on."""
    async with machine_with_card() as m:
        await have(m, a=(20, {"ttl": Seconds(60)}))
        await m.use("a", 0)
        await trio.sleep(60.5)
        await have(m, a=(20, {"ttl": Seconds(60), "args": ("--x",)}))
        await trio.sleep(20)
        assert (state(m, "a"), m.loaded) == (State.UNLOADED, [])
        await m.use("a", 0)
        await trio.sleep(60.5)
        assert state(m, "a") is State.STOPPING
        m.fleet.apply({})
        await trio.sleep(20)
        assert m.loaded == []


async def test_a_request_during_the_fall_is_served_after_it(autojump_clock: MockClock) -> None:
    async with machine_with_card() as m:
        await have(m, a=(20, {"ttl": Seconds(60)}))
        await m.use("a", 0)
        await trio.sleep(60.5)
        assert state(m, "a") is State.STOPPING
        await m.use("a", 0)
        assert (len(m.garage.engines), state(m, "a")) == (1, State.READY)


async def test_what_is_remembered_is_what_it_takes_awake(autojump_clock: MockClock) -> None:
    """Whether it ended asleep or not."""
    async with machine_with_card() as m:
        await have(m, a=(20, {}))
        await m.use("a")
        await trio.sleep(700)
        await m.fleet.models["a"].unload("a test")
        assert m.costs.kept["a"] == 21 * GiB


async def test_the_rehearsal_of_a_wake_asks_for_what_it_takes(autojump_clock: MockClock) -> None:
    async with machine_with_card() as m:
        await have(m, a=(20, {}), b=(20, {}))
        await m.use("a")
        await m.use("b")
        decision = await m.governor.rehearse(m.fleet.models["a"])
        assert (decision.kind, decision.victims, decision.bytes) == ("evict", ("b",), 19 * GiB)
