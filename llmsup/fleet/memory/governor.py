"""Admits models and evicts others: carries out the policy's decisions, and records them.

The readings come from `memory.machine.monitor`, the costs from a `CostSource`; the decisions are made in
`memory.policy`.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, MutableMapping, Sequence
from contextlib import asynccontextmanager
from weakref import WeakKeyDictionary

import trio
from attrs import evolve

from ...config.live import LiveConfig
from ...errors import ModelTooLarge
from ...memory.amounts import HOST, ZERO, Amounts
from ...memory.cost.cost import Cost, scaled
from ...memory.machine.reading import is_device
from ...memory.policy.admission import admit_all, apart, missing, room, tightest, wanted
from ...memory.policy.decision import Decision
from ...memory.policy.inputs import LoadedModel, Machine, Need
from ...memory.policy.rivals import Rivals
from ...process.ring import Events
from ...units import Bytes, format_bytes
from ..model.model import Model
from ..model.states import Cause
from .ask import Ask, more_room
from .costs import CostSource
from .decisions import Decisions
from .device_pools import at_most
from .grant import Grant
from .read_ahead import ReadAhead
from .reclaim import Monitor, until_returned
from .relief import Relieving
from .sleepers import Sleepers, wake_ask
from .view import MemoryView
from .warmth import Warmth

AGAIN = 1.0
"""Seconds after which waiting loads are decided about again even if nothing has changed; sooner where a decision says
that time alone will change it.
"""

LEAST_APART = 0.02
"""Seconds between two rounds of decisions, at least: requests come and go faster than matters here."""


class Governor(MemoryView):
    """The `Admission` of a machine with limited memory.

    All decisions are made, and entered into the ledger, in one synchronous step over the current state: no lock is
    needed, and no model can get a request between the decision to evict it and its eviction.

    Attributes:
        records: The last decisions, and their effects.
    """

    def __init__(
        self, config: LiveConfig, monitor: Monitor, costs: CostSource, events: Events, warmth: Warmth | None = None
    ) -> None:
        super().__init__(config, monitor, costs)
        self.records = Decisions(events)
        self._relieving = Relieving(self._ledger)
        self._sleepers = Sleepers(self._ledger, self.machine)
        self._woken = trio.Event()
        self._ahead = ReadAhead(self._spare_for, monitor.change, warmth or Warmth())
        self._known: MutableMapping[Model, Cost] = WeakKeyDictionary()  # what was asked for last
        self._again = math.inf  # when time alone may change a decision (trio time)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Decide again whenever something changes, until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._follow_the_machine)
            nursery.start_soon(self._follow_the_config)
            task_status.started()
            await self._keep_deciding()

    async def _follow_the_machine(self) -> None:
        while True:
            await self._monitor.change()
            self.devices.look(self._monitor.machine(trio.current_time()))
            if self._restless:
                self.wake()

    async def _follow_the_config(self) -> None:
        while True:
            await self._config.change()
            self.wake()

    async def _keep_deciding(self) -> None:
        while True:
            if self._restless:
                with trio.move_on_at(min(trio.current_time() + AGAIN, self._again)):
                    await self._woken.wait()
            else:
                await self._woken.wait()
            self._woken = trio.Event()
            self._decide()
            self._relieve()
            self._hurry()
            self._follow_the_models()
            await trio.sleep(LEAST_APART)

    def _hurry(self) -> None:
        """Memory that is critically short isn't waited for: those that are leaving already prepare nothing more."""
        if self.pressure.level == "critical":
            for each in self._ledger:
                if each.leaving and not each.run.urgent:
                    each.run.urgent = True
                    each.model.notify()

    def _follow_the_models(self) -> None:
        """Have the models' changes wake the governor, but only while a load waits or memory is short: then any request
        may change a decision. Otherwise requests don't come through here, because there are many of them.
        """
        if self.asks or self.pressure.level != "normal":
            for each in (*self._ledger, *self.asks):
                each.model.wakes(self._woken)

    @property
    def _restless(self) -> bool:
        """Whether something may have to be done even if nothing changes."""
        if self.asks or self.pressure.level != "normal" or any(self.devices.short):
            return True
        return bool(self._relieving.over(self.machine()))

    # Admission...

    @asynccontextmanager
    async def admit(self, model: Model) -> AsyncIterator[Grant]:
        """Wait for room, then hold it until the model's engine is gone and its memory has been returned.

        Raises:
            ModelTooLarge: It needs more than all models together may use.
        """
        assert model.run is not None
        model.history.refaults += model.demand.loads(trio.current_time(), model.load_seconds)
        cost = self._known[model] = await self._costs.cost(model)
        model.load_seconds = self._costs.load_seconds(model)
        try:
            await self._wait_for_room(Ask(model, cost, model.run.began))
            grant = self._ledger.of(model)
            assert grant is not None
            model.run.plan = await self._costs.plan(model, spare=self._spare(but=grant))
            yield grant
        finally:
            if grant := self._ledger.of(model):
                with trio.CancelScope(shield=True):  # bounded: the file is small, and `until_returned` has its limit
                    await self._until_gone(grant)
                self._ledger.remove(grant)
                self._start_those_whose_room_is_free()
            self.wake()

    async def readmit(self, model: Model) -> bool:
        """Wait for room to wake a model that sleeps, and hold it as before; False: it isn't wanted any more.

        Raises:
            ModelTooLarge: It needs more than all models together may use by now.
        """
        grant = self._ledger.of(model)
        assert grant is not None
        now = trio.current_time()
        model.history.refaults += model.demand.loads(now, model.wake_seconds)
        if grant.awake_size.total > (ceiling := self.machine().ceiling):
            size = format_bytes(grant.awake_size.total)
            raise ModelTooLarge(f"{model.spec.name} needs {size}, and models may use {format_bytes(ceiling)}.")
        ask = wake_ask(grant, now)
        await self._wait_for_room(ask)
        return ask.granted

    async def _wait_for_room(self, ask: Ask) -> None:
        self._asks[ask.model] = ask
        try:
            self._decide()
            self.wake()  # a waiting load is decided about again even if nothing else changes
            if not ask.decided.is_set():
                await self._wait(ask)
            if ask.refusal:
                raise ModelTooLarge(ask.refusal, hint=f"Give it a smaller ctx_size, or {ask.remedy}.")
        finally:
            self._asks.pop(ask.model, None)
            ask.model.queue.shortage = ""

    async def _wait(self, ask: Ask) -> None:
        if ask.grant is not None:  # its weights are in memory, or the engine reads them when it wakes
            await ask.decided.wait()
            return
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._ahead.go, ask)
            await ask.decided.wait()
            nursery.cancel_scope.cancel()

    def _spare_for(self, ask: Ask) -> int:
        """How much of its file may be read ahead: nothing while another load needs the disk."""
        own = self._ledger.of(ask.model)
        return 0 if any(each.loading for each in self._ledger if each is not own) else self._spare(but=own)

    def _spare(self, but: Grant | None = None) -> int:
        """How many bytes of memory nobody wants: what is available, less half of the reserve and what loads in progress
        are still going to take; 0 under pressure, or if that can't be told. `but`: whose load doesn't count.
        """
        machine = self.machine()
        if machine.level != "normal" or machine.host.available is None:
            return 0
        loading = (each for each in self._ledger if each.loading and each is not but)
        pending = sum(max(each.cost - each.gives_back, 0) for each in loading)
        return max(machine.host.available - machine.host.reserve // 2 - pending, 0)

    async def costs(self, models: Sequence[Model]) -> dict[Model, Cost]:
        """What loading each of some models would cost."""
        costs = await self._costs.costs(models)
        self._known.update(costs)
        return costs

    async def _until_gone(self, grant: Grant) -> None:
        run = grant.run
        if not run.asleep:
            self._costs.keep(grant.model, run)
        others = any(each.loading for each in self._ledger if each is not grant)
        had, before = grant.freeable, grant.before
        run.freed = await until_returned(self._monitor, expected=had, before=before, hurry=others, unseen=grant.unseen)
        if run.decision is None:
            return
        self.records.went(run.decision, run.freed, trio.current_time() - grant.stopping_at)
        if not run.decision.model and any(map(is_device, run.decision.missing)):
            self.devices.stepped(run.decision, self.machine(), expected=had, before=before)
        elif not run.decision.model:
            self._relieving.stepped(trio.current_time(), expected=had[HOST], freed=run.freed)

    def wake(self) -> None:
        """Have everything decided again soon."""
        self._woken.set()

    # Decisions...

    def _decide(self) -> None:
        self._withdraw()
        self._start_those_whose_room_is_free()
        self._rivals, decisions = self._decisions(self.asks)
        for decision in decisions:
            self._carry_out(decision)
        self._ledger.pause({name for decision in decisions for name in decision.paused})
        self._again = min((decision.again for decision in decisions), default=math.inf)

    def _decisions(self, asks: Sequence[Ask]) -> tuple[Rivals, tuple[Decision, ...]]:
        """What is decided about these loads, and which models are rivals by now. Nothing is changed."""
        machine = self.machine()
        loaded_models = [*self._loaded_models(machine.now), *self._sleepers.going()]
        needs = [self._need(ask, machine, loaded_models) for ask in asks]
        rivals = self._rivals.seen(needs, loaded_models, machine.now)
        loaded_models = [evolve(each, rivals=rivals.of(each.name)) for each in loaded_models]
        return rivals, admit_all(needs, machine, loaded_models, rules=self.rules)

    async def rehearse(self, model: Model) -> Decision:
        """What would be decided if this model, which has no memory, were asked for now. Nothing is changed."""
        (cost,) = (await self.costs([model])).values()
        return self._rehearsed(model, cost)

    def verdict(self, model: Model) -> Decision | None:
        """As `rehearse`, from what is known of its cost already; None if nothing is. Of a model that has memory, too:
        as if it had none.
        """
        cost = self._known.get(model)
        return None if cost is None else self._rehearsed(model, cost)

    def _rehearsed(self, model: Model, cost: Cost) -> Decision:
        others, now = [ask for ask in self.asks if ask.model is not model], trio.current_time()
        grant = self._ledger.of(model)
        asleep = grant is not None and grant.sleeping
        ask = wake_ask(grant, now, asked=True) if grant and asleep else Ask(model, cost, now, asked=True)
        _, decisions = self._decisions([*others, ask])
        return next(each for each in decisions if each.model == model.spec.name)

    def _need(self, ask: Ask, machine: Machine, loaded_models: list[LoadedModel]) -> Need:
        cost = ask.cost = ask.cost.placed(self._rooms(machine, loaded_models, ask.model.spec.priority))
        most: int = cost.bytes
        if ask.model.oom_retry and any(not each.pinned for each in loaded_models):
            # It ran out of memory with what was granted: ask for more, so that at least one more model has to go.
            free = room(machine, *apart(loaded_models, frozenset()))
            most = max(round(most * 1.25), 1 + tightest(wanted(scaled(cost, most), machine), free))
        # The extra must not keep out a model that fits under the ceiling without it.
        size = min(most, machine.ceiling) if cost.fits(machine.ceiling) else most
        return Need(
            model=ask.name,
            cost=self._counted(at_most(scaled(cost, size), machine) if size > cost.bytes else scaled(cost, size)),
            bytes=size,
            priority=ask.model.spec.priority,
            since=ask.first,
            load_seconds=(ask.grant and ask.model.wake_seconds) or self.load_seconds(ask.model),
            evicts=ask.asked or bool(ask.model.queue.waiting) or not ask.model.intent.no_eviction,
            paused=ask.paused,
        )

    def _carry_out(self, decision: Decision) -> None:
        ask = next((ask for ask in self.asks if ask.name == decision.model), None)
        if ask is None:  # it was to be woken, and an earlier decision of this round unloads it
            return
        ask.reason, ask.paused = decision.reason, frozenset(decision.paused)
        self.records.add(decision)
        match decision.kind:
            case "admit" | "evict":
                self._reserve(ask, decision)
            case "refuse":
                ask.refusal = f"{decision.model} can't be loaded: {decision.reason}."
                ask.remedy = more_room(decision, self._config.now.rpc)
                ask.decided.set()
            case _:
                held_by = ", ".join(decision.holders[:5])
                ask.model.queue.shortage = decision.reason + (f" (in memory: {held_by})" if held_by else "")

    def _reserve(self, ask: Ask, decision: Decision) -> None:
        run = ask.model.run
        assert run is not None
        ask.granted = True
        ask.model.queue.shortage = ""
        also = self._counted_on(ask, decision)
        if ask.grant is not None:
            ask.grant.rise(ask.first)
            ask.going = (*self._evict(decision), *also)
            self._start_those_whose_room_is_free()
            return
        kills = self._monitor.oom_kills()
        grant = Grant(
            ask.model,
            run,
            self._monitor,
            self._costs,
            self.wake,
            decision.bytes,
            source=ask.cost.source,
            grows=ask.cost.grows,
            devices=ask.cost.devices,
            oom_kills=kills,
            wanted_since=ask.first,
            choose=self._sleepers.level,
            slept=self._asleep,
        )
        self._ledger.add(grant)
        ask.going = (*self._evict(decision), *also)
        self._start_those_whose_room_is_free()

    def _counted_on(self, ask: Ask, decision: Decision) -> tuple[Grant, ...]:
        """Those that are leaving already without whose memory the victims' isn't enough: they have to be gone, too."""
        if decision.kind != "evict":
            return ()
        machine = self.machine()
        there = self._loaded_models(machine.now)
        remain, gone = apart([evolve(each, leaving=False) for each in there], frozenset(decision.victims))
        cost = self._counted(scaled(ask.cost, decision.bytes))
        if ZERO.covers(missing(wanted(cost, machine), room(machine, remain, gone))):
            return ()
        return tuple(each for each in self._ledger if each.leaving and each is not ask.grant)

    def _start_those_whose_room_is_free(self) -> None:
        for ask in self._asks.values():
            if ask.granted and not any(each in self._ledger and each.held is None for each in ask.going):
                ask.decided.set()

    def _withdraw(self) -> None:
        for ask in self.asks:
            if not ask.wanted and ask.grant is not None:  # it goes on sleeping
                ask.decided.set()
                del self._asks[ask.model]
            elif not ask.wanted and ask.model.run is not None:
                ask.model.run.end(ask.model.unloaded("no request waits for it any more", Cause.IDLE))
                del self._asks[ask.model]

    def _relieve(self) -> None:
        machine = self.machine()

        def there() -> list[LoadedModel]:
            return [*self._loaded_models(machine.now), *self._sleepers.going()]

        decision = self._relieving.step(
            machine,
            there,
            shortfall=Amounts({HOST: self.pressure.shortfall}),
            rules=self.rules,
        )
        if decision is None or decision.kind == "leave":  # one step at a time, wherever it is
            on_device = self.devices.step(machine, there, rules=self.rules)
            if on_device is not None and (decision is None or on_device.kind == "evict"):
                decision = on_device
        self.left = decision if decision is not None and decision.kind == "leave" else None
        if decision is None:
            self.records.calm()
        else:
            self.records.add(decision)
            self._evict(decision)

    def _evict(self, decision: Decision) -> tuple[Grant, ...]:
        victims = self._ledger.named(decision.victims)
        self._sleepers.choose(victims, decision)
        for victim in victims:
            victim.evict(decision, force=decision.force)
        return victims

    def _asleep(self, grant: Grant, counted: Amounts) -> None:
        """A model has fallen asleep: those that waited for its memory may start."""
        run, freed = grant.run, Bytes(max(counted.total - grant.cost, 0))
        if run.decision is not None:
            self.records.went(run.decision, freed, trio.current_time() - run.turned_at)
            if not run.decision.model:
                self._relieving.stepped(trio.current_time(), expected=freed, freed=freed)
        self._start_those_whose_room_is_free()
        self.wake()
