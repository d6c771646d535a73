"""Who waits and who is served: in their order, up to a limit, and not while another has the next turn."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from llmsup.errors import InsufficientMemory, ModelFailed, QueueTimeout, Unloading
from llmsup.fleet.model.outcome import FailedToStart
from llmsup.fleet.model.queue import Lease, RequestQueue
from llmsup.fleet.model.run import Run
from llmsup.units import Seconds

Clock = trio.testing.MockClock


class Counted:
    """A queue whose changes are counted, and how long each waited."""

    def __init__(self, limit: int = 0) -> None:
        self.changes = 0
        self.waited: list[float] = []
        self.queue = RequestQueue(limit, self._changed, self.waited.append)

    def _changed(self) -> None:
        self.changes += 1


def served(*leases: Lease) -> list[bool]:
    return [lease in lease._queue._served for lease in leases]


async def test_a_lease_waits_until_the_model_is_ready(autojump_clock: Clock) -> None:
    """Then it gets its life, and how long it waited is told."""
    counted = Counted()
    queue, run = counted.queue, Run()
    with queue.enter() as lease:
        assert (queue.waiting, queue.due, queue.in_flight, queue.since) == (1, 1, 0, trio.current_time())
        await trio.sleep(3)
        queue.open(run)
        assert await lease.run(Seconds(10)) is run
        assert (queue.waiting, queue.in_flight, queue.since, queue.busy) == (0, 1, None, True)
    assert counted.waited == [3]
    assert (queue.in_flight, queue.busy, queue.last_used, run.first_served) == (0, False, 3, 3)


async def test_who_was_cancelled_while_waiting_may_wait_on() -> None:
    """The place stays: a stream waits like this between two comments."""
    queue, run = Counted().queue, Run()
    with queue.enter() as lease:
        for _ in range(2):
            with trio.CancelScope() as scope:
                scope.cancel()
                await lease.run(Seconds(10))
            assert scope.cancelled_caught
        queue.open(run)
        assert await lease.run(Seconds(10)) is run


async def test_who_comes_while_it_is_held_waits_for_the_next_life() -> None:
    """Those before are served to the end, those after are not: another model waits for the memory."""
    queue = Counted().queue
    queue.set_limit(1)
    first, second = queue.enter(), queue.enter()
    queue.open(Run())
    queue.pause()
    third = queue.enter()
    assert served(first, second, third) == [True, False, False]
    assert (queue.waiting, queue.due) == (2, 1)
    queue.leave(first)
    assert served(second, third) == [True, False]
    assert queue.occupied
    queue.leave(second)
    assert (queue.occupied, queue.busy, queue.waiting, queue.due) == (False, True, 1, 0)
    assert served(third) == [False]


async def test_released_all_are_served_in_their_order() -> None:
    """The load came about otherwise, or was given up."""
    counted = Counted(limit=1)
    queue = counted.queue
    queue.open(Run())
    first = queue.enter()
    queue.pause()
    second, third = queue.enter(), queue.enter()
    queue.resume()
    fourth = queue.enter()
    for gone, then in ((first, second), (second, third), (third, fourth)):
        queue.leave(gone)
        assert served(then) == [True]


async def test_holding_and_releasing_twice_is_the_same_as_once() -> None:
    """It is decided again every second; nothing is announced that is no change."""
    counted = Counted()
    queue = counted.queue
    changes = counted.changes
    queue.resume()
    assert counted.changes == changes
    queue.open(Run())
    queue.pause()
    queue.pause()
    lease = queue.enter()
    queue.resume()
    queue.resume()
    assert served(lease) == [True]


async def test_the_next_life_serves_those_who_waited_for_it() -> None:
    """The hold ends with the engine."""
    queue = Counted().queue
    queue.open(Run())
    queue.pause()
    with queue.enter() as lease:
        queue.close()
        queue.forget()
        assert (queue.paused, queue.due, served(lease)) == (False, 1, [False])
        run = Run()
        queue.open(run)
        assert await lease.run(Seconds(1)) is run


async def test_since_is_when_the_first_of_all_came(autojump_clock: Clock) -> None:
    """Of those that are held, too: the model's own place among those that wait for memory depends on it."""
    queue = Counted().queue
    queue.pause()
    later = queue.enter()
    assert queue.since == 0
    await trio.sleep(5)
    queue.resume()
    queue.pause()
    other = queue.enter()
    assert queue.since == 0
    queue.leave(later)
    assert queue.since == 5
    queue.leave(other)
    assert queue.since is None


async def test_who_leaves_while_it_is_held_is_gone() -> None:
    """And is not served when it is released."""
    queue = Counted().queue
    queue.open(Run())
    queue.pause()
    with queue.enter() as lease:
        pass
    queue.resume()
    assert (queue.waiting, queue.in_flight, served(lease)) == (0, 0, [False])


