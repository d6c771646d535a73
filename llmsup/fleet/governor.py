"""Lets models in and has others leave: the policy's decisions, carried out, recorded and told.

It does not know how memory is read (`memory.watch`), what a model costs (`Prices`), nor how one is unloaded (`model`).
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio
from attrs import evolve

from ..config.schema import Memory
from ..errors import ModelTooLarge
from ..memory.costs import Cost, Source
from ..memory.decision import Decision
from ..memory.policy import admit_all
from ..memory.pressure import Pressure
from ..memory.readings.reading import Reading
from ..memory.relief import Relief, relieve
from ..memory.room import apart, room
from ..memory.snapshot import RULES, Machine, Need, Resident, Rules
from ..memory.standing import stays
from ..memory.worth import most_worth_first
from ..process.events import Events
from ..process.watched import Watched
from ..units import Bytes, Seconds, format_bytes
from .decisions import Decisions
from .model import Model
from .prices import Prices
from .reservation import Ask, Reservation
from .returning import Watch, until_returned

log = logging.getLogger(__name__)

AGAIN = 1.0
"""Seconds after which what waits is decided about again though nothing was heard of: time itself changes the answer."""

LEAST_APART = 0.02
"""Seconds between two looks at what waits: requests come and go faster than that matters."""


class Governor(Watched):
    """The `Admission` of a machine whose memory ends somewhere.

    All decisions are made in one synchronous step over the state as it is, and counted in that same step: no lock is
    needed, and nobody is evicted who got a request in between.

    Attributes:
        settings: [memory] of the config in force.
        records: The last decisions, and what became of them.
    """

    def __init__(self, settings: Memory, watch: Watch, prices: Prices, events: Events) -> None:
        super().__init__()
        self.settings = settings
        self.records = Decisions(events)
        self._watch = watch
        self._prices = prices
        self._asks: dict[Model, Ask] = {}
        self._reserved: dict[Model, Reservation] = {}
        self._relief = Relief()
        self._woken = trio.Event()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Decide again whenever something changed, until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._follow_the_machine)
            task_status.started()
            await self._keep_deciding()

    async def _follow_the_machine(self) -> None:
        while True:
            await self._watch.change()
            if self._restless:
                self.wake()

    async def _keep_deciding(self) -> None:
        while True:
            if self._restless:
                with trio.move_on_after(AGAIN):
                    await self._woken.wait()
            else:
                await self._woken.wait()
            self._woken = trio.Event()
            self._decide()
            self._relieve()
            self.notify()
            await trio.sleep(LEAST_APART)

    @property
    def _restless(self) -> bool:
        """Something may have to be done though nothing changes."""
        return bool(self._waiting or self.pressure.level != "normal" or self._over > 0)

    # What a model asks...

    @asynccontextmanager
    async def admit(self, model: Model) -> AsyncIterator[None]:
        """Wait for room, then hold it until the model's engine is gone and its memory is back.

        Raises:
            ModelTooLarge: It needs more than all models together may have.
        """
        assert model.life is not None
        self._note_refault(model)
        cost = await self._prices.cost(model)
        ask = self._asks[model] = Ask(model, cost, model.life.began)
        try:
            self._decide()
            self.wake()  # what waits now is decided about again though nothing else changes
            await ask.decided.wait()
            if ask.refusal:
                raise ModelTooLarge(ask.refusal, hint="Give it a smaller ctx_size, or raise [memory] limit.")
            yield
        finally:
            self._asks.pop(model, None)
            model.desk.shortage = ""
            if reservation := self._reserved.get(model):
                with trio.CancelScope(shield=True):  # bounded: the file is small, and `until_returned` has its limit
                    await self._until_gone(reservation)
                del self._reserved[model]
                self._start_those_whose_room_is_free()
            self.wake()

    @staticmethod
    def _note_refault(model: Model) -> None:
        now = trio.current_time()
        back = model.residency.loaded(now)
        model.history.refaults += back.refaults > model.residency.quieter(now).refaults
        model.residency = back

    async def _until_gone(self, reservation: Reservation) -> None:
        life = reservation.life
        self._prices.keep(reservation.model, life)
        others = any(each.loading for each in self._reserved.values() if each is not reservation)
        had, before = life.footprint or Bytes(0), reservation.before
        life.freed = await until_returned(self._watch, expected=had, before=before, hurry=others)
        if life.decision is None:
            return
        self.records.went(life.decision, life.freed, trio.current_time() - reservation.stopping)
        if not life.decision.model:
            freed = had if life.freed is None else life.freed
            self._relief = self._relief.stepped(trio.current_time(), expected=had, freed=freed)

    def changed(self, model: Model) -> None:
        """Something about the model is different."""
        if (reservation := self._reserved.get(model)) is not None:
            reservation.note_end(self._watch.reading)
            if reservation.cost != reservation.counted:
                reservation.counted = reservation.cost
                self._note_growth(reservation)
                self.wake()
        if self._asks or self.pressure.level != "normal":  # each request comes by here several times: nothing slow
            self.wake()

    def wake(self) -> None:
        """Have everything looked at again."""
        self._woken.set()

    def use(self, settings: Memory) -> None:
        """Follow these settings from now on."""
        self.settings = settings
        self.wake()

    async def out_of_memory(self, model: Model) -> bool:
        """Whether the system has killed a process for want of memory since the model was let in."""
        reservation, reading = self._reserved.get(model), await self._watch.fresh()
        if reservation is None or reservation.oom_kills is None or reading is None or reading.oom_kills is None:
            return False
        return reading.oom_kills > reservation.oom_kills

    # What others may know...

    @property
    def reading(self) -> Reading | None:
        """The last look at the machine, or None."""
        return self._watch.reading

    @property
    def pressure(self) -> Pressure:
        """How hard the machine is pressed."""
        return self._watch.pressure

    @property
    def problem(self) -> str:
        """Why the machine can't be read just now, or ""."""
        return self._watch.problem

    @property
    def asks(self) -> list[Ask]:
        """Those that wait for memory."""
        return self._waiting

    @property
    def rules(self) -> Rules:
        """The policy's constants, with what the config says."""
        busy = self.settings.evict_busy == "critical"
        return evolve(RULES, min_residency=self.settings.min_residency, evict_busy=busy)

    def machine(self) -> Machine:
        """The machine now."""
        return self._watch.machine(trio.current_time())

    def residents(self) -> list[Resident]:
        """Who has memory, the most worth keeping first."""
        now = trio.current_time()
        return most_worth_first(self._residents(now), now, self.rules)

    def by_worth(self, models: list[Model]) -> list[Model]:
        """Some models, the most worth keeping first; those that wait to be let in come before all that are in."""
        place = {resident.name: number for number, resident in enumerate(self.residents())}
        return sorted(models, key=lambda model: place.get(model.spec.name, -1))

    def footprint(self, model: Model) -> Cost | None:
        """What a loaded model counts for, and how that is known."""
        if (reservation := self._reserved.get(model)) is None:
            return None
        return reservation.known

    def source(self, name: str) -> Source | None:
        """How it is known what a loaded model counts for."""
        return next((each.known.source for each in self._reserved.values() if each.model.spec.name == name), None)

    def stays(self, resident: Resident) -> str:
        """Why it would not be unloaded now if its memory were wanted, or ""."""
        return stays(resident, self.machine(), self.rules)

    def residency(self, model: Model) -> Seconds:
        """How long it may stay at least, by now, in seconds."""
        return Seconds(model.residency.seconds(trio.current_time(), self.settings.min_residency))

    # How it is decided...

    @property
    def _waiting(self) -> list[Ask]:
        return [ask for ask in self._asks.values() if not ask.granted and not ask.refusal]

    def _residents(self, now: float) -> list[Resident]:
        return [each.resident(now, self.settings.min_residency) for each in self._reserved.values()]

    def _decide(self) -> None:
        self._withdraw()
        self._start_those_whose_room_is_free()
        now = trio.current_time()
        machine, residents = self._watch.machine(now), self._residents(now)
        needs = [self._need(ask, machine, residents) for ask in self._waiting]
        decisions = admit_all(needs, machine, residents, rules=self.rules)
        for decision in decisions:
            self._carry_out(decision)
        held = {name for decision in decisions for name in decision.hold}
        for model in self._reserved:
            (model.desk.hold if model.spec.name in held else model.desk.release)()

    def _need(self, ask: Ask, machine: Machine, residents: list[Resident]) -> Need:
        most: int = ask.cost.bytes
        if ask.model.starved and any(not each.pinned for each in residents):
            # What was enough by all that is known was not: at least one more has to go.
            free = room(machine, *apart(residents, frozenset()))
            most = max(round(most * 1.25), 1 + min(each for each in free if each is not None))
        # What it may grow to must not keep it out where there is enough to begin with.
        size = most if ask.cost.least > machine.ceiling else min(most, machine.ceiling)
        return Need(
            model=ask.name,
            bytes=size,
            priority=ask.model.spec.priority,
            since=min(ask.since, ask.model.desk.since or ask.since),
            load_seconds=ask.model.load_seconds,
            evicts=bool(ask.model.desk.waiting) or not ask.model.modest,
        )

    def _carry_out(self, decision: Decision) -> None:
        ask = next(ask for ask in self._waiting if ask.name == decision.model)
        ask.because = decision.because
        self.records.add(decision)
        match decision.kind:
            case "admit" | "evict":
                self._reserve(ask, decision)
            case "refuse":
                ask.refusal = f"{decision.model} can't be loaded: {decision.because}."
                ask.decided.set()
            case _:
                held_by = ", ".join(decision.holders[:5])
                ask.model.desk.shortage = decision.because + (f" (in memory: {held_by})" if held_by else "")

    def _reserve(self, ask: Ask, decision: Decision) -> None:
        life, reading = ask.model.life, self._watch.reading
        assert life is not None
        ask.granted = True
        ask.model.desk.shortage = ""
        kills = reading.oom_kills if reading else None
        reservation = Reservation(ask.model, life, decision.bytes, source=ask.cost.source, oom_kills=kills)
        self._reserved[ask.model] = reservation
        victims = [each for each in self._reserved.values() if each.model.spec.name in decision.victims]
        ask.going = tuple(victims)
        for victim in victims:
            victim.model.evict(decision)
        self._start_those_whose_room_is_free()

    def _start_those_whose_room_is_free(self) -> None:
        for ask in self._asks.values():
            if ask.granted and not any(each in ask.going for each in self._reserved.values()):
                ask.decided.set()

    def _withdraw(self) -> None:
        for ask in self._waiting:
            if not ask.wanted and ask.model.life is not None:
                ask.model.life.end(ask.model.unloading("nobody waits for it any more"))
                del self._asks[ask.model]

    # Under pressure...

    @property
    def _over(self) -> int:
        """Bytes by which the models have grown beyond what they may have."""
        return sum(each.cost for each in self._reserved.values()) - self._watch.machine(trio.current_time()).ceiling

    def _relieve(self) -> None:
        now = trio.current_time()
        machine, over = self._watch.machine(now), self._over
        shortfall = self.pressure.shortfall
        if machine.level == "normal" and over <= 0:
            self._relief = self._relief.ended()
            return
        if machine.level == "normal":
            machine, shortfall = evolve(machine, level="warn"), over
        decision = relieve(machine, self._residents(now), self._relief, shortfall=shortfall, rules=self.rules)
        if decision.kind == "evict":
            self.records.add(decision)
            victim = next(each for each in self._reserved.values() if each.model.spec.name in decision.victims)
            victim.model.evict(decision, force=decision.force)

    def _note_growth(self, reservation: Reservation) -> None:
        """Say it once when a model costs much more than was thought (a fifth, and at least 64 MiB)."""
        seen, promised = reservation.seen or 0, reservation.promised
        if reservation.warned or seen - promised < max(promised // 5, 64 * 1024**2):
            return
        reservation.warned = True
        name, had = reservation.model.spec.name, "declared (memory)" if reservation.source == "declared" else "expected"
        log.warning("%s costs %s, more than the %s %s", name, format_bytes(Bytes(seen)), format_bytes(promised), had)
