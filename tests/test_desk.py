"""Who waits and who is served: in their order, up to a limit, and not while another has the next turn."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from llmsup.errors import InsufficientMemory, ModelFailed, QueueTimeout, Unloading
from llmsup.fleet.model.queue import Desk, Ticket
from llmsup.fleet.model.run import Life
from llmsup.units import Seconds

Clock = trio.testing.MockClock


class Counted:
    """A desk whose changes are counted, and how long each waited."""

    def __init__(self, limit: int = 0) -> None:
        self.changes = 0
        self.waited: list[float] = []
        self.desk = Desk(limit, self._changed, self.waited.append)

    def _changed(self) -> None:
        self.changes += 1


def served(*tickets: Ticket) -> list[bool]:
    return [ticket in ticket._desk._served for ticket in tickets]


async def test_a_ticket_waits_until_the_model_is_ready(autojump_clock: Clock) -> None:
    """Then it gets its life, and how long it waited is told."""
    counted = Counted()
    desk, life = counted.desk, Life()
    with desk.enter() as ticket:
        assert (desk.waiting, desk.due, desk.in_flight, desk.since) == (1, 1, 0, trio.current_time())
        await trio.sleep(3)
        desk.open(life)
        assert await ticket.life(Seconds(10)) is life
        assert (desk.waiting, desk.in_flight, desk.since, desk.busy) == (0, 1, None, True)
    assert counted.waited == [3]
    assert (desk.in_flight, desk.busy, desk.last_used, life.first_served) == (0, False, 3, 3)


async def test_who_comes_while_it_is_held_waits_for_the_next_life() -> None:
    """Those before are served to the end, those after are not: another model waits for the memory."""
    desk = Counted().desk
    desk.set_limit(1)
    first, second = desk.enter(), desk.enter()
    desk.open(Life())
    desk.hold()
    third = desk.enter()
    assert served(first, second, third) == [True, False, False]
    assert (desk.waiting, desk.due) == (2, 1)
    desk.leave(first)
    assert served(second, third) == [True, False]
    assert desk.occupied
    desk.leave(second)
    assert (desk.occupied, desk.busy, desk.waiting, desk.due) == (False, True, 1, 0)
    assert served(third) == [False]


async def test_released_all_are_served_in_their_order() -> None:
    """The load came about otherwise, or was given up."""
    counted = Counted(limit=1)
    desk = counted.desk
    desk.open(Life())
    first = desk.enter()
    desk.hold()
    second, third = desk.enter(), desk.enter()
    desk.release()
    fourth = desk.enter()
    for gone, then in ((first, second), (second, third), (third, fourth)):
        desk.leave(gone)
        assert served(then) == [True]


async def test_holding_and_releasing_twice_is_the_same_as_once() -> None:
    """It is decided again every second; nothing is announced that is no change."""
    counted = Counted()
    desk = counted.desk
    changes = counted.changes
    desk.release()
    assert counted.changes == changes
    desk.open(Life())
    desk.hold()
    desk.hold()
    ticket = desk.enter()
    desk.release()
    desk.release()
    assert served(ticket) == [True]


async def test_the_next_life_serves_those_who_waited_for_it() -> None:
    """The hold ends with the engine."""
    desk = Counted().desk
    desk.open(Life())
    desk.hold()
    with desk.enter() as ticket:
        desk.close()
        desk.forget()
        assert (desk.held, desk.due, served(ticket)) == (False, 1, [False])
        life = Life()
        desk.open(life)
        assert await ticket.life(Seconds(1)) is life


async def test_since_is_when_the_first_of_all_came(autojump_clock: Clock) -> None:
    """Of those that are held, too: the model's own place among those that wait for memory depends on it."""
    desk = Counted().desk
    desk.hold()
    later = desk.enter()
    assert desk.since == 0
    await trio.sleep(5)
    desk.release()
    desk.hold()
    other = desk.enter()
    assert desk.since == 0
    desk.leave(later)
    assert desk.since == 5
    desk.leave(other)
    assert desk.since is None


async def test_who_leaves_while_it_is_held_is_gone() -> None:
    """And is not served when it is released."""
    desk = Counted().desk
    desk.open(Life())
    desk.hold()
    with desk.enter() as ticket:
        pass
    desk.release()
    assert (desk.waiting, desk.in_flight, served(ticket)) == (0, 0, [False])


