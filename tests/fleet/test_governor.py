"""Who is let in, who has to go for it, and when: the governor with a fleet, under a clock that jumps."""

from __future__ import annotations

import logging
import signal

import pytest
import trio
from attrs import evolve
from machines import LONG, RESERVE, machine
from trio.testing import MockClock

from llmsup.config.schema import Config, GiB, Memory
from llmsup.errors import InsufficientMemory, ModelFailed, ModelTooLarge, QueueTimeout
from llmsup.fleet.model.hooks import BEFORE_STOP
from llmsup.fleet.model.states import Cause, State
from llmsup.memory.cost.load_speed import Speed
from llmsup.units import Bytes, Seconds


async def test_what_fits_loads_side_by_side_at_the_same_time(autojump_clock: MockClock) -> None:
    """Nobody waits for a load that it doesn't compete with, and nobody goes."""
    async with machine(load_time=10) as m:
        m.serve(a=20, b=20, c=19)
        for name in "abc":
            m.ask(name)
        await trio.sleep(12)
        assert m.ended == ["", "", ""]
        assert len(set(m.garage.started_at)) == 1
        assert m.went() == []


async def test_the_old_one_is_gone_before_the_new_one_starts(autojump_clock: MockClock) -> None:
    """The least recently used goes, alone, and its memory is back before anything is started."""
    async with machine(load_time=5, stop_time=3) as m:
        m.serve(a=30, b=20, c=25)
        for name in "ab":
            await m.use(name)
            await trio.sleep(60)
        await m.use("c")
        a, _, c = m.garage.engines
        assert m.loaded == ["b", "c"]
        assert m.went() == [("a", Cause.ROOM)]
        assert a.stopped_at is not None
        assert m.garage.started_at[2] >= a.stopped_at
        assert c.name == "c"


async def test_an_unload_says_for_whom_and_with_which_numbers(autojump_clock: MockClock) -> None:
    """In the model's own history, in the events, and among the decisions, with what came back."""
    async with machine() as m:
        m.serve(a=40, b=30)
        await m.use("a")
        await trio.sleep(60)
        await m.use("b")
        a = m.fleet.models["a"]
        last = a.history.entries[-1]
        assert last.cause is Cause.ROOM
        assert "to make room for b: it needs 30.0 GiB, and 20.0 GiB is free" in last.reason
        assert last.decision is not None
        assert last.decision.victims == ("a",)
        assert last.freed == 40 * GiB
        record = next(each for each in m.governor.records if each.decision.victims)
        assert (record.freed, record.decision) == (40 * GiB, last.decision)
        assert a.history.unloads == {Cause.ROOM: 1}


async def test_what_can_never_fit_is_refused_and_nothing_is_touched(autojump_clock: MockClock) -> None:
    """507, with the numbers, at once and again the next time; the model is not broken."""
    async with machine() as m:
        m.serve(a=50, giant=61)
        await m.use("a")
        for _ in range(2):
            with pytest.raises(ModelTooLarge) as caught:
                await m.use("giant")
        assert "it needs 61.0 GiB, and all models together may use 60.0 GiB" in caught.value.message
        assert m.fleet.models["giant"].state is State.UNLOADED
        assert (m.loaded, m.went()) == (["a"], [])
        m.costs.said["giant"] = 30 * GiB  # it was given a smaller context
        m.garage.sizes["giant"] = 5 * GiB
        await trio.sleep(60)
        await m.use("giant")


async def test_who_works_stays_and_the_503_says_who_has_the_memory(autojump_clock: MockClock) -> None:
    """A request that is longer than the queue's patience is not cut off for another's sake."""
    async with machine() as m:
        m.have(a=(40, {}), b=(30, {"queue_timeout": Seconds(100)}))
        m.ask("a", 1000)
        await trio.sleep(10)
        with pytest.raises(InsufficientMemory) as caught:
            await m.use("b")
        assert "waited 100 s" in caught.value.message
        assert "(in memory: a)" in caught.value.message
        await trio.sleep(1000)
        assert m.ended == [""]
        assert m.went() == []
        assert m.fleet.models["b"].state is State.UNLOADED, "nobody waits for it any more"


