"""Memory is short, and nobody goes: why, in the log, the decisions, and what is shown."""

from __future__ import annotations

import logging

import pytest
import trio
from machines import RESERVE, TOTAL, machine
from trio.testing import MockClock

from llmsup.config.schema import GiB, Memory
from llmsup.fleet.model.states import Cause
from llmsup.memory.machine.reading import Reading
from llmsup.memory.policy.decision import Left
from llmsup.units import Bytes


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What the log said of it."""
    mark = "unloading nothing: "
    return [each.message.partition(mark)[2] for each in caplog.records if mark in each.message]


@pytest.mark.slow
async def test_those_that_may_not_go(autojump_clock: MockClock, caplog: pytest.LogCaptureFixture) -> None:
    """Minutes of critical pressure: one line with each model's reason; when it is over nothing is said any more, and
    the next time it is news again.
    """
    caplog.set_level(logging.INFO)
    async with machine() as m:
        m.have(a=(20, {"pinned": True}), b=(10, {}))
        await m.use("a")
        m.ask("b", 10_000)
        await trio.sleep(100)
        assert m.governor.left is None
        for spell in (1, 2):
            m.neighbour = 34 * GiB
            await trio.sleep(300)
            assert m.governor.pressure.level == "critical"
            assert m.governor.left is not None
            assert m.governor.left.reason == "no model may go now (a: pinned; b: 1 in flight)"
            assert told(caplog) == [m.governor.left.reason] * spell
            record = list(m.governor.records)[-1].decision
            assert (record.kind, record.left, record.model) == ("leave", "none may go", "")
            m.neighbour = 0
            await trio.sleep(60)
            assert m.governor.left is None
        assert m.went() == []


@pytest.mark.parametrize(("size", "left"), [(1.0, "too little"), (6.0, "none may go")])
async def test_those_that_are_not_the_cause(autojump_clock: MockClock, size: float, left: Left) -> None:
    """They have too little, or the one that has much works."""
    async with machine() as m:
        m.serve(a=size)
        m.ask("a", 1000)
        await trio.sleep(10)
        m.neighbour = 64 * GiB
        await trio.sleep(10)
        assert m.governor.left is not None
        assert m.governor.left.left == left


async def test_pressure_that_is_somebody_elses(autojump_clock: MockClock, caplog: pytest.LogCaptureFixture) -> None:
    """After two that went in vain, for how long the others are left alone."""
    caplog.set_level(logging.INFO)
    async with machine() as m:
        m.serve(a=5, b=5, c=5, d=5)
        for name in "abcd":
            await m.use(name)
        await trio.sleep(100)
        m.probe.system = lambda: Reading(total=Bytes(TOTAL), available=Bytes(0))
        await trio.sleep(60)
        assert len(m.went()) == 2
        assert m.governor.left is not None
        assert m.governor.left.left == "not ours"
        assert len([line for line in told(caplog) if "did not help" in line]) == 1


async def test_models_that_have_grown_too_much(autojump_clock: MockClock, caplog: pytest.LogCaptureFixture) -> None:
    """The machine is not short, and all of them work; then one is idle, goes for it, and the reason says for what."""
    caplog.set_level(logging.INFO)
    async with machine(Memory(reserve=RESERVE, limit=Bytes(30 * GiB))) as m:
        m.serve(a=14, b=14)
        m.ask("a", 500)
        m.ask("b", 5000)
        await trio.sleep(50)
        next(engine for engine in m.garage.engines if engine.name == "b").size = 18 * GiB
        await trio.sleep(100)
        assert m.governor.pressure.level == "normal"
        assert told(caplog) == ["no model may go now (b: 1 in flight; a: 1 in flight)"]
        await trio.sleep(600)
        assert m.went() == [("a", Cause.PRESSURE)]
        assert "2.0 GiB more than they may" in m.fleet.models["a"].history.entries[-1].reason
        assert m.governor.left is None
