"""One step after the other while the machine is short of memory, or the models have grown beyond what they may have.

It does not know how pressure is told from readings, nor how a model is unloaded.
"""

from __future__ import annotations

from collections.abc import Callable

from attrs import evolve

from ...memory.amounts import CEILING, HOST, Amounts, add_up
from ...memory.cost.cost import by_pool
from ...memory.policy.decision import Decision
from ...memory.policy.inputs import LoadedModel, Machine, Rules, taken
from ...memory.policy.pressure import Relief, relieve
from .ledger import Ledger


class Relieving:
    """What the steps so far have come to, and the next one."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._relief = Relief()

    def over(self, machine: Machine) -> Amounts:
        """By how much the models have grown beyond what they may have of each pool. Those that make way for another
        don't count: it has their room already, and theirs comes back.
        """
        ours = add_up(by_pool(each.cost) for each in self._ledger if not each.leaving)
        bounds = {name: pool.total for name, pool in machine.pools.items() if pool.total is not None}
        return Amounts({name: max(taken(ours, name) - total, 0) for name, total in bounds.items()})

    def step(
        self, machine: Machine, loaded_models: Callable[[], list[LoadedModel]], *, shortfall: Amounts, rules: Rules
    ) -> Decision | None:
        """Who goes now, or why nobody does; None: nobody has to.

        Args:
            loaded_models: Who has memory.
            shortfall: What is missing until the pressure ends, of each pool that is short.
        """
        grown = machine.level == "normal"
        if grown:
            over = self.over(machine)
            if not over:
                if not any(each.leaving for each in self._ledger):  # a step of this spell may not be over yet
                    self._relief = self._relief.ended()
                return None
            # The ceiling is no memory that could come back: whatever the host gets back is below it again.
            shortfall = over - over.within({CEILING}) + Amounts({HOST: over[CEILING]})
            machine = evolve(machine, level="warn")  # prompts that are kept: as slow to come as to go
        return relieve(machine, loaded_models(), self._relief, shortfall=shortfall, grown=grown, rules=rules)

    def stepped(self, now: float, *, expected: int, freed: int | None) -> None:
        """A victim is gone.

        Args:
            expected: What it had, in bytes.
            freed: What was seen to come back; None: nobody could tell, so that it counts as all of it.
        """
        self._relief = self._relief.stepped(now, expected=expected, freed=expected if freed is None else freed)
