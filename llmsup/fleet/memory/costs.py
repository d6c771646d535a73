"""What each model will cost, in memory and in seconds to load, using what was measured in earlier runs."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from typing import Protocol
from weakref import WeakKeyDictionary

import trio
from attrs import evolve

from ...catalog.entry import Entry
from ...config.load_modes import LoadMode
from ...memory.cost.cost import Cost, cost, prompts
from ...memory.cost.load_mode import Choice, Load, Measured, Plan, choose
from ...memory.cost.load_speed import Speed
from ...memory.cost.store import FootprintStore
from ...memory.machine.device_names import pools_of
from ...units import Bytes, format_bytes
from ..model.model import Model
from ..model.run import Run
from .device_pools import Names, no_names
from .warmth import Warmth

log = logging.getLogger(__name__)

MORE = 1.1
"""Warn when a model takes this many times its declared size, or the size of the last warning."""


class CostSource(Protocol):
    """What the governor needs to know about models' costs."""

    @property
    def speed(self) -> Speed:
        """How fast this machine has loaded models so far."""

    async def cost(self, model: Model) -> Cost:
        """What loading it will cost."""

    async def costs(self, models: Sequence[Model]) -> dict[Model, Cost]:
        """What loading each of them would cost; for lists, so the build of a model's engine may be a cached one."""

    def load_seconds(self, model: Model) -> float | None:
        """Seconds that its last load took, with the engine build seen by the last `cost`; None if there was none."""

    def expected_seconds(self, model: Model, most: int | None = None) -> float | None:
        """Seconds that its next load should take, by what of its file is in the page cache; None if that can't be told.

        Args:
            most: How many bytes of its file can be there by then; None: as many as there are now.
        """

    async def cached_share(self, model: Model) -> float | None:
        """The share of its files that is in the page cache, 0 to 1; None if that can't be told."""

    async def plan(self, model: Model, *, spare: int) -> Plan:
        """How its weights are to be loaded now. `spare`: the bytes of memory that nobody else wants."""

    def loaded(self, model: Model, run: Run, seconds: float, size: int) -> None:
        """Remember that a load of `size` bytes took `seconds`, and tell the run."""

    def keep(self, model: Model, run: Run) -> None:
        """Remember what a run has cost."""


async def no_choice(_entry: Entry) -> Sequence[LoadMode]:
    """There is one way to load."""
    return ()


