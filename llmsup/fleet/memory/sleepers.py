"""Which models sleep instead of being unloaded, what they are going to hold, and what waking one takes.

The rules are in `memory.policy.sleep`; who has to make way is decided by the governor.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType

from ...memory.amounts import HOST, ZERO
from ...memory.cost.cost import Cost
from ...memory.policy.decision import Decision
from ...memory.policy.inputs import LoadedModel, Machine, taken
from ...memory.policy.sleep import holds, sleep_level, spare_of
from ...units import Bytes
from .ask import Ask
from .grant import Grant, Ledger


class Sleepers:
    """The models that sleep, or are about to."""

    def __init__(self, ledger: Ledger, machine: Callable[[], Machine]) -> None:
        self._ledger = ledger
        self._machine = machine

    def level(self, grant: Grant, spare: Mapping[str, int] = MappingProxyType({})) -> int:
        """At which level a model is to sleep; 0: not at all.

        Args:
            spare: What it may keep of pools that others want.
        """
        grant.planned = None
        if not grant.may_sleep:
            return 0
        machine, counts, weights = self._machine(), grant.taken, grant.weights
        free = machine.host.available
        if free is not None:
            free -= sum(max(each.taken[HOST] - each.freeable[HOST], 0) for each in self._ledger if each.loading)
            free -= sum(each.planned[HOST] for each in self._ledger if each.planned is not None)
        room = machine.ceiling - sum(each.cost for each in self._ledger)
        level = sleep_level(
            grant.model.spec.sleep, counts, grant.freeable, weights, machine, free=free, room=room, spare=spare
        )
        grant.planned = holds(counts, weights, level) if level else None
        return level

    def choose(self, victims: Iterable[Grant], decision: Decision) -> None:
        """Choose the level for each of these, which are about to be evicted."""
        machine = self._machine()
        spare = spare_of(decision, machine)
        for victim in victims:
            gone = victim.sleeping or decision.force or machine.level == "critical"
            victim.level = 0 if gone else self.level(victim, spare)
            if victim.planned is not None:
                spare = {pool: size - taken(victim.planned, pool) for pool, size in spare.items()}

    def going(self) -> list[LoadedModel]:
        """What models that leave, but only to sleep, are going to hold: as loads in progress, which nobody evicts."""
        going = [each for each in self._ledger if each.planned is not None and each.leaving]
        return [LoadedModel(each.model.spec.name, each.planned or ZERO, ZERO, loading=True) for each in going]


def wake_ask(grant: Grant, since: float, *, asked: bool = False) -> Ask:
    """The request for what waking a model takes on top of what it holds. Arguments as for `Ask`."""
    rises = grant.rises
    cost = Cost(Bytes(rises.total), "measured", Bytes(0), devices=rises - rises.within({HOST}))
    return Ask(grant.model, cost, since, asked=asked, grant=grant)