async def test_all_who_wait_are_refused() -> None:
    """Held or not; those who are served are not."""
    queue = Counted(limit=1).queue
    queue.open(Run())
    inside, queued = queue.enter(), queue.enter()
    queue.pause()
    held = queue.enter()
    queue.refuse(Unloading("x was unloaded: so.", retry_after=1))
    for lease in (queued, held):
        with pytest.raises(Unloading, match="x was unloaded"):
            await lease.run(Seconds(1))
        queue.leave(lease)
    assert served(inside) == [True]
    assert (queue.waiting, queue.in_flight) == (0, 1)


async def test_each_gets_an_error_of_its_own() -> None:
    """One exception that is raised in many tasks would collect all their tracebacks."""
    queue = Counted().queue
    leases = [queue.enter(), queue.enter()]
    queue.refuse(ModelFailed("broken"))
    caught = []
    for lease in leases:
        with pytest.raises(ModelFailed) as info:
            await lease.run(Seconds(1))
        caught.append(info.value)
    assert caught[0] is not caught[1]


async def test_who_waits_too_long(autojump_clock: Clock) -> None:
    """Counted from when it came; where it was memory that was missing, that is said, with who has it."""
    queue = Counted().queue
    queue.pause()
    with queue.enter() as lease:
        await trio.sleep(4)
        with pytest.raises(QueueTimeout, match=r"waited 5.0 s for its model"):
            await lease.run(Seconds(5))
    assert trio.current_time() == 5
    queue.shortage = "it needs 5 GiB, 1 GiB is free (in memory: b)"
    with queue.enter() as lease, pytest.raises(InsufficientMemory, match=r"1 GiB is free \(in memory: b\)"):
        await lease.run(Seconds(5))


async def test_a_run_with_an_outcome_serves_nobody() -> None:
    """Its end has only not been seen to yet."""
    queue, run = Counted().queue, Run()
    queue.open(run)
    run.end(FailedToStart("broken"))
    lease = queue.enter()
    assert served(lease) == [False]
    assert queue.due == 1


async def test_how_long_it_is_kept(autojump_clock: Clock) -> None:
    """As long as the longest ttl that a request asked for, from its end."""
    queue = Counted().queue
    queue.open(Run())
    long, short = queue.enter(Seconds(100)), queue.enter(Seconds(10))
    await trio.sleep(3)
    queue.leave(long)
    await trio.sleep(3)
    queue.leave(short)
    assert (queue.kept_until, queue.last_used) == (103, 6)


async def test_a_request_of_a_life_that_is_over_is_not_counted_in_the_next() -> None:
    """It leaves when it likes."""
    queue = Counted().queue
    queue.open(Run())
    old = queue.enter()
    queue.close()
    queue.forget()
    assert queue.in_flight == 0
    queue.open(Run())
    new = queue.enter()
    queue.leave(old)
    assert (queue.in_flight, served(new)) == (1, [True])


def _end(queue: RequestQueue) -> None:
    queue.close()
    queue.forget()


MOVES: dict[str, Callable[[RequestQueue], object]] = {
    "enter": RequestQueue.enter,
    "pause": RequestQueue.pause,
    "resume": RequestQueue.resume,
    "open": lambda queue: queue.open(Run()),
    "close": RequestQueue.close,
    "forget": _end,
    "limit": lambda queue: queue.set_limit(2),
    "no limit": lambda queue: queue.set_limit(0),
}


@given(st.lists(st.sampled_from((*MOVES, "enter", "enter", "leave first", "leave last")), max_size=40))
def test_what_holds_of_any_moves(moves: list[str]) -> None:
    """Nobody is lost, nobody is served twice or before one who came earlier in the same turn, no limit is passed, and
    nobody who came while it was held is served before it is released.
    """

    async def play() -> None:
        queue = Counted().queue
        inside: list[Lease] = []
        barred: set[Lease] = set()
        already = 0
        for move in moves:
            if move == "enter":
                lease = queue.enter()
                inside.append(lease)
                if queue.paused:
                    barred.add(lease)
            elif move.startswith("leave"):
                if inside:
                    queue.leave(inside.pop(0 if move == "leave first" else -1))
            else:
                MOVES[move](queue)
            if not queue.paused:
                barred.clear()
            begun = [lease for lease in inside if lease.served_by is not None]
            assert inside[: len(begun)] == begun
            assert not barred & set(begun)
            assert queue.in_flight <= len(begun)
            assert queue.waiting == len(inside) - len(begun)
            assert queue.busy == bool(queue.waiting or queue.in_flight)
            assert (queue.since is None) == (queue.waiting == 0)
            assert not queue.limit or queue.in_flight <= max(queue.limit, already)
            already = queue.in_flight  # a limit sends nobody out

    trio.run(play)
