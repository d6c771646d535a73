"""Values that one task owns and others wait on."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock, assert_checkpoints, assert_no_checkpoints, wait_all_tasks_blocked

from llmsup.process.watched import Watched


class Number(Watched):
    """A value to wait on."""

    def __init__(self) -> None:
        super().__init__()
        self.value = 0

    def set(self, value: int) -> None:
        self.value = value
        self.notify()


async def test_what_holds_already_is_not_waited_for() -> None:
    """It returns at once and is no checkpoint: what was seen is still so in the next line."""
    with assert_no_checkpoints():
        await Number().until(lambda: True)


async def test_everybody_is_woken_when_it_holds() -> None:
    """By the announcement that makes it so, and not before."""
    number = Number()
    woken: list[int] = []

    async def wait(least: int) -> None:
        with assert_checkpoints():
            await number.until(lambda: number.value >= least)
        woken.append(least)

    async with trio.open_nursery() as nursery:
        for least in (1, 2, 2, 3):
            nursery.start_soon(wait, least)
        for value, expected in ((0, []), (1, [1]), (2, [1, 2, 2]), (3, [1, 2, 2, 3])):
            number.set(value)
            await wait_all_tasks_blocked()
            assert woken == expected


async def test_a_change_that_is_taken_back_wakes_nobody() -> None:
    """Level-triggered: who waits looks at what is, not at what was."""
    number = Number()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(number.until, lambda: number.value == 1)
        await wait_all_tasks_blocked()
        number.set(1)
        number.set(0)
        await wait_all_tasks_blocked()
        assert nursery.child_tasks
        number.set(1)


async def test_nothing_is_missed_between_a_look_and_a_wait() -> None:
    """A waiter that announces something itself before it waits again still sees the other's answer."""
    number = Number()

    async def odd() -> None:
        while number.value < 9:
            await number.until(lambda: number.value % 2)
            number.set(number.value + 1)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(odd)
        while number.value < 9:
            await number.until(lambda: not number.value % 2)
            number.set(number.value + 1)
    assert number.value == 10


async def test_any_announcement_is_a_change(autojump_clock: MockClock) -> None:
    """`change` waits for the next one, also if nothing is different; an earlier one doesn't count."""
    number = Number()
    number.notify()
    with trio.move_on_after(1) as scope:
        await number.change()
    assert scope.cancelled_caught
    async with trio.open_nursery() as nursery:
        nursery.start_soon(number.change)
        await wait_all_tasks_blocked()
        number.notify()


async def test_an_error_in_the_look_is_the_waiters() -> None:
    """The owner doesn't learn of it."""
    number = Number()

    async def wait() -> None:
        with pytest.raises(ZeroDivisionError):
            await number.until(lambda: 1 // (1 - number.value) == 0)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        await wait_all_tasks_blocked()
        number.set(1)


async def test_one_who_waits_for_several_is_woken_by_any() -> None:
    """Once, and only by what is announced from then on; those who were woken by another are forgotten."""
    one, other, event = Number(), Number(), trio.Event()
    one.set(1)
    for each in (one, other):
        each.wakes(event)
    assert not event.is_set()
    other.set(1)
    assert event.is_set()
    later = trio.Event()
    one.wakes(later)
    one.wakes(later)
    assert one._lent == {later}
    one.set(2)
    assert later.is_set()
    assert not one._lent
