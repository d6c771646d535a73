"""A model's past: its loads, its unloads and why, and how long requests waited for it."""

from __future__ import annotations

import time
from collections import Counter, deque
from typing import Literal

from attrs import Factory, define, frozen

from ...memory.policy.decision import Decision
from ...units import Seconds
from .states import Cause

What = Literal["load", "unload", "sleep", "wake", "fail", "wait", "refuse"]


@frozen
class HistoryEntry:
    """One thing that happened to the model.

    Attributes:
        at: Unix seconds.
        reason: One sentence, for people.
        cause: Of an unload or a failure, in one word.
        decision: The decision behind it, if it was about memory.
        freed: Of an unload: the bytes that came back; None if that was not measured.
    """

    at: float
    what: What
    reason: str
    cause: Cause | None = None
    decision: Decision | None = None
    freed: int | None = None


@define(eq=False)
class History:
    """What has happened to one model since llmsup started.

    Attributes:
        loads: How often it became ready.
        unloads: How often it was unloaded, by cause.
        refaults: How often it was wanted again soon after an eviction.
        waited: Seconds that requests waited for it, in total.
        waits: How many requests that was.
        entries: The most recent events, oldest first.
    """

    loads: int = 0
    unloads: Counter[Cause] = Factory(Counter)
    refaults: int = 0
    waited: Seconds = Seconds(0)
    waits: int = 0
    entries: deque[HistoryEntry] = Factory(lambda: deque(maxlen=40))

    def began(self, waited: Seconds) -> None:
        """A request starts being served, after waiting `waited` seconds."""
        if waited:
            self.waited = Seconds(self.waited + waited)
        self.waits += 1

    def note(
        self,
        what: What,
        reason: str,
        *,
        cause: Cause | None = None,
        decision: Decision | None = None,
        freed: int | None = None,
    ) -> None:
        """Record an event, now."""
        self.entries.append(HistoryEntry(round(time.time(), 3), what, reason, cause, decision, freed))
        if what == "load":
            self.loads += 1
        elif what == "unload" and cause is not None:
            self.unloads[cause] += 1
