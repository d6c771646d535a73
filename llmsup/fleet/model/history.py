"""What became of a model so far: its loads, its unloads and why, and how long requests waited for it.

It does not know why anything was decided; it keeps what it is told.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from typing import Literal

from attrs import Factory, define, frozen

from ...memory.policy.decision import Decision
from ...units import Seconds
from .states import Cause

What = Literal["load", "unload", "fail", "wait", "refuse"]


@frozen
class Entry:
    """One thing that happened to the model.

    Attributes:
        at: Unix seconds.
        reason: One sentence, for people.
        cause: Of an unload or a failure, in one word.
        decision: What was weighed, if it was about memory.
        freed: Of an unload: the bytes that came back, where that was seen.
    """

    at: float
    what: What
    reason: str
    cause: Cause | None = None
    decision: Decision | None = None
    freed: int | None = None


@define(eq=False)
class History:
    """Since llmsup started.

    Attributes:
        loads: How often it became ready.
        unloads: How often it went, by cause.
        refaults: How often it was wanted again soon after an eviction.
        waited: Seconds that requests waited for it, all together.
        waits: How many did.
        entries: What happened last, oldest first.
    """

    loads: int = 0
    unloads: Counter[Cause] = Factory(Counter)
    refaults: int = 0
    waited: Seconds = Seconds(0)
    waits: int = 0
    entries: deque[Entry] = Factory(lambda: deque(maxlen=40))

    def began(self, waited: Seconds) -> None:
        """A request is served, after so many seconds."""
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
        """Take note of something, now."""
        self.entries.append(Entry(round(time.time(), 3), what, reason, cause, decision, freed))
        if what == "load":
            self.loads += 1
        elif what == "unload" and cause is not None:
            self.unloads[cause] += 1