async def test_a_pinned_model_stays(autojump_clock: MockClock) -> None:
    """Whoever asks for its memory."""
    async with machine() as m:
        m.have(a=(40, {"pinned": True}), b=(30, {"queue_timeout": Seconds(300), "priority": "high"}))
        await m.use("a")
        await trio.sleep(100)
        with pytest.raises(InsufficientMemory):
            await m.use("b")
        assert m.loaded == ["a"]


async def test_a_steady_stream_does_not_starve_another_model(autojump_clock: MockClock) -> None:
    """Two that don't fit together take turns; who came while a model was held is served in its next turn."""
    async with machine(load_time=2) as m:
        m.serve(a=40, b=40)
        for name in "aab":
            m.nursery.start_soon(m.keep_using, name, 3)
        await trio.sleep(600)
        a, b = m.fleet.models["a"].history, m.fleet.models["b"].history
        assert a.waits > 20
        assert b.waits > 20
        assert 4 <= len(m.went()) <= 40, "they take turns, and these are not short"


async def test_one_that_needs_all_the_room_is_not_passed_for_ever(autojump_clock: MockClock) -> None:
    """Two clients use one model after the other, so that at each moment one is loading: those that passed serve who
    waits for them, and go, however many want them by then.
    """
    async with machine(load_time=30) as m:
        m.have(all=(60, {"queue_timeout": LONG}), **{name: (25, {}) for name in "abcdef"})

        async def one_after_the_other(names: str, first: float) -> None:
            while True:
                for name in names:
                    await m.use(name, first)
                    first = 20

        m.nursery.start_soon(one_after_the_other, "abc", 20)
        m.nursery.start_soon(one_after_the_other, "def", 45)
        await trio.sleep(1)
        with trio.fail_after(300):
            await m.use("all")


async def test_a_small_load_passes_one_that_waits_for_a_busy_model(autojump_clock: MockClock) -> None:
    """No load waits behind one with which it doesn't compete."""
    async with machine() as m:
        m.serve(a=40, big=30, small=5)
        m.ask("a", 500)
        await trio.sleep(5)
        m.ask("big")
        await trio.sleep(5)
        await m.use("small")
        assert trio.current_time() - m.fleet.models["small"].since < 5
        assert m.loaded == ["a", "small"]


async def test_victims_are_the_least_important_first(autojump_clock: MockClock) -> None:
    """One of low priority goes, though it was used last."""
    async with machine() as m:
        m.have(a=(25, {}), b=(25, {"priority": "low"}), c=(20, {}))
        for name in "ab":
            await m.use(name)
            await trio.sleep(100)
        await m.use("c")
        assert m.went() == [("b", Cause.ROOM)]


async def test_none_is_unloaded_for_a_more_humble_one(autojump_clock: MockClock) -> None:
    """What is more important than the load stays for it."""
    async with machine() as m:
        m.have(a=(40, {"priority": "high"}), b=(30, {"priority": "low", "queue_timeout": Seconds(60)}))
        await m.use("a")
        await trio.sleep(100)
        with pytest.raises(InsufficientMemory):
            await m.use("b")
        assert m.loaded == ["a"]


async def test_a_preload_puts_nobody_out(autojump_clock: MockClock) -> None:
    """It waits until there is room, or until somebody asks for it."""
    async with machine() as m:
        m.serve(a=40)
        await m.use("a")
        await trio.sleep(100)
        m.have(a=(40, {}), b=(30, {"preload": True}))
        await trio.sleep(100)
        assert m.loaded == ["a"]
        await m.use("b")
        assert m.loaded == ["b"]


async def test_an_evicted_model_that_is_wanted_again_soon_is_counted(autojump_clock: MockClock) -> None:
    """A refault: within thirty of its loads."""
    async with machine() as m:
        m.serve(a=40, b=40)
        for name, quiet in (("a", 60), ("b", 20), ("a", 60), ("b", 100), ("a", 0)):
            await m.use(name)
            await trio.sleep(quiet)
        assert m.fleet.models["a"].history.refaults == 1


