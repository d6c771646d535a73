"""Turns: a model that is held serves those who are in, and nobody who comes, until it is released."""

from __future__ import annotations

import trio
from trio.testing import MockClock

from llmsup.errors import ModelFailed
from llmsup.fleet.desk import Desk
from llmsup.fleet.life import Life
from llmsup.units import Seconds


def opened(limit: int = 0) -> tuple[Desk, Life]:
    desk, life = Desk(limit, lambda: None), Life()
    desk.open(life)
    return desk, life


async def test_who_comes_while_it_is_held_waits(autojump_clock: MockClock) -> None:
    """He counts as waiting, so that the model comes back for him, but not as one who was let through."""
    desk, _ = opened()
    first = desk.enter()
    desk.hold()
    second = desk.enter()
    assert (desk.in_flight, desk.due, desk.waiting) == (1, 0, 1)
    first.__exit__()
    assert (desk.in_flight, desk.occupied, desk.busy) == (0, False, True)
    desk.release()
    assert (desk.in_flight, desk.waiting) == (1, 0)
    assert (await second.life(Seconds(1))) is not None


async def test_who_waited_before_the_hold_is_served(autojump_clock: MockClock) -> None:
    """He was there first; the limit on requests in flight made him wait."""
    desk, _ = opened(limit=1)
    first, second = desk.enter(), desk.enter()
    desk.hold()
    third = desk.enter()
    assert (desk.in_flight, desk.due, desk.waiting) == (1, 1, 2)
    first.__exit__()
    assert (desk.in_flight, desk.due, desk.waiting) == (1, 0, 1)
    second.__exit__()
    assert not desk.occupied
    third.__exit__()
    assert not desk.busy


async def test_the_order_survives_a_hold(autojump_clock: MockClock) -> None:
    """First come, first served, also of those who came during it; the oldest says since when somebody waits."""
    desk, _ = opened(limit=1)
    tickets = [desk.enter()]
    desk.hold()
    for _ in range(3):
        await trio.sleep(1)
        tickets.append(desk.enter())
    since = desk.since
    assert since == tickets[1].since
    desk.release()
    for index, ticket in enumerate(tickets):
        assert ticket._life is not None
        assert all(later._life is None for later in tickets[index + 1 :])
        ticket.__exit__()
    assert desk.since is None


async def test_the_end_of_a_life_ends_the_hold(autojump_clock: MockClock) -> None:
    """Those who came meanwhile are the first of the next life."""
    desk, _ = opened()
    desk.hold()
    desk.enter()
    desk.close()
    desk.forget()
    assert (desk.held, desk.due) == (False, 1)
    desk.open(Life())
    assert desk.in_flight == 1


async def test_refusing_reaches_those_who_came_during_a_hold(autojump_clock: MockClock) -> None:
    """Nobody is left waiting for nothing."""
    desk, _ = opened()
    desk.hold()
    ticket = desk.enter()
    desk.refuse(ModelFailed("no"))
    assert desk.waiting == 0
    assert ticket._error is not None


async def test_the_seconds_of_waiting_are_told(autojump_clock: MockClock) -> None:
    """When a request is served, not when it came."""
    told: list[float] = []
    desk = Desk(0, lambda: None, told.append)
    desk.enter()
    await trio.sleep(5)
    desk.open(Life())
    assert told == [5]


async def test_the_first_answer_begins_the_residency(autojump_clock: MockClock) -> None:
    """Of this life, and only the first."""
    desk, life = opened()
    for _ in range(2):
        with desk.enter():
            await trio.sleep(10)
    assert life.first_served == 10 + life.began
