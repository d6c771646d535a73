"""Relieves memory step by step while the machine is short of it, or the models have outgrown what they may use."""

from __future__ import annotations

from collections.abc import Callable

from attrs import evolve

from ...memory.amounts import CEILING, HOST, HOST_CEILING, Amounts, add_up
from ...memory.policy.decision import Decision
from ...memory.policy.inputs import LoadedModel, Machine, Rules, taken
from ...memory.policy.pressure import Relief, relieve
from .grant import Ledger


class Relieving:
    """The steps so far, and the next one."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._relief = Relief()

    def over(self, machine: Machine) -> Amounts:
        """By how much the models exceed what they may use of each pool. Models that are leaving don't count: their room
        is granted to another already, and their memory is coming back.
        """
        ours = add_up(each.taken for each in self._ledger if not each.leaving)
        bounds = {name: pool.total for name, pool in machine.pools.items() if pool.total is not None}
        return Amounts({name: max(taken(ours, name) - total, 0) for name, total in bounds.items()})

    def step(
        self, machine: Machine, loaded_models: Callable[[], list[LoadedModel]], *, shortfall: Amounts, rules: Rules
    ) -> Decision | None:
        """Which model to evict now, or why none is; None if none has to be.

        Args:
            loaded_models: Gives the models that have memory.
            shortfall: What is missing until the pressure ends, of each pool that is short.
        """
        grown = machine.level == "normal"
        if grown:
            over = self.over(machine)
            if not over:
                if not any(each.leaving for each in self._ledger):  # the last step of this spell may not be over yet
                    self._relief = self._relief.ended()
                return None
            # Nothing can come back to a ceiling itself: count what the host gets back instead.
            bounds = over.within({CEILING, HOST_CEILING})
            shortfall = over - bounds + Amounts({HOST: max(over[CEILING], over[HOST_CEILING])})
            machine = evolve(machine, level="warn")  # this is cached prompts, which grow slowly: no hurry
        return relieve(machine, loaded_models(), self._relief, shortfall=shortfall, grown=grown, rules=rules)

    def stepped(self, now: float, *, expected: int, freed: int | None) -> None:
        """A victim is gone.

        Args:
            expected: What it had, in bytes.
            freed: What came back, in bytes; None if that is unknown, which counts as all of it.
        """
        self._relief = self._relief.stepped(now, expected=expected, freed=expected if freed is None else freed)
