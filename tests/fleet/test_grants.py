"""What a supervisor tells of the memory that its model has, and whom the governor listens to."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from machines import machine
from trio.testing import MockClock

from llmsup.memory.policy.admission import admit_all
from llmsup.memory.policy.decision import Decision


@pytest.fixture(name="decided")
def times_decided(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """When it was decided who is let in (trio time)."""
    times: list[float] = []

    def noted(*args: Any, **given: Any) -> Any:
        times.append(trio.current_time())
        return admit_all(*args, **given)

    monkeypatch.setattr("llmsup.fleet.memory.governor.admit_all", noted)
    return times


async def test_a_warm_request_does_not_pass_the_governor(autojump_clock: MockClock, decided: list[float]) -> None:
    """Nobody waits, and there is memory: nothing can follow from it."""
    async with machine() as m:
        m.serve(a=10, b=20)
        await m.use("a")
        await m.use("b")
        await trio.sleep(10)
        decided.clear()
        for _ in range(100):
            await m.use("a", 0.05)
        assert decided == []


async def test_while_somebody_waits_an_end_is_heard_of_at_once(autojump_clock: MockClock) -> None:
    """Not with the next look at the clock."""
    async with machine() as m:
        m.serve(a=40, b=40)
        await m.use("a")
        m.ask("a", 5.55)
        await trio.sleep(1)
        began = trio.current_time()
        m.ask("b", 0)
        await m.fleet.models["b"].until(lambda: m.fleet.models["b"].queue.last_used)
        waited = m.garage.started_at[-1] - began
        assert waited == pytest.approx(4.55, abs=0.1)


async def test_who_no_longer_waits_is_heard_of_at_once(autojump_clock: MockClock) -> None:
    """A request for another model that waited behind it is let in."""
    async with machine() as m:
        m.serve(a=40, b=40)
        await m.use("a")
        m.ask("a", 100)
        await trio.sleep(1)
        m.ask("b", 1, patience=3.33)
        await trio.sleep(3.33 + 0.1)
        assert m.fleet.models["b"].run is None
        assert not m.fleet.models["a"].queue.paused


async def test_only_an_idle_one_that_is_ready_is_evicted(autojump_clock: MockClock) -> None:
    """The policy decides by what it sees in the same moment; anything else would be a bug, and is told as one."""
    async with machine() as m:
        m.serve(a=10)
        (a,) = m.fleet.models.values()
        decision = Decision("evict", "a test", model="b")
        m.ask("a", 10)
        await a.until(lambda: a.run and a.run.loaded_at)
        (grant,) = m.governor._ledger
        with pytest.raises(RuntimeError, match=r"<Model a ready, 1 in flight, pid 1> can't be evicted"):
            grant.evict(decision)
        grant.evict(decision, force=True)
        with pytest.raises(RuntimeError, match="can't be evicted"):
            grant.evict(decision, force=True)
        assert a.run is not None
        assert a.run.decision is decision
