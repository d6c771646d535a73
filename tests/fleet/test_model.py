"""The model's state machine, under a clock that jumps, with engines that do what the test says."""

from __future__ import annotations

import logging
from collections.abc import Callable

import pytest
import trio
from attrs import evolve
from fake_run import AlwaysYes, Garage
from trio.testing import MockClock, wait_all_tasks_blocked

from llmsup.catalog.entry import Entry
from llmsup.config.schema import ModelSpec
from llmsup.errors import LoadTimeout, ModelFailed, QueueTimeout, SetupError, ShuttingDown, Unloading
from llmsup.fleet.model.model import Model
from llmsup.fleet.model.outcome import Crashed, Unloaded
from llmsup.fleet.model.redefinition import redefine
from llmsup.fleet.model.run import Run
from llmsup.fleet.model.states import State
from llmsup.fleet.model.supervisor import Supervisor
from llmsup.process.logbook import LogBook
from llmsup.units import Seconds

LONG = Seconds(10_000)


async def use(model: Model, seconds: float = 1, ttl: float = 0) -> None:
    """One request that takes some seconds."""
    with model.enter(Seconds(ttl)) as lease:
        await lease.run(LONG)
        await trio.sleep(seconds)


async def test_nothing_starts_before_it_is_wanted(
    autojump_clock: MockClock, make: Callable[..., Model], garage: Garage
) -> None:
    model = make()
    await trio.sleep(3600)
    assert model.state is State.UNLOADED
    assert garage.engines == []
    assert repr(model) == "<Model m unloaded>"


async def test_one_load_however_many_ask(autojump_clock: MockClock, make: Callable[..., Model], garage: Garage) -> None:
    model = make()
    async with trio.open_nursery() as nursery:
        for _ in range(20):
            nursery.start_soon(use, model)
        await wait_all_tasks_blocked()
        assert repr(model) == "<Model m starting, 20 waiting, pid 1>"
        await model.until(lambda: model.state is State.READY)
        assert repr(model) == "<Model m ready, 20 in flight, pid 1>"
    assert len(garage.engines) == 1


async def test_ttl_counts_from_the_last_byte_of_the_last_answer(
    autojump_clock: MockClock, make: Callable[..., Model], garage: Garage
) -> None:
    model = make(ttl=Seconds(60))
    began = trio.current_time()
    await use(model, 500)  # much longer than the ttl: being served is not idle
    assert model.state is State.READY
    await trio.sleep(59)
    await use(model, 1)
    ended = trio.current_time()
    await model.until(lambda: model.state is State.UNLOADED)
    assert trio.current_time() == pytest.approx(ended + 60)
    assert ended - began == pytest.approx(1 + 500 + 59 + 1)
    assert "idle for 60 s (its ttl)" in model.reason
    assert garage.last.stopped_at is not None


async def test_a_loaded_model_that_nobody_used_also_has_its_ttl(
    autojump_clock: MockClock, make: Callable[..., Model]
) -> None:
    model = make(ttl=Seconds(60), preload=True)
    await model.until(lambda: model.state is State.READY)
    began = trio.current_time()
    await model.until(lambda: model.state is State.UNLOADED)
    assert trio.current_time() - began == pytest.approx(60)


async def test_a_request_may_lengthen_the_ttl_up_to_max_ttl_and_never_shorten_it(
    autojump_clock: MockClock,
    make: Callable[..., Model],
) -> None:
    model = make(ttl=Seconds(60), max_ttl=Seconds(600))
    await use(model, 1, ttl=1e9)
    await use(model, 1, ttl=5)
    ended = trio.current_time()
    await model.until(lambda: model.state is State.UNLOADED)
    assert trio.current_time() - ended == pytest.approx(600 - 1)


@pytest.mark.slow
async def test_pinned_models_are_never_idle(autojump_clock: MockClock, make: Callable[..., Model]) -> None:
    model = make(ttl=Seconds(60), pinned=True)
    await use(model)
    await trio.sleep(80_000)
    assert model.state is State.READY


async def test_max_in_flight_serves_first_come_first_served(
    autojump_clock: MockClock, make: Callable[..., Model]
) -> None:
    model = make(max_in_flight=2)
    served: list[int] = []

    async def request(number: int) -> None:
        with model.enter() as lease:
            await lease.run(LONG)
            served.append(number)
            assert model.queue.in_flight <= 2
            await trio.sleep(10)

    async with trio.open_nursery() as nursery:
        for number in range(6):
            nursery.start_soon(request, number)
            await wait_all_tasks_blocked()
    assert [set(served[n : n + 2]) for n in (0, 2, 4)] == [{0, 1}, {2, 3}, {4, 5}]  # trio wakes a pair in any order


