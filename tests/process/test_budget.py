"""How often something may crash, and how long it rests in between."""

from __future__ import annotations

import trio
from trio.testing import MockClock

from llmsup.process.budget import Cooldown, RestartBudget
from llmsup.units import Seconds


async def test_a_few_crashes_are_forgiven(mock_clock: MockClock) -> None:
    """Three within a minute, with growing pauses; the fourth is one too many."""
    budget = RestartBudget()
    assert [budget.spend() for _ in range(5)] == [0.5, 1, 2, None, None]


async def test_crashes_are_forgotten_after_the_window(mock_clock: MockClock) -> None:
    """What crashes every half minute goes on for ever, and each time waits no longer than the last two deserve."""
    budget = RestartBudget()
    waits = []
    for _ in range(6):
        waits.append(budget.spend())
        mock_clock.jump(31)
    assert waits == [0.5, 1, 1, 1, 1, 1]
    mock_clock.jump(3600)
    assert budget.spend() == 0.5


async def test_a_spent_budget_comes_back(mock_clock: MockClock) -> None:
    """Once the crashes are older than the window."""
    budget = RestartBudget(restarts=1, window=Seconds(10))
    assert [budget.spend(), budget.spend()] == [0.5, None]
    mock_clock.jump(10)
    assert budget.spend() is None  # a window's length ago is within it
    mock_clock.jump(10.1)
    assert budget.spend() == 0.5


async def test_the_pause_is_bounded(mock_clock: MockClock) -> None:
    """At most half a minute, however many crashes are forgiven."""
    budget = RestartBudget(restarts=100)
    assert [budget.spend() for _ in range(10)] == [0.5, 1, 2, 4, 8, 16, 30, 30, 30, 30]


async def test_budgets_are_their_owners(mock_clock: MockClock) -> None:
    """One model's crashes are not another's."""
    one, other = RestartBudget(restarts=0), RestartBudget()
    assert (one.spend(), other.spend()) == (None, 0.5)
    await trio.lowlevel.checkpoint()


def test_each_failure_rests_longer() -> None:
    """Twice as long each time, up to five minutes, until it works once."""
    cooldown = Cooldown()
    rests: list[float] = [cooldown.next() for _ in range(7)]
    assert rests == [10, 20, 40, 80, 160, 300, 300]
    cooldown.forget()
    assert float(cooldown.next()) == 10


def test_failing_for_days_is_no_error() -> None:
    """The rest stays what it is after thousands of failures, whatever kind of number it began with."""
    for cooldown in (Cooldown(), Cooldown(first=Seconds(0.5))):
        for _ in range(2000):
            rest = cooldown.next()
        assert float(rest) == 300
