"""The memory granted to models: reserved before an engine starts, counted until the memory has been returned."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterator, Mapping

import trio
from attrs import define, field

from ...memory.amounts import HOST, ZERO, Amounts
from ...memory.cost.cost import Cost, Source, by_pool
from ...memory.policy.decision import Decision
from ...memory.policy.inputs import LoadedModel
from ...units import Bytes, format_bytes
from ..model.hooks import BEFORE_STOP
from ..model.intent import StopRequest
from ..model.model import Model
from ..model.outcome import Crash
from ..model.run import Run
from ..model.states import Cause, State
from .costs import CostSource
from .reclaim import WORTH_WAITING, Monitor

log = logging.getLogger(__name__)


def _never(_grant: Grant) -> int:
    return 0


def _nothing(_grant: Grant, _counted: Amounts) -> None:
    pass


@define(eq=False)
class Grant:
    """One model's memory: the `model.permission.Grant` of a machine with limited memory.

    Attributes:
        run: The run that it was granted to.
        monitor: The machine's memory.
        costs: Remembers what models cost.
        wake: Makes the governor decide again.
        reserved: What was reserved for the model when it was admitted, in bytes.
        source: Where that figure came from; a declared size counts even if less is measured.
        grows: The bytes by which it may grow beyond that, with the prompts that it caches.
        devices: The part of `reserved` that is on devices with their own memory, by their pools.
        oom_kills: How many processes the system had killed for lack of memory by then; None if it doesn't count them.
        wanted_since: When the oldest request that it was loaded for came (trio time).
        before: What was available of each pool when it began to stop; None if it hasn't, or that is unknown.
        stopping_at: When it began to stop (trio time); `inf` if it hasn't.
        choose: Chooses the level at which it is to sleep now, if nobody waits for its memory; 0: not at all.
        slept: Told when it has fallen asleep: the model's grant, what it counted for, and the decision behind it.
        level: The level at which it is to sleep, once it is evicted; 0: not at all.
        planned: What it is going to hold, from the choice of a level until it sleeps or is stopped; None: nothing.
        held: What it holds while it sleeps; None: it is awake.
        awake_size: What it counted for when it last fell asleep.
        risen: What it counts for again, from the permission to wake until it is measured; None: that isn't so.
        warned: A warning that it takes more than was reserved has been logged.
    """

    model: Model
    run: Run
    monitor: Monitor
    costs: CostSource
    wake: Callable[[], None]
    reserved: int
    source: Source = "estimated"
    grows: int = 0
    devices: Amounts = ZERO
    oom_kills: int | None = None
    wanted_since: float = float("-inf")
    before: Amounts | None = None
    stopping_at: float = float("inf")
    choose: Callable[[Grant], int] = _never
    slept: Callable[[Grant, Amounts], None] = _nothing
    level: int = field(default=0, init=False)
    planned: Amounts | None = field(default=None, init=False)
    held: Amounts | None = field(default=None, init=False)
    awake_size: Amounts = field(default=ZERO, init=False)
    risen: Amounts | None = field(default=None, init=False)
    warned: bool = field(default=False, init=False)

    # Reported by its supervisor...

    def ready(self) -> None:
        """Its engine is ready: remember how long the load took."""
        if self.model.load_seconds:
            self.costs.loaded(self.model, self.run, self.model.load_seconds, self.reads)

    def measured(self) -> None:
        """Its measured size has changed, which may exceed the ceiling, or leave room for another model."""
        self._note_growth()
        self.wake()

    def stopping(self) -> None:
        """Note what is available as it begins to stop; for one that died by itself it is too late to know."""
        self._note_growth()
        self.planned = None
        self.stopping_at = trio.current_time()
        died, reading = isinstance(self.run.outcome, Crash), self.monitor.reading
        self.before = None
        if not died and reading is not None and reading.available is not None:
            pools = self.monitor.machine(self.stopping_at).pools
            there = {name: pool.available or 0 for name, pool in pools.items()}
            self.before = Amounts({**there, HOST: reading.available})

    def out_of_memory(self) -> bool:
        """Whether the system has run out of memory and killed a process since the model was admitted."""
        kills = self.monitor.oom_kills()
        return self.oom_kills is not None and kills is not None and kills > self.oom_kills

    def _note_growth(self) -> None:
        """Warn once if it takes much more than expected, prompts included: by a fifth, and at least 64 MiB."""
        seen, reserved = self.seen or 0, self.reserved + self.grows
        if self.warned or seen - reserved < max(reserved // 5, 64 * 1024**2):
            return
        self.warned = True
        name, had = self.model.spec.name, "declared (memory)" if self.source == "declared" else "expected"
        log.warning("%s takes %s, more than the %s %s", name, format_bytes(Bytes(seen)), format_bytes(reserved), had)

    # Sleep...

    def sleep_level(self) -> int:
        """The level that was chosen when it was evicted; for one that is only idle, the level that would do now."""
        if self.run.decision is None:
            self.level = self.choose(self)
        return self.level

    async def asleep(self, level: int) -> None:
        """It has fallen asleep: count what it still holds. The weights that a driver keeps for it in the machine's own
        memory may not show in its process, so they count in any case.
        """
        awake, before, weights = self.taken, self.gives_back, self.weights if level == 1 else 0
        self.costs.keep(self.model, self.run)  # what it takes awake, as long as that is what was measured
        await self.run.measure()
        engine = self.run.engine
        assert engine is not None
        own = max((engine.meter.freeable or 0) - engine.meter.devices.total, weights)
        most = max(awake.total, before)
        self.held = by_pool(min(own + engine.meter.devices.total, most), engine.meter.devices)
        self.planned, self.awake_size = None, awake
        self.slept(self, awake)

    def rise(self, wanted_since: float) -> None:
        """It may be woken: it counts for as much as before from now on."""
        self.risen, self.wanted_since, self.level = self.awake_size, wanted_since, 0

    def awake(self) -> None:
        """It is awake."""
        self.held = None
        self.wake()

    @property
    def rises(self) -> Amounts:
        """What waking it takes, by pool."""
        return (self.awake_size - (self.held or ZERO)).max(ZERO)

    @property
    def sleeping(self) -> bool:
        """Whether it sleeps, and may not be woken yet."""
        return self.held is not None and self.risen is None

    @property
    def may_sleep(self) -> bool:
        """Whether it is awake, and its engine may be put to sleep, as far as memory allows."""
        engine, model = self.run.engine, self.model
        return bool(engine and engine.sleeps and self.held is None and model.spec.sleep and not model.sleepless)

    @property
    def weights(self) -> int:
        """The bytes of its weights: by its header, else all that it has on devices, or anywhere."""
        if (estimated := self.model.estimate) is not None:
            return estimated.weights
        on_devices = self.taken - self.taken.within({HOST})
        return on_devices.total or self.taken.total

    # Eviction...

    def evict(self, decision: Decision, *, force: bool = False) -> None:
        """Begin to unload it to free its memory; new requests get the next engine. The caller has just checked that no
        request is in flight or about to start, unless `force`.
        """
        model = self.model
        busy = model.queue.occupied and not force and not self.sleeping
        there = model.state is State.READY or self.sleeping
        if model.run is not self.run or not there or model.intent.stop is not None or busy:
            raise RuntimeError(f"{model!r} can't be evicted")
        for_whom = f"to make room for {decision.model}" if decision.model else "under memory pressure"
        cause = Cause.ROOM if decision.model else Cause.PRESSURE
        self.run.decision = decision
        model.demand.evicted(trio.current_time(), model.load_seconds)
        model.stop(StopRequest(f"{for_whom}: {decision.reason}", cause, force=force, patient=not force))

    # Its size...

    @property
    def cost(self) -> int:
        """What it counts for now, in bytes: what was reserved until it has loaded and been measured, then the highest
        measured.
        """
        if self._fixed is not None:
            return self._fixed.total
        seen = self.seen
        if seen is None or not self.run.settled or self.source == "declared":
            return max(self.reserved, seen or 0)
        return seen

    @property
    def taken(self) -> Amounts:
        """`cost` by pool. Until it has loaded and been measured, its share on devices is the reserved one."""
        if self._fixed is not None:
            return self._fixed
        measured = self.run.engine.meter.devices if self.run.engine else ZERO
        return by_pool(self.cost, measured if self.run.settled else measured.max(self.devices))

    @property
    def _fixed(self) -> Amounts | None:
        """What it counts for, whatever is measured: while it sleeps, and then until it is measured awake."""
        if self.risen is None:
            return self.held
        if self.held is None and (self.run.measured_at or 0.0) >= self.run.turned_at:
            self.risen = None
        return self.risen

    @property
    def freeable(self) -> Amounts:
        """What ending it would free, by pool."""
        if self.sleeping:
            return self.held or ZERO
        return by_pool(self.gives_back, self.run.engine.meter.devices if self.run.engine else ZERO)

    @property
    def seen(self) -> Bytes | None:
        """The highest size measured; None if it hasn't been measured yet."""
        return self.run.engine.meter.cost if self.run.engine else None

    @property
    def gives_back(self) -> Bytes:
        """How many bytes ending it would free."""
        return self.run.gives_back(self.model.spec.memory) or Bytes(0)

    @property
    def unseen(self) -> bool:
        """Whether much of that can't be measured here, so the end of the process doesn't prove that it came back."""
        return self.gives_back - (self.run.footprint or 0) >= WORTH_WAITING

    @property
    def may_grow(self) -> int:
        """The bytes by which it may still grow; growth since its start is counted in `cost` already. At most `grows`:
        `cost` may also have fallen since its start, when other engines map the same file.
        """
        if self._fixed is not None:
            return 0
        start = self.reserved
        if self.run.settled and self.run.engine is not None:
            start = self.run.engine.meter.start(self.grows) or start
        return min(max(start + self.grows - self.cost, 0), self.grows)

    @property
    def known(self) -> Cost:
        """What it counts for, and where that figure comes from."""
        size, grows = Bytes(self.cost), Bytes(self.may_grow)
        return Cost(size, "measured" if self.run.settled and size == self.seen else self.source, size, grows)

    @property
    def reads(self) -> int:
        """The bytes read to load it: its file's size, or what was reserved if it has no file."""
        found = self.model.entry.found
        return found.size if found else self.reserved

    @property
    def leaving(self) -> bool:
        """Whether it is being unloaded, or about to be."""
        ends = self.model.intent.stop is not None or self.run.outcome is not None
        return ends or self.model.state in (State.DRAINING, State.STOPPING)

    @property
    def loading(self) -> bool:
        """Whether it isn't ready yet, or is being woken."""
        return self.run.loaded_at is None or (self.held is not None and self.risen is not None)

    def loaded(self, now: float, reload_seconds: float, rivals: Mapping[str, float]) -> LoadedModel:
        """As the policy sees it.

        Args:
            reload_seconds: How long loading it takes, known or expected.
            rivals: The models that are wanted at the same time, and when that was last seen.
        """
        model, queue, run = self.model, self.model.queue, self.run
        return LoadedModel(
            name=model.spec.name,
            cost=self.taken,
            freeable=self.freeable,
            priority=model.spec.priority,
            pinned=model.pinned,
            in_flight=queue.in_flight,
            # Nothing waits for a sleeping one: its requests wait for room to wake it, or to load it again.
            waiting=0 if self.sleeping else queue.due,
            loading=self.loading,
            leaving=self.leaving,
            first_served=run.first_served,
            last_used=max(queue.last_used or 0.0, run.loaded_at or now, run.turned_at),
            rate=model.demand.rate.per_second(now) if model.demand.rate.weight else None,
            last_asked=model.demand.last_asked,
            ready_since=now if run.loaded_at is None else max(run.loaded_at, run.turned_at),
            wanted_since=self.wanted_since,
            reload_seconds=reload_seconds,
            refaults=model.demand.refaults.by(now, reload_seconds).count,
            rivals=rivals,
            ttl_expired=not queue.busy and (self.sleeping or now >= model.expires_at),
            grows=self.may_grow,
            save_seconds=run.engine.saves_for(BEFORE_STOP) if run.engine and not self.loading else 0.0,
        )


class Ledger:
    """The grants, by model; a model has one at a time."""

    def __init__(self) -> None:
        self._by_model: dict[Model, Grant] = {}

    def __iter__(self) -> Iterator[Grant]:
        return iter(self._by_model.values())

    def __contains__(self, grant: Grant) -> bool:
        return self._by_model.get(grant.model) is grant

    def of(self, model: Model) -> Grant | None:
        """A model's grant; None if it has none."""
        return self._by_model.get(model)

    def add(self, grant: Grant) -> None:
        """Count it from now on."""
        self._by_model[grant.model] = grant

    def remove(self, grant: Grant) -> None:
        """Stop counting it: its memory has been returned."""
        del self._by_model[grant.model]

    def named(self, names: Collection[str]) -> tuple[Grant, ...]:
        """The grants of the models with these names."""
        return tuple(each for each in self if each.model.spec.name in names)

    def pause(self, names: Collection[str]) -> None:
        """Pause the queues of these models, so that another gets its turn; resume all others."""
        for each in self:
            (each.model.queue.pause if each.model.spec.name in names else each.model.queue.resume)()
