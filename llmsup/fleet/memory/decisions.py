"""What was decided about memory lately, told in the log and as events, and kept for who asks.

It does not know how anything is decided.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Iterator

from attrs import define

from ...memory.policy.decision import Decision, Left
from ...process.events import Events
from ...units import Bytes

log = logging.getLogger(__name__)

KEPT = 50


@define(eq=False)
class Record:
    """One decision, and what became of it.

    Attributes:
        at: Unix seconds.
        freed: The bytes that its victims were seen to give back; None: none is gone yet, or nobody could tell.
        seconds: How long that took, from their stop to the last byte; None: none is gone yet.
    """

    at: float
    decision: Decision
    freed: int | None = None
    seconds: float | None = None


class Decisions:
    """The last `KEPT` decisions, oldest first."""

    def __init__(self, events: Events) -> None:
        self._records: deque[Record] = deque(maxlen=KEPT)
        self._events = events
        self._told: set[Left] = set()  # of this spell of pressure

    def __iter__(self) -> Iterator[Record]:
        return iter(self._records)

    def __len__(self) -> int:
        return len(self._records)

    def add(self, decision: Decision) -> None:
        """Take note of one. What waits is decided about every second, and so is pressure: only what became different is
        a new record, and why nobody goes is told once in a spell of pressure.
        """
        last = next((each for each in reversed(self._records) if each.decision.model == decision.model), None)
        if last is not None and decision.kind in ("wait", "leave") and _same(last.decision, decision):
            last.decision = decision
            return
        self._records.append(Record(round(time.time(), 3), decision))
        if decision.kind == "leave":
            if decision.left in self._told or decision.left == "easing":  # the level's own lines tell of that
                return
            self._told.add(decision.left)
        _log(decision)
        self._events.write(
            "decision",
            decision=decision.kind,
            model=decision.model or None,
            because=decision.because,
            victims=list(decision.victims),
        )

    def calm(self) -> None:
        """Memory is not short any more: the next time it is, everything is told anew."""
        self._told.clear()

    def went(self, decision: Decision, freed: Bytes | None, seconds: float) -> None:
        """A victim of it is gone; so many bytes were seen to come back, so many seconds after it was told to go."""
        for record in self._records:
            if record.decision is decision:
                record.freed = (record.freed or 0) + (freed or 0) if freed is not None else record.freed
                record.seconds = round(max(record.seconds or 0.0, seconds), 3)


def _log(decision: Decision) -> None:
    if decision.kind == "leave":
        level = logging.WARNING if decision.left in ("not ours", "too little", "none may go") else logging.INFO
        log.log(level, "memory: it is short, and nobody goes: %s", decision.because)
        return
    whom = decision.model or "memory pressure"
    said = {"admit": "is let in", "evict": "has others leave", "wait": "waits", "refuse": "is refused"}
    level = logging.WARNING if decision.kind == "refuse" else logging.INFO
    log.log(level, "memory: %s %s: %s", whom, said[decision.kind], decision.because)


def _same(one: Decision, other: Decision) -> bool:
    return (one.kind, one.hold, one.holders, one.left) == (other.kind, other.hold, other.holders, other.left)
