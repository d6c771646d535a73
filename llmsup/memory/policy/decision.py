"""A decision about memory, and everything that it was based on."""

from __future__ import annotations

import math
from typing import Literal

from attrs import evolve, frozen

from ...units import Seconds, format_bytes, format_seconds
from ..amounts import ZERO, Amounts
from .inputs import Level

Kind = Literal["admit", "evict", "wait", "refuse", "leave"]

Left = Literal["", "calm", "not ours", "settling", "easing", "leaving", "too little", "none may go"]
"""Why nothing is evicted under pressure, in a word that stays the same while the numbers change."""


@frozen
class Weighed:
    """A model as the decision saw it.

    Attributes:
        loss: Expected seconds of reload if it is evicted.
        stays: Why it could not be chosen, or "".
        delay: Seconds by which its memory comes back later because its conversations are saved first.
    """

    name: str
    cost: Amounts
    freeable: Amounts
    rank: int
    loss: float
    stays: str = ""
    delay: float = 0.0

    @property
    def seconds(self) -> float:
        """What its eviction costs altogether: the expected reload, and the wait for its memory, which is certain."""
        return self.loss + self.delay

    def __repr__(self) -> str:
        reason = f", stays: {self.stays}" if self.stays else ""
        return f"<{self.name} {format_bytes(self.cost.total)}, loss {self.loss:.3g} s{reason}>"


@frozen
class Decision:
    """One decision, for the caller to carry out and for `/memory`, the log and `llmsup why` to show.

    Attributes:
        kind: Of a load: "admit" (reserve and start), "evict" (reserve, unload `victims`, start when they are gone),
            "wait" (ask again when something changed) or "refuse" (507: it can never fit). Under pressure: "evict",
            or "leave" (evict nothing).
        reason: One sentence with the numbers.
        model: The model to be loaded; "" under pressure.
        left: With "leave": why, in a word.
        victims: The models to evict, least important first.
        force: Under pressure: the victim is evicted although it is busy (`evict_busy`).
        paused: With "wait": the models whose queues are paused until this load has had its turn; others are resumed.
        again: With "wait": when time alone may change the answer (on the machine's clock); `inf`: it can't.
        holders: With "wait": the models that have the memory, for the 503.
        room: What was free under the ceiling; negative if more is reserved than there is.
        available: What was available of the machine's memory, or None where that was not known.
        missing: What was missing, of each pool.
        weighed: The models that were considered, the least worth keeping first.
    """

    kind: Kind
    reason: str
    model: str = ""
    bytes: int = 0
    left: Left = ""
    victims: tuple[str, ...] = ()
    force: bool = False
    paused: tuple[str, ...] = ()
    again: float = math.inf
    holders: tuple[str, ...] = ()
    ceiling: int = 0
    room: int = 0
    available: int | None = None
    missing: Amounts = ZERO
    level: Level = "normal"
    weighed: tuple[Weighed, ...] = ()

    @property
    def delay(self) -> float:
        """Seconds by which the victims' memory is expected to come back later because their conversations are saved
        first. They do that at the same time; one that is forced doesn't.
        """
        if self.force:
            return 0.0
        return max((each.delay for each in self.weighed if each.name in self.victims), default=0.0)

    def __repr__(self) -> str:
        return f"<Decision {self.kind}{' ' + self.model if self.model else ''}: {self.reason}>"


def with_delay(decision: Decision) -> Decision:
    """Return an eviction with what its reason doesn't say yet: that conversations are saved first, if that takes long
    enough to notice.
    """
    if decision.delay < 0.05:
        return decision
    later = format_seconds(Seconds(round(decision.delay, 1)))
    return evolve(decision, reason=f"{decision.reason}; conversations are saved first, which should take {later}")