@pytest.mark.parametrize("load_time", [0.5, 5, 50])
async def test_one_who_alternates_between_two_models_waits_for_the_loads_alone(
    autojump_clock: MockClock, load_time: float
) -> None:
    """Never for a guard: neither what was decided names one, nor does it take any time."""
    async with machine(load_time=load_time) as m:
        m.serve(a=40, b=40)
        for pause in (0, 0.5, 4, 60, 0, 0, 0, 4):
            for name in "ab":
                began = trio.current_time()
                await m.use(name, 1)
                assert trio.current_time() - began == pytest.approx(load_time + 1, abs=0.1)
                await trio.sleep(pause)
        decided = [record.decision for record in m.governor.records]
        assert [each.kind for each in decided] == ["admit"] + 15 * ["evict"]
        assert not any(weighed.stays for each in decided for weighed in each.weighed)


@pytest.mark.slow
async def test_two_who_want_two_models_at_once_take_turns_that_last_some_loads(autojump_clock: MockClock) -> None:
    """Whatever a load takes: so that loads are a small part of the time, and nobody waits for long."""
    for load_time in (0.5, 5):
        async with machine(load_time=load_time) as m:
            m.serve(a=40, b=40)
            for name in "ab":
                m.nursery.start_soon(m.keep_using, name, load_time)
            await trio.sleep(200 * load_time)
            a, b = m.fleet.models["a"].history, m.fleet.models["b"].history
            assert 10 <= len(m.went()) <= 20
            assert min(a.waits, b.waits) > 50
            assert max(a.waited, b.waited) < 120 * load_time


async def test_a_turn_that_nobody_uses_ends_early_and_to_the_moment(autojump_clock: MockClock) -> None:
    """Three quarters of both loads after the last answer; the governor's next look isn't waited for."""
    async with machine(load_time=1) as m:
        m.serve(a=40, b=40)
        m.ask("a", 1)
        await trio.sleep(0.5)
        await m.use("b", 1)  # both were waited for at once
        assert trio.current_time() == pytest.approx(2 + 1.5 + 1 + 1, abs=0.1)
        waited = [record.decision for record in m.governor.records if record.decision.kind == "wait"]
        why = [weighed.stays for each in waited for weighed in each.weighed]
        assert any(each.startswith("its turn") for each in why)


async def test_a_load_is_expected_to_take_what_others_took(autojump_clock: MockClock) -> None:
    """By their size, as long as it was never loaded."""
    async with machine(load_time=10) as m:
        m.serve(a=20, b=40)
        a, b = m.fleet.models["a"], m.fleet.models["b"]
        await m.use("a")
        m.ask("b")
        await trio.sleep(1)
        assert m.governor.load_seconds(a) == pytest.approx(10, abs=0.1)
        assert m.governor.load_seconds(b) == pytest.approx(20, abs=0.2)
        await trio.sleep(20)
        assert m.governor.load_seconds(b) == pytest.approx(10, abs=0.1)


async def test_a_load_time_of_an_earlier_run_counts(autojump_clock: MockClock) -> None:
    """For the first load of this run, too, with the turns and guards that are multiples of it; and the machine's speed
    for what was never loaded on it.
    """
    async with machine(load_time=10) as m:
        m.costs.took["a"], m.costs.speed = 33.0, Speed().seen(10 * GiB, 20.0)
        m.serve(a=20, b=40)
        for name in "ab":
            m.ask(name)
        await trio.sleep(1)
        assert m.governor.load_seconds(m.fleet.models["a"]) == 33
        assert m.governor.load_seconds(m.fleet.models["b"]) == pytest.approx(80)
        await trio.sleep(20)
        assert m.costs.took == pytest.approx({"a": 10, "b": 10}, abs=0.1)
        assert m.fleet.models["a"].load_seconds == pytest.approx(10, abs=0.1)


