"""A read-only view of memory: the machine, how much of it each model has, and which models wait for how much.

`Governor` extends this and makes the decisions.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol

import trio
from attrs import evolve

from ...config.live import LiveConfig
from ...config.schema import Memory, Priority
from ...memory.amounts import Amounts, is_remote
from ...memory.cost.cost import Cost, Source
from ...memory.cost.placement import Room
from ...memory.machine.gauge import Pressure
from ...memory.machine.reading import Reading
from ...memory.policy.decision import Decision
from ...memory.policy.eligibility import stays
from ...memory.policy.eviction_cost import dearest_first
from ...memory.policy.inputs import RULES, LoadedModel, Machine, Pool, Rules
from ...memory.policy.pressure import stays_under_pressure
from ...memory.policy.rivals import Rivals
from ...units import Seconds
from ..model.model import Model
from .ask import Ask
from .costs import CostSource
from .device_pools import rooms
from .device_relief import DeviceRelief
from .grant import Grant, Ledger
from .reclaim import Monitor


class Elsewhere(Protocol):
    """Memory on other machines, that engines may take from."""

    def pools(self) -> Mapping[str, Pool]:
        """What models may take of it."""

    def rooms(self) -> Mapping[str, Room]:
        """What an engine would find free there, by pool; that may be more than models may take."""

    def counted(self, cost: Amounts) -> Amounts:
        """What a model of this cost leaves no room for, if that is more than it takes."""


class MemoryView:
    """The memory as it is now.

    Attributes:
        elsewhere: Memory that isn't this machine's; None: there is none.
        left: Why no model is evicted although memory is short; None if one is, or it isn't.
        devices: How devices with their own memory are.
    """

    def __init__(self, config: LiveConfig, monitor: Monitor, costs: CostSource) -> None:
        self._config = config
        self.left: Decision | None = None
        self.elsewhere: Elsewhere | None = None
        self._monitor = monitor
        self._costs = costs
        self._ledger = Ledger()
        self.devices = DeviceRelief(self._ledger)
        self._asks: dict[Model, Ask] = {}
        self._rivals = Rivals()

    @property
    def settings(self) -> Memory:
        """[memory] of the config in force."""
        return self._config.now.memory

    @property
    def reading(self) -> Reading | None:
        """The last reading of the machine's memory, or None."""
        return self._monitor.reading

    @property
    def pressure(self) -> Pressure:
        """The memory pressure."""
        return self._monitor.pressure

    @property
    def problem(self) -> str:
        """Why memory can't be read at the moment, or ""."""
        return self._monitor.problem

    @property
    def asks(self) -> list[Ask]:
        """The models that wait for memory."""
        return [
            ask
            for ask in self._asks.values()
            if not ask.granted and not ask.refusal and not (ask.grant is not None and ask.grant.leaving)
        ]

    @property
    def rules(self) -> Rules:
        """The policy's constants, with the config's settings."""
        busy = self.settings.evict_busy == "critical"
        return evolve(RULES, min_residency=self.floor, evict_busy=busy)

    @property
    def floor(self) -> Seconds:
        """[memory] min_residency in seconds; 0 for "auto", where only the cost of reloading a model keeps it."""
        return Seconds(0) if self.settings.min_residency == "auto" else self.settings.min_residency

    def machine(self) -> Machine:
        """The machine, as the policy sees it now."""
        machine = self.devices.marked(self._monitor.machine(trio.current_time()))
        if self.elsewhere is None or not (more := self.elsewhere.pools()):
            return machine
        return evolve(machine, pools={**machine.pools, **more})

    def _counted(self, cost: Amounts) -> Amounts:
        return cost if self.elsewhere is None else self.elsewhere.counted(cost)

    def _rooms(self, machine: Machine, loaded_models: Iterable[LoadedModel], priority: Priority) -> dict[str, Room]:
        """The devices as a load would find them (`device_pools.rooms`), wherever they are."""
        found = rooms(machine, loaded_models, priority)
        return found if self.elsewhere is None else {**found, **self.elsewhere.rooms()}

    def loaded_models(self) -> list[LoadedModel]:
        """The models that have memory, the most worth keeping first."""
        now = trio.current_time()
        return dearest_first(self._loaded_models(now), now, self.rules)

    def _loaded_models(self, now: float) -> list[LoadedModel]:
        left = self._left
        loaded = [
            each.loaded(now, self._back_seconds(each, left), self._rivals.of(each.model.spec.name))
            for each in self._ledger
        ]
        if self.elsewhere is None:
            return loaded
        return [evolve(each, cost=self._counted(each.cost), freeable=self._counted(each.freeable)) for each in loaded]

    def _back_seconds(self, grant: Grant, left: int | None) -> float:
        """Seconds until it would be back if it made way now: woken, if that is what would be done with it."""
        seconds, woken = self.load_seconds(grant.model, left), grant.model.wake_seconds
        return min(seconds, woken) if woken is not None and grant.may_sleep else seconds

    @property
    def _left(self) -> int | None:
        """How many bytes of a model's file could stay in the page cache if it were unloaded now: what is available,
        less what waiting loads are going to take; None if that isn't known.
        """
        available = self.machine().host.available
        return None if available is None else max(available - sum(ask.bytes for ask in self.asks), 0)

    def load_seconds(self, model: Model, most: int | None = None) -> float:
        """Seconds that loading it takes: by what of its file is in the page cache, as far as that is known; else what
        its last load took; else what its size and all loads so far suggest.

        Args:
            most: How many bytes of its file can be in the page cache by then; None: as many as now.
        """
        if (expected := self._costs.expected_seconds(model, most)) is not None:
            return expected
        if model.load_seconds is not None:
            return model.load_seconds
        return self._costs.speed.expected(self._size(model))

    async def cached_share(self, model: Model) -> float | None:
        """The share of a model's files that is in the page cache, 0 to 1; None if that can't be told."""
        return await self._costs.cached_share(model)

    def _size(self, model: Model) -> int:
        """The bytes read to load it: its file's size, or what it asks for if it has no file."""
        if model.entry.found:
            return model.entry.found.size
        grant, ask = self._ledger.of(model), self._asks.get(model)
        return grant.reads if grant else ask.bytes if ask else 0

    def dearest_first(self, models: list[Model]) -> list[Model]:
        """Some models, the most worth keeping first; those that wait to be admitted come before all others."""
        place = {loaded.name: number for number, loaded in enumerate(self.loaded_models())}
        return sorted(models, key=lambda model: place.get(model.spec.name, -1))

    def footprint(self, model: Model) -> Cost | None:
        """What a loaded model counts for, and where that figure comes from."""
        grant = self._ledger.of(model)
        return None if grant is None else grant.known

    def used(self, pool: str) -> int:
        """The bytes of a pool that all models together count for."""
        return sum(each.taken[pool] for each in self._ledger)

    def itself(self, loaded: LoadedModel) -> LoadedModel:
        """A loaded model with what it takes itself of memory elsewhere, which may be less than what it counts for there
        because nobody else can have the rest.
        """
        for grant in self._ledger.named((loaded.name,)):
            cost = _with_remote(loaded.cost, grant.taken)
            return evolve(loaded, cost=cost, freeable=_with_remote(loaded.freeable, grant.freeable))
        return loaded

    def source(self, name: str) -> Source | None:
        """Where the figure comes from that a loaded model counts for."""
        return next((each.known.source for each in self._ledger.named((name,))), None)

    def stays(self, loaded: LoadedModel) -> str:
        """Why it would not be unloaded now even if its memory were wanted, or ""."""
        short = self.pressure.level != "normal"
        return (stays_under_pressure if short else stays)(loaded, self.machine(), self.rules)


def _with_remote(counted: Amounts, own: Amounts) -> Amounts:
    return Amounts({pool: own[pool] if is_remote(pool) else counted[pool] for pool in counted})
