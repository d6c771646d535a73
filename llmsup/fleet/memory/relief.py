"""One step after the other while the machine is short of memory, or the models have grown beyond what they may have.

It does not know how pressure is told from readings, nor how a model is unloaded.
"""

from __future__ import annotations

from collections.abc import Callable

from attrs import evolve

from ...memory.policy.decision import Decision
from ...memory.policy.inputs import LoadedModel, Machine, Rules
from ...memory.policy.pressure import Relief, relieve
from .ledger import Ledger


class Relieving:
    """What the steps so far have come to, and the next one."""

    def __init__(self, reserved: Ledger) -> None:
        self._reserved = reserved
        self._relief = Relief()

    def over(self, machine: Machine) -> int:
        """Bytes by which the models have grown beyond what they may have; 0 or less: they have not. Those that make
        way for another don't count: it has their room already, and theirs comes back.
        """
        return sum(each.cost for each in self._reserved if not each.leaving) - machine.ceiling

    def step(
        self, machine: Machine, loaded_models: Callable[[], list[LoadedModel]], *, shortfall: int, rules: Rules
    ) -> Decision | None:
        """Who goes now, or why nobody does; None: nobody has to.

        Args:
            loaded_models: Who has memory.
            shortfall: Bytes that are missing until the pressure ends.
        """
        grown = machine.level == "normal"
        if grown:
            shortfall = self.over(machine)
            if shortfall <= 0:
                if not any(each.leaving for each in self._reserved):  # a step of this spell may not be over yet
                    self._relief = self._relief.ended()
                return None
            machine = evolve(machine, level="warn")  # prompts that are kept: as slow to come as to go
        return relieve(machine, loaded_models(), self._relief, shortfall=shortfall, grown=grown, rules=rules)

    def stepped(self, now: float, *, expected: int, freed: int | None) -> None:
        """A victim is gone.

        Args:
            expected: What it had, in bytes.
            freed: What was seen to come back; None: nobody could tell, so that it counts as all of it.
        """
        self._relief = self._relief.stepped(now, expected=expected, freed=expected if freed is None else freed)