@pytest.mark.parametrize("load_time", [0.5, 20.0])
async def test_a_users_floor_never_grows(autojump_clock: MockClock, load_time: float) -> None:
    """One client that alternates between two models of which one fits: the floor and a load, the tenth time as the
    first, however often each was wanted again soon after it had gone.
    """
    async with machine(Memory(reserve=RESERVE, min_residency=Seconds(3)), load_time=load_time) as m:
        m.serve(a=40, b=40)
        for name in "ab" * 10:
            began = trio.current_time()
            await m.use(name, 1)
            assert trio.current_time() - began <= 3 + load_time + 1 + 0.2
        assert m.fleet.models["a"].history.refaults >= 8
        assert len(m.went()) == 19


async def test_a_load_that_dies_of_memory_is_tried_once_more_with_more_room(autojump_clock: MockClock) -> None:
    """One more goes for it, then it works."""
    async with machine(load_time=10) as m:
        m.serve(a=20, b=20)
        await m.use("a")
        await trio.sleep(60)
        m.ask("b")
        await trio.sleep(2)
        m.fleet.models["b"].book.write(
            "ggml_backend_cuda_buffer_type_alloc_buffer: allocating 2048.00 MiB on device 0: "
            "cudaMalloc failed: out of memory"
        )
        m.garage.last.exit(1)
        await trio.sleep(30)
        assert m.ended == [""]
        assert m.went() == [("b", Cause.FAILED), ("a", Cause.ROOM)]
        assert m.loaded == ["b"]


async def test_a_load_that_dies_of_memory_twice_is_left_alone_for_a_while(autojump_clock: MockClock) -> None:
    """No third try: the error says what the engine said, and when it may be tried again."""
    async with machine(load_time=10) as m:
        m.serve(b=20)
        m.ask("b")
        for _ in range(2):
            await trio.sleep(2)
            m.fleet.models["b"].book.write("terminate called after throwing an instance of 'std::bad_alloc'")
            m.garage.last.exit(-signal.SIGABRT)
        await trio.sleep(2)
        assert m.ended == ["model_failed"]
        assert len(m.garage.engines) == 2
        with pytest.raises(ModelFailed) as caught:
            await m.use("b")
        assert "out of memory" in caught.value.message
        assert "second try" in caught.value.message
        assert caught.value.retry_after is not None


async def test_an_engine_that_the_system_killed_for_memory_is_recognised(autojump_clock: MockClock) -> None:
    """By the count of such kills that grew meanwhile; without that a SIGKILL is just a SIGKILL."""
    async with machine() as m:
        m.serve(a=20)
        for kills, said in ((0, "killed by SIGKILL"), (1, "the system ran out of memory")):
            m.ask("a", 1000)
            await trio.sleep(5)
            m.oom_kills += kills
            m.garage.last.exit(-signal.SIGKILL)
            await trio.sleep(1)
            assert said in m.fleet.models["a"].history.entries[-1].reason
        assert m.ended == ["engine_died"] * 2


@pytest.mark.slow
async def test_under_pressure_they_go_one_at_a_time_and_stop_when_it_is_over(autojump_clock: MockClock) -> None:
    """The least worth first; when the neighbour has gone, nobody else goes."""
    async with machine(stop_time=1) as m:
        m.have(a=(10, {}), b=(10, {"priority": "low"}), c=(10, {}), d=(10, {}))
        for name in "abcd":
            await m.use(name)
            await trio.sleep(90)
        m.neighbour = round(23.3 * GiB)  # 0.7 GiB are left of the 1.5 below which it is low
        await trio.sleep(120)
        assert m.went() == [("b", Cause.PRESSURE)]
        m.neighbour += 10 * GiB
        await trio.sleep(120)
        assert m.went() == [("b", Cause.PRESSURE), ("a", Cause.PRESSURE)]
        m.neighbour = 0
        await trio.sleep(3600)
        assert len(m.went()) == 2
        assert [event.data["level"] for event in m.happened("pressure")][-1] == "normal"


