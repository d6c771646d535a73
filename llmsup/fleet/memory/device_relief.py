"""Relieves devices with their own memory, each by itself, while others press for what models have there."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator

from attrs import evolve

from ...memory.amounts import Amounts
from ...memory.machine.device_gauge import DeviceGauge
from ...memory.machine.reading import is_device
from ...memory.policy.decision import Decision
from ...memory.policy.inputs import LoadedModel, Machine, Rules
from ...memory.policy.pressure import Relief, relieve
from .grant import Ledger

log = logging.getLogger(__name__)


class DeviceRelief:
    """How each device is, and what was done about it.

    Attributes:
        gauges: By the devices' pools.
    """

    def __init__(self, ledger: Ledger) -> None:
        self.gauges: dict[str, DeviceGauge] = {}
        self._ledger = ledger
        self._reliefs: dict[str, Relief] = {}

    def look(self, machine: Machine) -> None:
        """Take another reading of the machine into account."""
        moving = any(each.loading or each.leaving or not each.run.settled for each in self._ledger)
        gauges = {}
        for name, pool in machine.pools.items():
            if not is_device(name) or pool.total is None or pool.available is None:
                continue
            before = self.gauges.get(name, DeviceGauge())
            ours = sum(each.taken[name] for each in self._ledger)
            gauges[name] = gauge = before.look(
                total=pool.total, free=pool.available, ours=ours, now=machine.now, moving=moving
            )
            if gauge.short != before.short:
                level = logging.WARNING if gauge.short else logging.INFO
                log.log(level, "memory of %s: %s", name, gauge.reason if gauge.short else "enough is free again")
        self.gauges = gauges

    @property
    def short(self) -> Iterator[str]:
        """The pools that are short."""
        return (name for name, gauge in self.gauges.items() if gauge.short)

    def marked(self, machine: Machine) -> Machine:
        """The machine with its pools marked that are short."""
        pools = {name: evolve(machine.pools[name], short=True) for name in self.short if name in machine.pools}
        return evolve(machine, pools={**machine.pools, **pools}) if pools else machine

    def step(
        self, machine: Machine, loaded_models: Callable[[], list[LoadedModel]], *, rules: Rules
    ) -> Decision | None:
        """Which model to evict now, or why none is, of the first device that is short; None if none is."""
        left = None
        for name, gauge in self.gauges.items():
            if not gauge.short:
                self._reliefs[name] = self._relief(name).ended()
                continue
            seen = evolve(machine, level="warn", since=gauge.since)
            shortfall = Amounts({name: gauge.shortfall})
            decision = relieve(seen, loaded_models(), self._relief(name), shortfall=shortfall, rules=rules)
            if decision.kind == "evict":
                return decision
            left = left or decision
        return left

    def stepped(self, decision: Decision, machine: Machine, *, expected: Amounts, before: Amounts | None) -> None:
        """A victim of such a decision is gone.

        Args:
            expected: What it had of each pool.
            before: What was available there before it began to stop; None: unknown, so all of it counts as come back.
        """
        now = machine.now
        for name in filter(is_device, decision.missing):
            there = machine.pools[name].available if name in machine.pools else None
            back = expected[name] if before is None or there is None else max(there - before[name], 0)
            self._reliefs[name] = self._relief(name).stepped(now, expected=expected[name], freed=back)

    def _relief(self, name: str) -> Relief:
        return self._reliefs.get(name, Relief())
