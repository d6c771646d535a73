"""A model's request for memory, from the wait for a decision to the moment it may start."""

from __future__ import annotations

from collections.abc import Mapping

import trio
from attrs import define, field

from ...config.schema import RpcSpec
from ...memory.amounts import worker_pool
from ...memory.cost.cost import Cost
from ...memory.policy.decision import Decision
from ...units import Bytes
from ..model.model import Model
from .grant import Grant


@define(eq=False)
class Ask:
    """A model that asks to be admitted.

    Attributes:
        cost: What loading it will cost.
        since: When it asked (trio time).
        asked: An operator asks for it, so that others make way for it even if it was to be preloaded without that.
        reason: Why it is still waiting.
        paused: The models whose queues the last decision paused for it.
        going: The grants evicted for it; it starts when their memory has been returned.
        granted: Its memory is reserved.
        decided: Set when it may start, or never may.
        refusal: Why it never may.
        remedy: What would make enough room then.
        ahead: How many bytes of its files were read ahead while it waited.
        grant: What it has while it sleeps, if it is to be woken; None: it is to be loaded.
    """

    model: Model
    cost: Cost
    since: float
    asked: bool = False
    grant: Grant | None = None
    reason: str = ""
    paused: frozenset[str] = frozenset()
    going: tuple[Grant, ...] = ()
    granted: bool = False
    decided: trio.Event = field(factory=trio.Event, init=False)
    refusal: str = field(default="", init=False)
    remedy: str = field(default="", init=False)
    ahead: int = field(default=0, init=False)

    @property
    def first(self) -> float:
        """When the oldest request waiting for it came, or when its load was asked for (trio time)."""
        return min(self.since, self.model.queue.since or self.since)

    @property
    def name(self) -> str:
        """The model's name."""
        return self.model.spec.name

    @property
    def bytes(self) -> Bytes:
        """How many bytes it asks for."""
        return self.cost.bytes

    @property
    def wanted(self) -> bool:
        """Whether the model is still wanted."""
        return self.model.wanted


def more_room(refused: Decision, workers: Mapping[str, RpcSpec]) -> str:
    """What would make enough room for a model that was refused, a clause: of the memory that its reason names."""
    for name, worker in workers.items():
        if f" {worker_pool(name)} has only " in refused.reason:
            more = f"raise [rpc.{name}] memory" if worker.memory is not None else "free some on that machine"
            return f"{more}, or give it another worker besides (rpc)"
    return "raise [memory] limit"
