"""Events in a bounded ring: numbered, in order, for many readers at their own pace."""

from __future__ import annotations

import time

import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from llmsup.process.ring import Events


def test_they_are_numbered_from_one() -> None:
    """With their time and their data."""
    events = Events()
    before = time.time()
    events.write("load", model="a", seconds=1.5)
    events.write("unload", model="a")
    first, second = events.since(0)
    assert (first.number, first.kind, dict(first.data)) == (1, "load", {"model": "a", "seconds": 1.5})
    assert before - 0.001 <= first.at <= second.at <= time.time() + 0.001
    assert (second.number, events.written) == (2, 2)


def test_nothing_new() -> None:
    """For who has seen all, and for who claims to have seen more."""
    events = Events()
    assert events.since(0) == ()
    events.write("load")
    assert events.since(1) == ()
    assert events.since(99) == ()


def test_who_reads_too_slowly_misses_some() -> None:
    """And sees it by the numbers."""
    events = Events(capacity=3)
    for i in range(10):
        events.write("model", i=i)
    assert [event.number for event in events.since(2)] == [8, 9, 10]
    assert [event.number for event in events.since(9)] == [10]


@given(st.integers(1, 8), st.integers(0, 30), st.integers(0, 40))
def test_it_is_the_end_of_all_that_were_written(capacity: int, written: int, seen: int) -> None:
    """Those after the number that are kept, oldest first."""
    events = Events(capacity)
    for _ in range(written):
        events.write("x")
    expected = [number for number in range(1, written + 1) if number > seen and number > written - capacity]
    assert [event.number for event in events.since(seen)] == expected


async def test_many_follow(autojump_clock: trio.testing.MockClock) -> None:
    """Each at its own pace; who writes never waits; all come to an end when nothing more will come."""
    events = Events()
    told: dict[float, list[int]] = {0.0: [], 3.0: [], 7.0: []}

    async def follow(pause: float) -> None:
        seen = 0
        while not events.closed or events.written > seen:
            await events.until(lambda: events.written > seen or events.closed)  # noqa: B023 -- awaited in this very turn
            new, seen = events.since(seen), events.written
            told[pause] += [event.number for event in new]
            await trio.sleep(pause)

    async with trio.open_nursery() as nursery:
        for pause in told:
            nursery.start_soon(follow, pause)
        for _ in range(20):
            events.write("x")
            await trio.sleep(1)
        events.close()
    assert list(told.values()) == [list(range(1, 21))] * 3
