"""How a model is asked for: what the policy weighs it by.

It does not know what is decided from that.
"""

from __future__ import annotations

import math

from attrs import Factory, define

from ...memory.policy.eviction_cost import Rate
from ...memory.policy.refaults import Refaults


@define(eq=False)
class Demand:
    """Since llmsup started.

    Attributes:
        rate: How often it is asked for.
        last_asked: When the last request for it came (trio time), or minus infinity.
        refaults: How often lately it was wanted again soon after an eviction.
    """

    rate: Rate = Factory(Rate)
    last_asked: float = -math.inf
    refaults: Refaults = Factory(Refaults)

    def asked(self, now: float, load_seconds: float | None) -> None:
        """A request came. `load_seconds`: what a load takes, as far as that is known."""
        self.last_asked = now
        self.rate = self.rate.asked(now, load_seconds)

    def evicted(self, now: float, load_seconds: float | None) -> None:
        """It goes for want of memory."""
        self.refaults = self.refaults.evicted(now, load_seconds or 0.0)

    def loads(self, now: float, load_seconds: float | None) -> bool:
        """It is to be loaded; returns whether that is one more refault."""
        takes = load_seconds or 0.0
        before, self.refaults = self.refaults.by(now, takes).count, self.refaults.loaded(now, takes)
        return self.refaults.count > before
