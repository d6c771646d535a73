"""The recent decisions about memory: logged, written as events, and kept for `/memory` and `llmsup why`."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Iterator

from attrs import define

from ...memory.policy.decision import Decision, Left
from ...process.ring import Events
from ...units import Bytes

log = logging.getLogger(__name__)

KEPT = 50


@define(eq=False)
class DecisionRecord:
    """One decision, and its effect.

    Attributes:
        at: Unix seconds.
        freed: The bytes that its victims have given back; None if none is gone yet, or it could not be measured.
        seconds: How long that took, from the stop to the last byte; None if none is gone yet.
    """

    at: float
    decision: Decision
    freed: int | None = None
    seconds: float | None = None


class Decisions:
    """The last `KEPT` decisions, oldest first."""

    def __init__(self, events: Events) -> None:
        self._records: deque[DecisionRecord] = deque(maxlen=KEPT)
        self._events = events
        self._told: set[Left] = set()  # logged in the present spell of pressure

    def __iter__(self) -> Iterator[DecisionRecord]:
        return iter(self._records)

    def __len__(self) -> int:
        return len(self._records)

    def add(self, decision: Decision) -> None:
        """Record a decision. Waiting loads and pressure are decided again every second, so only a decision that differs
        from the last becomes a new record, and each reason for evicting nothing is logged once per spell of pressure.
        """
        last = next((each for each in reversed(self._records) if each.decision.model == decision.model), None)
        if last is not None and decision.kind in ("wait", "leave") and _same(last.decision, decision):
            last.decision = decision
            return
        self._records.append(DecisionRecord(round(time.time(), 3), decision))
        if decision.kind == "leave":
            if decision.left in self._told or decision.left == "easing":  # the log lines about the level cover that
                return
            self._told.add(decision.left)
        _log(decision)
        self._events.write(
            "decision",
            decision=decision.kind,
            model=decision.model or None,
            reason=decision.reason,
            victims=list(decision.victims),
        )

    def calm(self) -> None:
        """Memory is no longer short: the next time it is, every reason is logged again."""
        self._told.clear()

    def went(self, decision: Decision, freed: Bytes | None, seconds: float) -> None:
        """One of its victims is gone: `freed` bytes came back (None: unknown), `seconds` after its stop began."""
        for record in self._records:
            if record.decision is decision:
                record.freed = (record.freed or 0) + (freed or 0) if freed is not None else record.freed
                record.seconds = round(max(record.seconds or 0.0, seconds), 3)


def _log(decision: Decision) -> None:
    if decision.kind == "leave":
        level = logging.WARNING if decision.left in ("not ours", "too little", "none may go") else logging.INFO
        log.log(level, "memory: short of memory, but unloading nothing: %s", decision.reason)
        return
    model, victims = decision.model, ", ".join(decision.victims)
    what = {
        "admit": f"{model} is admitted",
        "evict": f"unloading {victims} " + (f"to make room for {model}" if model else "under memory pressure"),
        "wait": f"{model} waits",
        "refuse": f"{model} is refused",
    }
    level = logging.WARNING if decision.kind == "refuse" else logging.INFO
    log.log(level, "memory: %s: %s", what[decision.kind], decision.reason)


def _same(one: Decision, other: Decision) -> bool:
    return (one.kind, one.paused, one.holders, one.left) == (other.kind, other.paused, other.holders, other.left)
