"""How often and how recently a model is asked for; the policy weighs models by this."""

from __future__ import annotations

import math

from attrs import Factory, define

from ...memory.policy.eviction_cost import Rate
from ...memory.policy.refaults import Refaults


@define(eq=False)
class Demand:
    """The requests for one model since llmsup started.

    Attributes:
        rate: How often it is asked for.
        last_asked: When the last request for it came (trio time); minus infinity if none has.
        refaults: How often, recently, it was wanted again soon after an eviction.
    """

    rate: Rate = Factory(Rate)
    last_asked: float = -math.inf
    refaults: Refaults = Factory(Refaults)

    def asked(self, now: float, load_seconds: float | None) -> None:
        """A request came. `load_seconds`: how long a load takes, or None if that isn't known yet."""
        self.last_asked = now
        self.rate = self.rate.asked(now, load_seconds)

    def evicted(self, now: float, load_seconds: float | None) -> None:
        """It is evicted: its memory is needed elsewhere."""
        self.refaults = self.refaults.evicted(now, load_seconds or 0.0)

    def loads(self, now: float, load_seconds: float | None) -> bool:
        """It is about to be loaded; returns whether that is another refault."""
        takes = load_seconds or 0.0
        before, self.refaults = self.refaults.by(now, takes).count, self.refaults.loaded(now, takes)
        return self.refaults.count > before
