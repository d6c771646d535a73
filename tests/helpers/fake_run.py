"""A stand-in for a running engine, for tests of the state machine under a clock that jumps: no process, no socket."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import trio
from trio.testing import memory_stream_pair

from llmsup.catalog.entry import Entry
from llmsup.engines.address import UnixAddress
from llmsup.engines.launch import Launch
from llmsup.engines.pool import ConnectionPool
from llmsup.fleet.model.model import Model
from llmsup.memory.amounts import ZERO, Amounts
from llmsup.memory.cost.meter import Meter
from llmsup.memory.cost.process import Footprint
from llmsup.process.activity import ActivitySample
from llmsup.process.logbook import LogBook
from llmsup.units import Bytes


class AlwaysYes:
    """The `Admission` of a machine with memory for everything, and its grants."""

    @asynccontextmanager
    async def admit(self, model: Model) -> AsyncIterator[AlwaysYes]:
        yield self

    async def readmit(self, model: Model) -> bool:
        return True

    def sleep_level(self) -> int:
        return 1

    async def asleep(self, level: int) -> None:
        pass

    def awake(self) -> None:
        pass

    def ready(self) -> None:
        pass

    def measured(self) -> None:
        pass

    def stopping(self) -> None:
        pass

    def out_of_memory(self) -> bool:
        return False


class FakeEngine:
    """An engine whose every move a test decides."""

    def __init__(self, garage: Garage, number: int, name: str) -> None:
        self.name = name
        self.size: int | None = None  # instead of the garage's
        self.launch = Launch(engine="fake", argv=("fake",), address=UnixAddress(Path("/nowhere")))
        self.pid = number
        self.progress: float | None = None
        self.own_entry: Mapping[str, Any] = {}
        self.meter = Meter()
        self.pool = ConnectionPool(self._open)
        self.answers = trio.Event()  # ready
        self.exit_code: int | None = None
        self.sick = False
        self.signs = 0
        self.computes = False
        self.asked = 0  # how often, after its health
        self.unready_reason = "it is a fake"
        self.stopped_at: float | None = None
        self.asleep = 0
        self.remains: tuple[str, ...] = ()
        self.left: tuple[str, ...] = ()
        self.unreachable = False
        self.streams: list[trio.StapledStream[trio.abc.SendStream, trio.abc.ReceiveStream]] = []
        self._garage = garage
        self._exited = trio.Event()

    async def _open(self) -> trio.abc.Stream:
        ours, theirs = memory_stream_pair()
        self.streams.append(theirs)  # type: ignore[arg-type]  # the pair's exact type is of no interest
        return ours

    def exit(self, code: int) -> None:
        """End by itself."""
        self.exit_code = code
        self._exited.set()

    async def pump(self) -> None:
        await trio.sleep_forever()

    async def ready(self) -> None:
        await trio.sleep(self._garage.load_time)
        await self.answers.wait()

    async def activity(self) -> ActivitySample:
        now = trio.current_time()
        output = self.signs if self.signs >= 0 else now
        return ActivitySample(at=now, output=output, cpu={self.pid: now if self.computes else 0.0})

    async def healthy(self, patience: float) -> bool:
        self.asked += 1
        with trio.move_on_after(patience):
            while self.sick:  # noqa: ASYNC110 -- a plain attribute is what tests like to set
                await trio.sleep(5)
        return not self.sick

    async def wait(self) -> int:
        await self._exited.wait()
        assert self.exit_code is not None
        return self.exit_code

    async def after_ready(self) -> None:
        await self._garage.after_ready(self)

    async def while_idle(self) -> None:
        await self._garage.while_idle(self)

    @property
    def sleeps(self) -> bool:
        return self._garage.sleeps

    async def sleep(self, level: int) -> None:
        await self._garage.sleep(self, level)
        self.asleep = level

    async def wake(self, level: int) -> None:
        await self._garage.wake(self, level)
        self.asleep = 0

    listens = False
    keeps_slots = False

    def answered(self, computed: int, cached: int, seconds: float | None) -> None:
        pass

    def saves_for(self, limit: float) -> float:
        return min(self._garage.saves_for, limit)

    async def before_stop(self, deadline: float) -> None:
        await self._garage.before_stop(self, deadline)

    async def measure(self) -> None:
        await self._garage.measure(self)


class Garage:
    """Makes fake engines; the `Start` of these tests."""

    def __init__(self, *, load_time: float = 1, ready: bool = True, stop_time: float = 0) -> None:
        self.load_time = load_time
        self.ready = ready
        self.stop_time = stop_time
        self.sleeps = False
        self.engines: list[FakeEngine] = []
        self.started_at: list[float] = []
        self.started_with: list[Entry] = []
        self.refuse: Exception | None = None
        self.sizes: dict[str, int] = {}  # what engines cost, by their models' names, in bytes
        self.saves_for = 0.0  # how long each says that its conversations take to be saved
        self.devices: dict[str, Amounts] = {}  # and on devices with their own memory

    @asynccontextmanager
    async def __call__(self, entry: Entry, book: LogBook) -> AsyncIterator[FakeEngine]:
        if self.refuse is not None:
            raise self.refuse
        engine = FakeEngine(self, len(self.engines) + 1, entry.name)
        if self.ready:
            engine.answers.set()
        self.engines.append(engine)
        self.started_at.append(trio.current_time())
        self.started_with.append(entry)
        try:
            yield engine
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(self.stop_time)
            engine.stopped_at = trio.current_time()

    async def measure(self, engine: FakeEngine) -> None:
        """What each engine is seen to take."""
        size = self.sizes.get(engine.name, 1000) if engine.size is None else engine.size
        engine.meter.saw(Footprint(Bytes(size)), self.devices.get(engine.name, ZERO))

    async def sleep(self, engine: FakeEngine, level: int) -> None:
        """How each engine falls asleep."""

    async def wake(self, engine: FakeEngine, level: int) -> None:
        """How each engine wakes."""

    async def after_ready(self, engine: FakeEngine) -> None:
        """What each engine does before its first request."""

    async def while_idle(self, engine: FakeEngine) -> None:
        """What each engine does when it has been idle for a while."""

    async def before_stop(self, engine: FakeEngine, deadline: float) -> None:
        """What each engine does before a planned stop."""

    @property
    def last(self) -> FakeEngine:
        return self.engines[-1]