async def test_all_who_wait_are_refused() -> None:
    """Held or not; those who are served are not."""
    desk = Counted(limit=1).desk
    desk.open(Life())
    inside, queued = desk.enter(), desk.enter()
    desk.hold()
    held = desk.enter()
    desk.refuse(Unloading("x was unloaded: so.", retry_after=1))
    for ticket in (queued, held):
        with pytest.raises(Unloading, match="x was unloaded"):
            await ticket.life(Seconds(1))
        desk.leave(ticket)
    assert served(inside) == [True]
    assert (desk.waiting, desk.in_flight) == (0, 1)


async def test_each_gets_an_error_of_its_own() -> None:
    """One exception that is raised in many tasks would collect all their tracebacks."""
    desk = Counted().desk
    tickets = [desk.enter(), desk.enter()]
    desk.refuse(ModelFailed("broken"))
    caught = []
    for ticket in tickets:
        with pytest.raises(ModelFailed) as info:
            await ticket.life(Seconds(1))
        caught.append(info.value)
    assert caught[0] is not caught[1]


async def test_who_waits_too_long(autojump_clock: Clock) -> None:
    """Counted from when it came; where it was memory that was missing, that is said, with who has it."""
    desk = Counted().desk
    desk.hold()
    with desk.enter() as ticket:
        await trio.sleep(4)
        with pytest.raises(QueueTimeout, match=r"waited 5.0 s for its model"):
            await ticket.life(Seconds(5))
    assert trio.current_time() == 5
    desk.shortage = "it needs 5 GiB, 1 GiB is free (in memory: b)"
    with desk.enter() as ticket, pytest.raises(InsufficientMemory, match=r"1 GiB is free \(in memory: b\)"):
        await ticket.life(Seconds(5))


async def test_a_life_with_a_verdict_serves_nobody() -> None:
    """Its end has only not been seen to yet."""
    desk, life = Counted().desk, Life()
    desk.open(life)
    life.end(ModelFailed("broken"))
    ticket = desk.enter()
    assert served(ticket) == [False]
    assert desk.due == 1


async def test_how_long_it_is_kept(autojump_clock: Clock) -> None:
    """As long as the longest ttl that a request asked for, from its end."""
    desk = Counted().desk
    desk.open(Life())
    long, short = desk.enter(Seconds(100)), desk.enter(Seconds(10))
    await trio.sleep(3)
    desk.leave(long)
    await trio.sleep(3)
    desk.leave(short)
    assert (desk.kept_until, desk.last_used) == (103, 6)


async def test_a_request_of_a_life_that_is_over_is_not_counted_in_the_next() -> None:
    """It leaves when it likes."""
    desk = Counted().desk
    desk.open(Life())
    old = desk.enter()
    desk.close()
    desk.forget()
    assert desk.in_flight == 0
    desk.open(Life())
    new = desk.enter()
    desk.leave(old)
    assert (desk.in_flight, served(new)) == (1, [True])


def _end(desk: Desk) -> None:
    desk.close()
    desk.forget()


MOVES: dict[str, Callable[[Desk], object]] = {
    "enter": Desk.enter,
    "hold": Desk.hold,
    "release": Desk.release,
    "open": lambda desk: desk.open(Life()),
    "close": Desk.close,
    "forget": _end,
    "limit": lambda desk: desk.set_limit(2),
    "no limit": lambda desk: desk.set_limit(0),
}


@given(st.lists(st.sampled_from((*MOVES, "enter", "enter", "leave first", "leave last")), max_size=40))
def test_what_holds_of_any_moves(moves: list[str]) -> None:
    """Nobody is lost, nobody is served twice or before one who came earlier in the same turn, no limit is passed, and
    nobody who came while it was held is served before it is released.
    """

    async def play() -> None:
        desk = Counted().desk
        inside: list[Ticket] = []
        barred: set[Ticket] = set()
        already = 0
        for move in moves:
            if move == "enter":
                ticket = desk.enter()
                inside.append(ticket)
                if desk.held:
                    barred.add(ticket)
            elif move.startswith("leave"):
                if inside:
                    desk.leave(inside.pop(0 if move == "leave first" else -1))
            else:
                MOVES[move](desk)
            if not desk.held:
                barred.clear()
            begun = [ticket for ticket in inside if ticket._decided.is_set()]
            assert inside[: len(begun)] == begun
            assert not barred & set(begun)
            assert desk.in_flight <= len(begun)
            assert desk.waiting == len(inside) - len(begun)
            assert desk.busy == bool(desk.waiting or desk.in_flight)
            assert (desk.since is None) == (desk.waiting == 0)
            assert not desk.limit or desk.in_flight <= max(desk.limit, already)
            already = desk.in_flight  # a limit sends nobody out

    trio.run(play)
