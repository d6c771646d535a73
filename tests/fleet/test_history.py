"""What became of a model, as it is told."""

from __future__ import annotations

from llmsup.fleet.model.history import History
from llmsup.fleet.model.states import Cause
from llmsup.memory.policy.decision import Decision
from llmsup.units import Seconds


def test_loads_and_unloads_are_counted_by_cause() -> None:
    """A failure, a refusal and a wait are none of them."""
    history = History()
    history.note("load", "loaded in 2 s")
    history.note("unload", "idle", cause=Cause.IDLE, freed=5)
    history.note("load", "loaded in 2 s")
    history.note("unload", "to make room", cause=Cause.ROOM)
    history.note("fail", "it is broken", cause=Cause.FAILED)
    history.note("refuse", "too large")
    history.note("wait", "for memory")
    assert history.loads == 2
    assert history.unloads == {Cause.IDLE: 1, Cause.ROOM: 1}


def test_what_happened_last_is_kept_oldest_first() -> None:
    """With the decision and what came back; of a long life only the end, while the counters have all."""
    history = History()
    decision = Decision(kind="evict", reason="it needs room", model="b")
    for i in range(100):
        history.note("load", f"load {i}")
    history.note("unload", "for b", cause=Cause.ROOM, decision=decision, freed=7)
    assert history.loads == 100
    assert len(history.entries) == 40
    assert [entry.at for entry in history.entries] == sorted(entry.at for entry in history.entries)
    last = history.entries[-1]
    assert (last.what, last.reason, last.cause, last.decision, last.freed) == ("unload", "for b", "room", decision, 7)
    assert history.entries[0].reason == "load 61"


def test_how_long_requests_waited() -> None:
    """All together, and how many."""
    history = History()
    for seconds in (0.0, 1.5, 2.0):
        history.began(Seconds(seconds))
    assert (history.waited, history.waits) == (3.5, 3)


def test_two_histories_are_two() -> None:
    """Nothing is shared between models."""
    one, other = History(), History()
    one.note("load", "x")
    assert (other.loads, len(other.entries)) == (0, 0)
