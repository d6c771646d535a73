"""A machine whose memory is a number: fake engines take it, a neighbour takes it, the real memory monitor reads it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Literal

import trio
from attrs import Factory, define
from fake_run import FakeEngine, Garage
from fleets import entries, entry

from llmsup.config.live import LiveConfig
from llmsup.config.schema import Config, GiB, Memory
from llmsup.errors import Error, SetupError
from llmsup.fleet.fleet import Fleet
from llmsup.fleet.memory.governor import Governor
from llmsup.fleet.model.model import Model
from llmsup.fleet.model.outcome import as_error
from llmsup.fleet.model.run import Run
from llmsup.memory.amounts import ZERO, Amounts
from llmsup.memory.cost.cost import Cost
from llmsup.memory.cost.load_mode import Plan
from llmsup.memory.cost.load_speed import Speed
from llmsup.memory.machine.monitor import MemoryMonitor
from llmsup.memory.machine.reading import Gpu, Reading
from llmsup.memory.machine.sampler import Sampler
from llmsup.process.logbook import LogBook
from llmsup.process.ring import Event, Events
from llmsup.units import Bytes, Seconds

TOTAL = 64 * GiB
RESERVE = Bytes(4 * GiB)
"""So all models together may have 60 GiB."""

LONG = Seconds(1_000_000)


class NoGpus:
    """Devices of a machine that has none."""

    async def read(self) -> tuple[Gpu, ...]:
        return ()


class Probe(Sampler):
    """A sampler whose probe may fail."""

    broken = False

    async def read(self, probe: tuple[str, ...] | Literal["auto"] = "auto") -> Reading:
        if self.broken:
            raise SetupError("the probe broke.")
        return await super().read(probe)


class FakeCosts:
    """What models cost by what is known before: what they really take, if nothing else is said."""

    def __init__(self, garage: Garage) -> None:
        self.said: dict[str, int] = {}
        self.grow: dict[str, int] = {}
        self.devices: dict[str, Amounts] = {}
        self.layouts: dict[str, Cost] = {}
        self.kept: dict[str, int | None] = {}
        self.took: dict[str, float] = {}
        self.plans: dict[str, Plan] = {}
        self.spare: dict[str, int] = {}
        self.speed = Speed()
        self._garage = garage

    async def cost(self, model: Model) -> Cost:
        if model.spec.memory is not None:
            return Cost(model.spec.memory, "declared", model.spec.memory)
        name = model.spec.name
        if name in self.layouts:
            return self.layouts[name]
        size = Bytes(self.said.get(name, self._garage.sizes.get(name, GiB)))
        there = self.devices.get(name, ZERO)
        return Cost(Bytes(size + there.total), "estimated", size, Bytes(self.grow.get(name, 0)), there)

    async def costs(self, models: Sequence[Model]) -> dict[Model, Cost]:
        return {model: await self.cost(model) for model in models}

    def load_seconds(self, model: Model) -> float | None:
        return self.took.get(model.spec.name)

    def expected_seconds(self, model: Model, most: int | None = None) -> float | None:
        return None

    async def cached_share(self, model: Model) -> float | None:
        return None

    async def plan(self, model: Model, *, spare: int) -> Plan:
        self.spare[model.spec.name] = spare
        return self.plans.pop(model.spec.name, Plan())

    def loaded(self, model: Model, run: Run, seconds: float, size: int) -> None:
        self.took[model.spec.name] = seconds
        self.speed = self.speed.seen(size, seconds)

    def keep(self, model: Model, run: Run) -> None:
        self.kept[model.spec.name] = run.engine.meter.peak if run.engine else None


@define(eq=False)
class Machine:
    """Everything together.

    Attributes:
        neighbour: Bytes that others take.
        oom_kills: How many processes were killed for want of memory.
        ended: How requests ended that `ask` began: "" or an error's code.
        said: What they were told who got an error.
        host: What an engine takes of the machine's own memory, instead of what the garage says.
    """

    config: LiveConfig
    garage: Garage
    events: Events
    monitor: MemoryMonitor
    governor: Governor
    fleet: Fleet
    costs: FakeCosts
    probe: Probe
    nursery: trio.Nursery
    neighbour: int = 0
    oom_kills: int = 0
    ended: list[str] = Factory(list)
    said: list[str] = Factory(list)
    host: Callable[[FakeEngine], int] | None = None

    def reading(self) -> Reading:
        host = self.host or (lambda engine: _size(engine, self.garage))
        taken = sum(host(engine) for engine in self.alive())
        available = Bytes(max(TOTAL - self.neighbour - taken, 0))
        return Reading(total=Bytes(TOTAL), available=available, oom_kills=self.oom_kills)

    def alive(self) -> list[FakeEngine]:
        return [engine for engine in self.garage.engines if engine.stopped_at is None and engine.exit_code is None]

    @property
    def loaded(self) -> list[str]:
        """Who has an engine, in the order of their start."""
        return [engine.name for engine in self.alive()]

    def serve(self, **gibibytes: float) -> None:
        """Have these models, which take so many GiB each."""
        self.have(**{name: (size, {}) for name, size in gibibytes.items()})

    def have(self, **models: tuple[float, dict[str, Any]]) -> None:
        """Have these models: what each takes in GiB, and its settings."""
        self.garage.sizes |= {name: round(size * GiB) for name, (size, _) in models.items()}
        self.fleet.apply(entries(*(entry(name, **spec) for name, (_, spec) in models.items())))

    async def use(self, name: str, seconds: float = 1) -> None:
        """One request that takes some seconds of the engine."""
        model = self.fleet.find(name)
        with self.fleet.enter(model) as lease:
            run = await lease.run(model.spec.queue_timeout)
            assert isinstance(run, Run)
            with trio.move_on_after(seconds):
                outcome = await run.ended(LONG)
                assert outcome is not None
                raise as_error(outcome)

    def ask(self, name: str, seconds: float = 1, patience: float = LONG) -> None:
        """The same in the background, given up after `patience` seconds."""

        async def use() -> None:
            with trio.move_on_after(patience):
                try:
                    await self.use(name, seconds)
                except Error as error:
                    self.ended.append(error.code)
                    self.said.append(str(error))
                else:
                    self.ended.append("")

        self.nursery.start_soon(use)

    async def keep_using(self, name: str, seconds: float, pause: float = 0.1) -> None:
        """Requests in a row, until cancelled."""
        while True:
            await self.use(name, seconds)
            await trio.sleep(pause)

    def happened(self, kind: str) -> list[Event]:
        """What was told of one kind."""
        return [event for event in self.events.since(0) if event.kind == kind]

    def went(self) -> list[tuple[str, str]]:
        """Who was unloaded, and the cause, in order."""
        return [(event.data["model"], event.data["cause"]) for event in self.happened("unload")]


def _size(engine: FakeEngine, garage: Garage) -> int:
    return garage.sizes.get(engine.name, GiB) if engine.size is None else engine.size


@asynccontextmanager
async def machine(
    settings: Memory | None = None, *, load_time: float = 1, stop_time: float = 0
) -> AsyncIterator[Machine]:
    """A machine with a fleet on it, and how many seconds loads and stops take there."""
    config = LiveConfig(Config(memory=settings or Memory(reserve=RESERVE)))
    events, made = Events(10_000), Garage(load_time=load_time, stop_time=stop_time)
    sampler = Probe(gpus=NoGpus())  # type: ignore[arg-type]  # a stand-in
    monitor = MemoryMonitor(config, sampler, events, total=lambda: Bytes(TOTAL))
    costs = FakeCosts(made)
    governor = Governor(config, monitor, costs, events)
    fleet = Fleet(made, governor, max_queue=lambda: 1000, book=LogBook(), events=events)
    async with trio.open_nursery() as nursery:
        machine = Machine(config, made, events, monitor, governor, fleet, costs, sampler, nursery)
        sampler.system = machine.reading
        await nursery.start(monitor.run)
        await nursery.start(governor.run)
        await nursery.start(fleet.run)
        yield machine
        nursery.cancel_scope.cancel()