async def test_pressure_that_is_not_ours_is_left_alone(autojump_clock: MockClock) -> None:
    """Two that went in vain are enough: the neighbour takes whatever they give back."""
    async with machine() as m:
        m.serve(a=5, b=5, c=5, d=5)
        for name in "abcd":
            await m.use(name)
        await trio.sleep(100)
        real = m.reading
        m.monitor._sampler.system = lambda: evolve(real(), available=Bytes(0))
        await trio.sleep(60)
        assert len(m.went()) == 2
        assert len(m.loaded) == 2


async def test_a_decision_knows_how_long_conversations_take(autojump_clock: MockClock) -> None:
    """At most as long as they are given for it; a load waits for the memory that long."""
    async with machine() as m:
        m.garage.saves_for = 7.0
        m.have(a=(40, {}), b=(40, {}))
        await m.use("a")
        await trio.sleep(600)
        (seen,) = m.governor.loaded_models()
        assert seen.save_seconds == BEFORE_STOP
        await m.use("b")
        (decision,) = [each.decision for each in m.governor.records if each.decision.kind == "evict"]
        assert (decision.victims, decision.delay) == (("a",), BEFORE_STOP)
        assert "conversations are saved first" in decision.reason


async def test_who_prepares_to_go_stops_that_when_memory_gets_critical(autojump_clock: MockClock) -> None:
    """Though it goes for another reason, which was no hurry."""
    async with machine() as m:
        m.have(a=(20, {}))
        await m.use("a")
        cut_off = []

        async def before_stop(engine: object, deadline: float) -> None:
            m.neighbour = 48 * GiB
            try:
                await trio.sleep_until(deadline)
            except trio.Cancelled:
                cut_off.append(deadline - trio.current_time())
                raise

        m.garage.before_stop = before_stop  # type: ignore[method-assign]  # of this machine's engines
        await m.fleet.models["a"].unload("asked")
        assert len(cut_off) == 1
        assert cut_off[0] > 1


async def test_one_that_works_goes_only_if_that_is_allowed_and_late(autojump_clock: MockClock) -> None:
    """evict_busy = "critical": after 20 s of it the least important is cut off, with an error that says why."""
    settings = Memory(reserve=RESERVE)
    for busy in ("never", "critical"):
        async with machine(evolve(settings, evict_busy=busy)) as m:
            m.have(a=(20, {"priority": "low"}), b=(20, {}))
            m.ask("a", 10_000)
            m.ask("b", 10_000)
            await trio.sleep(100)
            m.neighbour = 24 * GiB
            await trio.sleep(15)
            assert m.ended == []
            await trio.sleep(15)
            assert m.ended == ([] if busy == "never" else ["unloading"])
            assert set(m.loaded) == ({"a", "b"} if busy == "never" else {"b"})


@pytest.mark.slow  # an hour of requests, simulated
async def test_an_hour_in_which_all_fit(autojump_clock: MockClock) -> None:
    """Nobody goes but by its ttl."""
    async with machine() as m:
        m.have(a=(15, {}), b=(15, {}), c=(15, {}), d=(14, {"ttl": Seconds(600)}))
        m.nursery.start_soon(m.keep_using, "a", 5, 10)
        m.nursery.start_soon(m.keep_using, "b", 30, 120)
        m.nursery.start_soon(m.keep_using, "c", 1, 900)
        await m.use("d")
        await trio.sleep(3600)
        assert m.went() == [("d", Cause.IDLE)]
        assert m.happened("pressure") == []


