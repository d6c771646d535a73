"""Decisions about memory: kept, told once, with what became of them."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from attrs import evolve

from llmsup.fleet.memory.decisions import KEPT, Decisions
from llmsup.memory.policy.decision import Decision
from llmsup.process.ring import Events
from llmsup.units import Bytes

WAIT = Decision(kind="wait", reason="it needs 5 GiB, 1 GiB is free", model="a", holders=("b",))
EVICT = Decision(kind="evict", reason="it needs 5 GiB; b, c can go", model="a", victims=("b", "c"))


@pytest.fixture
def events() -> Events:
    return Events()


@pytest.fixture
def decisions(events: Events) -> Decisions:
    return Decisions(events)


@pytest.mark.parametrize(
    ("decision", "level", "says"),
    [
        (evolve(EVICT, kind="admit", victims=()), "INFO", {"a", "admitted", EVICT.reason}),
        (EVICT, "INFO", {"unloading b, c", "room for a", EVICT.reason}),
        (WAIT, "INFO", {"a waits", WAIT.reason}),
        (evolve(WAIT, kind="refuse"), "WARNING", {"a is refused", WAIT.reason}),
        (evolve(EVICT, model=""), "INFO", {"unloading b, c", "memory pressure", EVICT.reason}),
    ],
)
def test_each_is_told_in_one_line_and_one_event(
    decisions: Decisions,
    events: Events,
    caplog: pytest.LogCaptureFixture,
    decision: Decision,
    level: str,
    says: set[str],
) -> None:
    """With the numbers behind it."""
    caplog.set_level(logging.INFO)
    decisions.add(decision)
    [line] = caplog.records
    assert line.levelname == level
    assert {words for words in says if words not in line.message} == set(), line.message
    [event] = events.since(0)
    assert event.kind == "decision"
    assert dict(event.data) == {
        "decision": decision.kind,
        "model": decision.model or None,
        "reason": decision.reason,
        "victims": list(decision.victims),
    }
    assert [record.decision for record in decisions] == [decision]


def test_who_still_waits_is_told_once_and_kept_as_it_is_now(decisions: Decisions, events: Events) -> None:
    """What waits is decided about every second: the numbers are the newest, the moment is the first."""
    decisions.add(WAIT)
    [record] = decisions
    at = record.at
    later = evolve(WAIT, reason="it needs 5 GiB, 2 GiB is free", room=2)
    decisions.add(later)
    assert [(each.decision, each.at) for each in decisions] == [(later, at)]
    assert events.written == 1


@pytest.mark.parametrize("given", [{"paused": ("b",)}, {"holders": ("c",)}, {"kind": "refuse"}])
def test_what_became_different_is_told(decisions: Decisions, events: Events, given: dict[str, Any]) -> None:
    """It is held for now, or others have the memory."""
    decisions.add(WAIT)
    decisions.add(evolve(WAIT, **given))
    assert (len(decisions), events.written) == (2, 2)


def test_two_that_wait_by_turns(decisions: Decisions, events: Events) -> None:
    """Each is compared with its own last decision, not with the other's."""
    for _ in range(20):
        decisions.add(WAIT)
        decisions.add(evolve(WAIT, model="z"))
    assert (len(decisions), events.written) == (2, 2)


def test_what_waits_again_after_it_was_let_in(decisions: Decisions, events: Events) -> None:
    """That is another wait."""
    for decision in (WAIT, evolve(WAIT, kind="admit"), WAIT):
        decisions.add(decision)
    assert [record.decision.kind for record in decisions] == ["wait", "admit", "wait"]
    assert events.written == 3


def test_what_came_back_is_added_up(decisions: Decisions) -> None:
    """Of all victims, and as long as the slowest took; what nobody could see adds nothing."""
    decisions.add(EVICT)
    [record] = decisions
    assert (record.freed, record.seconds) == (None, None)
    decisions.went(EVICT, None, 0.5)
    assert (record.freed, record.seconds) == (None, 0.5)
    decisions.went(EVICT, Bytes(100), 2.0004)
    decisions.went(EVICT, Bytes(50), 1.0)
    assert (record.freed, record.seconds) == (150, 2.0)
    decisions.went(EVICT, None, 0.1)
    assert record.freed == 150


def test_a_decision_like_another_is_not_that_one(decisions: Decisions) -> None:
    """Two evictions may have the same numbers; each has its own victims."""
    twin = evolve(EVICT)
    decisions.add(EVICT)
    decisions.add(twin)
    decisions.went(twin, Bytes(7), 1.0)
    assert [record.freed for record in decisions] == [None, 7]


def test_only_the_last_are_kept(decisions: Decisions) -> None:
    """What a victim of a forgotten one gave back is of no interest any more."""
    first = evolve(EVICT, model="first")
    decisions.add(first)
    for i in range(KEPT):
        decisions.add(evolve(EVICT, model=f"m{i}"))
    assert len(decisions) == KEPT
    assert next(iter(decisions)).decision.model == "m0"
    decisions.went(first, Bytes(1), 1.0)
    assert all(record.freed is None for record in decisions)


LEAVE = Decision(kind="leave", reason="no model may go now (a: pinned)", left="none may go")


def test_why_none_is_unloaded_is_told_once_for_each_reason(
    decisions: Decisions, events: Events, caplog: pytest.LogCaptureFixture
) -> None:
    """It is decided every second, with other numbers, and reasons come back: in one spell of pressure each is news
    once. The last decision has the numbers of now.
    """
    caplog.set_level(logging.INFO)
    settling = evolve(LEAVE, left="settling", reason="the last step is 1 s ago")
    later = evolve(settling, reason="the last step is 2 s ago")
    easing = evolve(LEAVE, left="easing", reason="enough is free again")
    for decision in (LEAVE, LEAVE, settling, later, LEAVE, later, easing):
        decisions.add(decision)
    assert [(each.levelname, each.message.partition("nothing: ")[2]) for each in caplog.records] == [
        ("WARNING", "no model may go now (a: pinned)"),
        ("INFO", "the last step is 1 s ago"),
    ]
    assert [event.data["reason"] for event in events.since(0)] == [LEAVE.reason, settling.reason]
    assert [record.decision for record in decisions] == [LEAVE, later, LEAVE, later, easing]
    decisions.calm()
    decisions.add(LEAVE)
    assert len(caplog.records) == 3