async def test_who_waits_too_long_is_told_so(
    autojump_clock: MockClock, make: Callable[..., Model], garage: Garage
) -> None:
    garage.load_time = 1000
    model = make(stall_timeout=Seconds(5000), start_timeout=Seconds(5000))
    with model.enter() as lease, pytest.raises(QueueTimeout, match="queue_timeout"):
        await lease.run(Seconds(10))
    assert model.queue.waiting == 0
    assert model.state is State.STARTING  # the load goes on: clients retry


async def test_an_abandoned_load_goes_on_and_ends_by_ttl(autojump_clock: MockClock, make: Callable[..., Model]) -> None:
    model = make(ttl=Seconds(60))
    with model.enter() as lease, trio.move_on_after(0.1):
        await lease.run(LONG)
    await model.until(lambda: model.state is State.READY)
    await model.until(lambda: model.state is State.UNLOADED)


async def test_unload_lets_requests_finish(
    autojump_clock: MockClock, make: Callable[..., Model], garage: Garage
) -> None:
    model = make(drain_timeout=Seconds(30))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(use, model, 20)
        await model.until(lambda: model.queue.in_flight)
        began = trio.current_time()
        assert await model.unload("told to") == 1000
        assert trio.current_time() - began == pytest.approx(20)
    assert model.state is State.UNLOADED
    assert "told to" in model.reason


@pytest.mark.parametrize("force", [True, False])
async def test_unload_does_not_wait_for_ever(
    autojump_clock: MockClock, make: Callable[..., Model], garage: Garage, force: bool
) -> None:
    """Who is still served after drain_timeout, or at once with `force`, loses its connection and learns why."""
    model = make(drain_timeout=Seconds(30))
    async with trio.open_nursery() as nursery:

        async def request() -> None:
            with model.enter() as lease:
                run = await lease.run(LONG)
                assert isinstance(await run.ended(LONG), Unloaded)
                await trio.sleep(1000)  # a client that has stopped reading; nobody waits for it

        nursery.start_soon(request)
        await model.until(lambda: model.queue.in_flight)
        began = trio.current_time()
        await model.unload("told to", force=force)
        assert trio.current_time() - began == pytest.approx(0 if force else 30)
        assert model.queue.in_flight == 0


async def test_force_cuts_a_drain_short(autojump_clock: MockClock, make: Callable[..., Model]) -> None:
    model = make(drain_timeout=Seconds(30))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(use, model, 1000)
        await model.until(lambda: model.queue.in_flight)
        nursery.start_soon(model.unload, "told to")
        await trio.sleep(5)
        assert model.state is State.DRAINING
        began = trio.current_time()
        await model.unload("told to, harder", force=True)
        assert trio.current_time() == began
        nursery.cancel_scope.cancel()


async def test_unload_refuses_those_who_wait_and_aborts_the_load(
    autojump_clock: MockClock, make: Callable[..., Model], garage: Garage
) -> None:
    garage.load_time = 1000
    model = make()
    async with trio.open_nursery() as nursery:

        async def request() -> None:
            with pytest.raises(Unloading, match="told to"):
                await use(model)

        nursery.start_soon(request)
        await model.until(lambda: model.state is State.STARTING)
        began = trio.current_time()
        await model.unload("told to")
        assert trio.current_time() == began
    assert model.state is State.UNLOADED


async def test_who_comes_while_it_stops_gets_a_fresh_engine(
    autojump_clock: MockClock, make: Callable[..., Model], garage: Garage
) -> None:
    garage.stop_time = 5
    model = make()
    await use(model)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(model.unload, "told to")
        await model.until(lambda: model.state is State.STOPPING)
        await use(model)
    assert len(garage.engines) == 2
    assert garage.started_at[1] >= (garage.engines[0].stopped_at or 0)  # never two at a time


async def test_unload_of_what_is_not_loaded_is_no_error(autojump_clock: MockClock, make: Callable[..., Model]) -> None:
    model = make()
    assert await model.unload("told to") == 0


