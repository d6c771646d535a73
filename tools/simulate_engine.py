"""A model in the simulated world: while it is loaded, and its history."""

from __future__ import annotations

from typing import Literal

from attrs import Factory, define

from llmsup.memory.cost.load_mode import Loads
from llmsup.memory.policy.eviction_cost import Rate
from llmsup.memory.policy.refaults import Refaults
from tools.simulate_machine import Model
from tools.simulate_talks import Held


@define(eq=False)
class Engine:
    """A loaded or loading model.

    Attributes:
        reserved: Bytes that it counts for at least.
        wanted_since: When the first request that waited for it arrived.
        after: The models that must be gone before it starts.
        held: What it has of each client's conversation, the most recently used last.
    """

    model: Model
    reserved: int
    wanted_since: float = 0.0
    state: Literal["waiting", "loading", "ready", "leaving", "dead"] = "waiting"
    after: set[str] = Factory(set)
    in_flight: int = 0
    served: int = 0
    first_served: float | None = None
    last_used: float = 0.0
    ready_since: float = 0.0
    held: dict[str, Held] = Factory(dict)

    @property
    def taken(self) -> int:
        """Bytes that it actually takes."""
        return 0 if self.state == "waiting" else self.model.taken(self.served)


@define(eq=False)
class Past:
    """The history of a model, loaded or not."""

    cost: int
    rate: Rate = Factory(Rate)
    refaults: Refaults = Factory(Refaults)
    last_asked: float = float("-inf")
    measured: bool = False
    speeds: Loads = Factory(Loads)
    reload_seconds: float | None = None
    loads: int = 0
    evicted_for_it: int = 0
    rests_until: float = 0.0