class MeasuredCosts:
    """The `CostSource` of production.

    Attributes:
        store: What was measured before.
        build: Identifies the build of the engine that a model gets, as a text that differs when the build does; "" if
            that is unknown. May read the disk.
        modes: The ways to load a model's weights that its engine can be asked for, the usual one first.
        warmth: What of models' files is in the page cache.
        names: Which devices with their own memory a model's engine finds.
        with_workers: Adds the RPC workers among which a model's engine divides it.
    """

    def __init__(
        self,
        store: FootprintStore,
        build: Callable[[Entry], str],
        modes: Callable[[Entry], Awaitable[Sequence[LoadMode]]] = no_choice,
        warmth: Warmth | None = None,
        names: Names = no_names,
    ) -> None:
        self.warmth = warmth or Warmth()
        self.with_workers: Callable[[Model, Cost], Cost] = lambda _model, cost: cost
        self._store = store
        self._build = build
        self._modes = modes
        self._names = names
        self._pools: MutableMapping[Model, tuple[Entry, tuple[str, ...]]] = WeakKeyDictionary()
        self._told: dict[tuple[str, int], int] = {}
        self._builds: MutableMapping[Model, str] = WeakKeyDictionary()
        self._keys: MutableMapping[Model, tuple[Entry, str, str]] = WeakKeyDictionary()
        self._runs: MutableMapping[Run, tuple[str, Bytes]] = WeakKeyDictionary()  # the key of each, and its prompts

    @property
    def speed(self) -> Speed:
        return self._store.speed

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Load the saved measurements; save new ones every minute and at the end."""
        if problem := await trio.to_thread.run_sync(self._store.load):
            log.warning("%s", problem)
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self.warmth.run)
                task_status.started()
                while True:
                    await trio.sleep(60)
                    await self._save()
        finally:
            with trio.CancelScope(shield=True, deadline=trio.current_time() + 5):
                await self._save()

    async def _save(self) -> None:
        if problem := await trio.to_thread.run_sync(self._store.save):
            log.warning("%s", problem)

    async def cost(self, model: Model) -> Cost:
        self._builds[model] = await trio.to_thread.run_sync(self._build, model.served)
        await self.warmth.now(model)
        await self._find_devices(model)
        if model.run is not None:
            self._runs[model.run] = self._remembered_as(model)
        return self._cost(model)

    async def _find_devices(self, model: Model) -> None:
        """Look up the pools that it may take from, as long as no measurement says from which it does."""
        entry = model.served
        estimated = model.estimate
        if estimated is None or self._store.get(self._key(model)) is not None:
            return
        by_name = await self._names(entry)
        if by_name is None:
            self._pools.pop(model, None)
        else:
            self._pools[model] = (entry, pools_of(estimated.context.offload.devices, by_name))

    def load_seconds(self, model: Model) -> float | None:
        return self._store.load_seconds(self._key(model))

    def expected_seconds(self, model: Model, most: int | None = None) -> float | None:
        share, found = self.warmth.share(model), model.entry.found
        if share is None or found is None or not found.size:
            return None
        loads = self._store.loads(self._key(model))
        return loads.expected(loads.last, share if most is None else min(share, most / found.size))

    async def cached_share(self, model: Model) -> float | None:
        return await self.warmth.recent(model)

    async def plan(self, model: Model, *, spare: int) -> Plan:
        entry, needs, key = model.served, model.estimate, self._key(model)
        cached, able = await self.warmth.now(model), await self._modes(entry)
        if entry.spec.load_mode == "auto":
            room = spare >= max(self._cost(model).bytes, needs.total if needs else 0)
            choice = choose(self._store.loads(key), able, cached=cached, room=room)
        elif entry.spec.load_mode in able:
            choice = Choice(entry.spec.load_mode, "its config says so")
        else:  # the user's own words win, or it is a command that isn't told
            choice = Choice()
        if choice.tries:
            self._store.trying(key, choice.mode)
        if choice.mode in ("read", "direct"):
            log.info("%s: its weights are loaded by %r: %s", model.spec.name, choice.mode, choice.why)
        private = choice.mode in ("read", "direct") or (needs is not None and not needs.context.mapped)
        mapped = 0 if private or needs is None else needs.mapped
        return Plan(choice.mode, choice.why, cached, mapped, private, choice.tries)

    def loaded(self, model: Model, run: Run, seconds: float, size: int) -> None:
        key, _ = self._runs.get(run) or self._remembered_as(model)
        mode = run.plan.mode or (run.engine.meter.buffers.mode if run.engine else "")
        self._store.loaded(key, seconds, size, mode, run.plan.cached)
        if model.entry.found is not None and size > 0 and seconds > 0:
            run.load = Measured(Load(size, seconds, run.plan.cached), mode, run.plan.why)

    async def costs(self, models: Sequence[Model]) -> dict[Model, Cost]:
        """The engine build is looked up once for each model, and afterwards only by `cost`."""
        if new := [model for model in models if model not in self._builds]:
            builds = await trio.to_thread.run_sync(lambda: [self._build(model.served) for model in new])
            self._builds.update(zip(new, builds, strict=True))
        costs = {}
        for model in models:
            await trio.lowlevel.checkpoint()  # an estimate takes a moment, and there may be hundreds
            costs[model] = self._cost(model)
        return costs

    def _cost(self, model: Model) -> Cost:
        key = self._key(model)
        known = cost(model.served, model.estimate, self._store.get(key), self._store.devices(key))
        entry, pools = self._pools.get(model, (None, ()))
        if entry is model.served or known.offload.devices == ():  # nobody needs to be asked which none are
            known = evolve(known, pools=pools)
        return self.with_workers(model, known) if model.spec.rpc else known

    def keep(self, model: Model, run: Run) -> None:
        meter = run.engine.meter if run.engine else None
        key, grows = self._runs.get(run) or self._remembered_as(model)
        if meter is None or (peak := meter.peak) is None or (start := meter.start(grows)) is None:
            return  # it never got as far as being measured
        self._store.put(key, start, meter.devices)
        declared = model.spec.memory
        if declared is None or peak <= max(declared, self._told.get((model.spec.name, declared), 0)) * MORE:
            return
        self._told[model.spec.name, declared] = peak
        log.warning(
            "%s: its declared `memory` is %s, but it took %s: declare that, or leave `memory` out",
            model.spec.name,
            format_bytes(declared),
            format_bytes(Bytes(peak)),
        )

    def _remembered_as(self, model: Model) -> tuple[str, Bytes]:
        """The key of a run, and its prompts; taken at its start, as the model may be redefined before it ends."""
        return self._key(model), prompts(model.estimate)

    def _key(self, model: Model) -> str:
        served, build = model.served, self._builds.get(model, "")
        entry, of, key = self._keys.get(model, (None, "", ""))
        if entry is not served or of != build:
            alike = f"{served.launched!r} {build}"
            key = hashlib.sha256(alike.encode("utf-8", "surrogatepass")).hexdigest()[:32]
            self._keys[model] = (served, build, key)
        return key