async def test_a_crash_is_seen_by_those_served_and_nobody_restarts_it_unasked(
    autojump_clock: MockClock, make: Callable[..., Model], garage: Garage
) -> None:
    model = make()
    with model.enter() as lease:
        run = await lease.run(LONG)
        garage.last.exit(-9)
        outcome = await run.ended(LONG)
    assert isinstance(outcome, Crashed)
    assert "was killed by SIGKILL" in str(outcome)
    await trio.sleep(1000)
    assert (model.state, len(garage.engines), model.crashes) == (State.UNLOADED, 1, 1)


async def test_crashes_are_forgiven_with_growing_pauses_then_the_model_is_left_alone(
    autojump_clock: MockClock, make: Callable[..., Model], garage: Garage
) -> None:
    model = make()
    for crash in range(4):
        with model.enter() as lease:
            run = await lease.run(LONG)
            garage.last.exit(1)
            await run.ended(LONG)
            await run.over.wait()
        assert model.state is (State.UNLOADED if crash < 3 else State.FAILED)
    pauses = [b - a - garage.load_time for a, b in zip(garage.started_at, garage.started_at[1:], strict=False)]
    assert pauses == pytest.approx([0.5, 1, 2])

    with pytest.raises(ModelFailed, match=r"exited with code 1.*too often") as refused:
        model.enter()
    assert refused.value.retry_after == pytest.approx(10)

    await trio.sleep(11)  # one trial after the cool-down
    await use(model)
    assert model.state is State.READY


async def test_pinned_models_come_back_by_themselves(
    autojump_clock: MockClock, make: Callable[..., Model], garage: Garage
) -> None:
    model = make(pinned=True)
    await use(model)
    garage.last.exit(-11)
    await model.until(lambda: model.crashes)
    await model.until(lambda: model.state is State.READY)
    assert len(garage.engines) == 2


@pytest.mark.parametrize("code", [0, 1])
async def test_an_exit_before_ready_is_a_failure_with_the_engines_words(
    autojump_clock: MockClock, make: Callable[..., Model], garage: Garage, code: int
) -> None:
    garage.ready = False
    model = make()
    model.book.write("error: what the one before it said")
    async with trio.open_nursery() as nursery:

        async def request() -> None:
            with pytest.raises(ModelFailed, match=f"exited with code {code} .*invalid magic") as failed:
                await use(model)
            assert failed.value.log_tail == ("E invalid magic characters", "exiting")
            assert (failed.value.lasting, failed.value.retry_after) == (True, None)

        for _ in range(3):
            nursery.start_soon(request)
        await model.until(lambda: model.state is State.STARTING and garage.engines)
        model.book.write("E invalid magic characters")
        model.book.write("exiting")
        garage.last.exit(code)
    assert model.state is State.FAILED
    assert len(garage.engines) == 1


async def test_the_log_has_the_reason_of_every_transition(
    autojump_clock: MockClock, make: Callable[..., Model], garage: Garage, caplog: pytest.LogCaptureFixture
) -> None:
    """Also where it is that of the one before: the end of a stop is looked for by itself."""
    caplog.set_level(logging.DEBUG, "llmsup.fleet.model.model")
    model = make(ttl=Seconds(60))
    await use(model)
    await model.until(lambda: model.state is State.UNLOADED)
    garage.ready = False
    model.load()
    await model.until(lambda: model.state is State.STARTING and len(garage.engines) == 2)
    garage.last.exit(3)
    await model.until(lambda: model.state is State.FAILED)
    told = [record.getMessage().removeprefix("m: ").partition(": ") for record in caplog.records]
    assert [step for step, _, _ in told] == [
        "unloaded -> waiting",
        "waiting -> starting",
        "starting -> ready",
        "ready -> stopping",
        "stopping -> unloaded",
        "unloaded -> waiting",
        "waiting -> starting",
        "starting -> stopping",
        "stopping -> failed",
    ]
    assert all(reason for _, _, reason in told)
    assert told[0][2] == "a request waits for it"
    assert told[5][2] == "its load was asked for"
    assert told[4][2] == told[3][2] == "m was unloaded: idle for 60 s (its ttl)."
    assert "exited with code 3" in told[8][2]