async def test_a_declared_memory_that_is_far_too_small(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """What was seen counts as soon as it is seen, and the log says so."""
    async with machine() as m:
        m.have(a=(40, {"memory": Bytes(GiB)}), b=(25, {}))
        with caplog.at_level(logging.WARNING):
            await m.use("a")
            await trio.sleep(60)
        assert "40.0 GiB, more than the 1.0 GiB declared (memory)" in caplog.text
        footprint = m.governor.footprint(m.fleet.models["a"])
        assert footprint is not None
        assert footprint.bytes == 40 * GiB
        await m.use("b")
        assert m.went() == [("a", Cause.ROOM)]


async def test_models_that_grow_beyond_the_ceiling_make_one_go(autojump_clock: MockClock) -> None:
    """Prompts that are kept count, though the machine itself is not short yet."""
    async with machine(Memory(reserve=RESERVE, limit=Bytes(30 * GiB))) as m:
        m.serve(a=14, b=14)
        await m.use("a")
        await m.use("b")
        await trio.sleep(100)
        assert m.went() == []
        m.garage.engines[1].size = 18 * GiB
        await trio.sleep(100)
        assert m.went() == [("a", Cause.PRESSURE)]


async def test_a_smaller_limit_takes_effect(autojump_clock: MockClock) -> None:
    """A reload that lowers the limit unloads what is idle until it holds."""
    async with machine() as m:
        m.serve(a=20, b=20)
        for name in "ab":
            await m.use(name)
            await trio.sleep(100)
        m.config.replace(Config(memory=Memory(reserve=RESERVE, limit=Bytes(25 * GiB))))
        await trio.sleep(60)
        assert m.went() == [("a", Cause.PRESSURE)]


async def test_without_readings_footprints_decide(autojump_clock: MockClock) -> None:
    """The last reading counts for 10 s; after that nobody is kept out by what can't be read."""
    async with machine() as m:
        m.serve(a=30, b=20, c=30)
        m.neighbour = 40 * GiB
        m.probe.broken = True
        await trio.sleep(20)
        await m.use("a")
        await m.use("b")
        assert m.loaded == ["a", "b"]
        assert m.governor.machine().host.available is None
        await trio.sleep(60)
        await m.use("c")
        assert m.went() == [("a", Cause.ROOM)]
        assert "the probe broke" in m.governor.problem


async def test_a_neighbour_bounds_what_is_let_in(autojump_clock: MockClock) -> None:
    """The ceiling is not all: what is really there counts, too."""
    async with machine() as m:
        m.have(a=(30, {"queue_timeout": Seconds(60)}))
        m.neighbour = 50 * GiB
        await trio.sleep(5)
        with pytest.raises(InsufficientMemory):
            await m.use("a")
        m.ask("a")
        await trio.sleep(10)
        m.neighbour = 10 * GiB
        await trio.sleep(10)
        assert m.ended == [""], "what came back is noticed without anybody asking again"


async def test_one_that_loads_counts_with_all_that_it_is_going_to_take(autojump_clock: MockClock) -> None:
    """Another is not let in on the memory that a load has not taken yet."""
    async with machine(load_time=100) as m:
        m.serve(a=40, b=30)
        m.ask("a")
        await trio.sleep(1)
        m.garage.last.size = GiB
        m.ask("b")
        await trio.sleep(50)
        assert m.loaded == ["a"]


async def test_unloading_one_that_waits_for_memory(autojump_clock: MockClock) -> None:
    """It is taken off the list, those who wait are told, and nothing of it is counted."""
    async with machine() as m:
        m.serve(a=40, b=30)
        m.ask("a", 100)
        await trio.sleep(5)
        m.ask("b")
        await trio.sleep(5)
        assert [ask.name for ask in m.governor.asks] == ["b"]
        await m.fleet.models["b"].unload("for a test")
        assert m.ended == ["unloading"]
        assert m.governor.asks == []
        assert sum(each.cost.total for each in m.governor.loaded_models()) == 40 * GiB


async def test_a_victim_of_a_load_that_is_given_up_is_not_lost(autojump_clock: MockClock) -> None:
    """The client leaves while the memory comes back: the load goes on, so that nobody went in vain."""
    async with machine(load_time=5, stop_time=5) as m:
        m.serve(a=40, b=40)
        await m.use("a")
        await trio.sleep(60)
        with trio.move_on_after(2):
            await m.use("b")
        await trio.sleep(30)
        assert m.loaded == ["b"]


async def test_the_queue_timeout_without_a_shortage_is_no_want_of_memory(autojump_clock: MockClock) -> None:
    """A load that takes too long is told as what it is."""
    async with machine(load_time=100) as m:
        m.have(a=(1, {"queue_timeout": Seconds(10)}))
        with pytest.raises(QueueTimeout):
            await m.use("a")