async def test_a_failed_model_is_tried_again_after_a_growing_cooldown_or_when_told(
    autojump_clock: MockClock, make: Callable[..., Model], garage: Garage
) -> None:
    garage.refuse = SetupError("model m: no such file.", hint="Put it there.")
    model = make()
    for rest in (10, 20, 40):
        with pytest.raises(ModelFailed, match="no such file"):
            await use(model)
        assert model.retry_in == pytest.approx(rest)
        with pytest.raises(ModelFailed):
            model.enter()
        await trio.sleep(rest)
    with pytest.raises(ModelFailed):
        await use(model)
    garage.refuse = None
    model.load()  # nobody waits for the cool-down now
    await use(model)
    assert model.state is State.READY


async def test_a_process_may_be_impossible_to_start(
    autojump_clock: MockClock, make: Callable[..., Model], garage: Garage
) -> None:
    garage.refuse = OSError(13, "Permission denied")
    with pytest.raises(ModelFailed, match="Permission denied"):
        await use(make())


async def test_a_load_that_takes_too_long_is_given_up(
    autojump_clock: MockClock, make: Callable[..., Model], garage: Garage
) -> None:
    garage.ready = False
    model = make(start_timeout=Seconds(100), stall_timeout=Seconds(99999))
    with pytest.raises(LoadTimeout, match="not ready after 100 s; it is a fake"):
        await use(model)
    assert trio.current_time() == pytest.approx(100)
    assert model.state is State.FAILED


async def test_a_load_without_progress_is_given_up_sooner(
    autojump_clock: MockClock, make: Callable[..., Model], garage: Garage
) -> None:
    garage.ready = False
    model = make(start_timeout=Seconds(600), stall_timeout=Seconds(30))
    with pytest.raises(LoadTimeout, match="no sign of progress for 30 s"):
        await use(model)
    assert 30 <= trio.current_time() <= 33


@pytest.mark.parametrize("sign", ["output", "computes"])
async def test_a_slow_load_with_progress_is_not_given_up(
    autojump_clock: MockClock, make: Callable[..., Model], garage: Garage, sign: str
) -> None:
    garage.load_time = 500
    model = make(start_timeout=Seconds(600), stall_timeout=Seconds(30))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(use, model)
        await model.until(lambda: garage.engines)
        if sign == "output":
            garage.last.signs = -1  # something new every time it is looked at
        else:
            garage.last.computes = True
    assert model.state is State.READY


async def test_shutdown_tells_those_who_wait_and_ends_the_engine(autojump_clock: MockClock, garage: Garage) -> None:
    garage.ready = False
    model = Model(Entry(spec=ModelSpec(name="m", path="m.gguf")), LogBook())
    async with trio.open_nursery() as clients:

        async def request() -> None:
            with pytest.raises(ShuttingDown):
                await use(model)

        async with trio.open_nursery() as fleet:
            await fleet.start(Supervisor(model, garage, AlwaysYes()).run)
            clients.start_soon(request)
            await model.until(lambda: garage.engines)
            fleet.cancel_scope.cancel()
    assert garage.last.stopped_at is not None


async def test_a_ttl_that_changes_counts_at_once(
    autojump_clock: MockClock, make: Callable[..., Model], garage: Garage
) -> None:
    """An idle model does not wait for the end of the ttl that it had."""
    model = make(ttl=Seconds(10_000))
    await use(model)
    redefine(model, evolve(model.entry, spec=evolve(model.spec, ttl=Seconds(60))))
    began = trio.current_time()
    await model.until(lambda: model.state is State.UNLOADED)
    assert trio.current_time() - began == pytest.approx(60, abs=1)
    assert model.reason.startswith("m was unloaded: idle for 60 s")


async def test_who_is_told_of_requests() -> None:
    """Whoever waits hears of each; who decides about memory only of what may change his mind: whether there are any,
    and who waits.
    """
    model = Model(Entry(spec=ModelSpec(name="m", path="m.gguf", max_in_flight=3)), LogBook())
    event = trio.Event()

    def heard() -> bool:
        nonlocal event
        was, event = event.is_set(), trio.Event()
        model.wakes(event)
        return was

    assert not heard()
    first = model.enter()
    assert heard()
    model.queue.open(Run())
    assert heard()
    second, third = model.enter(), model.enter()
    assert not heard()
    fourth = model.enter()
    assert heard(), "one waits"
    async with trio.open_nursery() as nursery:
        nursery.start_soon(model.until, lambda: model.queue.in_flight == 2)
        await wait_all_tasks_blocked()
        for lease in (first, second):
            model.queue.leave(lease)
    assert not heard()
    model.queue.leave(third)
    assert heard()
    model.queue.leave(fourth)
    assert heard(), "nobody is served any more"
