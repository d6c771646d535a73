"""A real engine: a child process, its log, its connections and its health checks.

When it should run is up to `fleet.model`; it is started by `starter`.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Awaitable, Callable, Collection, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any

import trio

from ...catalog.entry import Entry
from ...engines.address import Address, UnixAddress
from ...engines.connection import Disconnected
from ...engines.dial import connect
from ...engines.launch import Launch
from ...engines.pool import PATIENCE as POOL_PATIENCE
from ...engines.pool import ConnectionPool
from ...errors import EngineBadAnswer, OutOfResources
from ...memory.amounts import ZERO, Amounts
from ...memory.cost.meter import Meter
from ...memory.cost.process import Footprint, footprint_of_group, group_of
from ...process.activity import ActivitySample, look
from ...process.child import Child
from ...process.logbook import LogBook
from ...process.shortage import insist, is_ours, note
from ...prompt_cache.keeper import Keeper
from ...units import Seconds, format_seconds
from .sleeping import send

FIRST_POLL = 0.01
"""Seconds between the first readiness checks; a warm start must not wait for a tick."""

SLOWEST_POLL = 0.25
"""Seconds between the last ones; in between, a twentieth of the time it has taken so far."""

PATIENCE = 5.0
"""Seconds that an engine normally gets to answer."""

WHILE_IDLE = 10.0
"""Seconds that saving conversations may take while the engine is idle, at most."""

_STATE = "cmd_child_to_router:state:"

Devices = Callable[[Collection[int]], Awaitable[Amounts | None]]
"""Returns what some processes use of devices with their own memory; None if that can't be read at the moment."""


async def no_devices(_pids: Collection[int]) -> Amounts | None:
    """Nothing: there are none."""
    return ZERO


async def no_names(_entry: Entry) -> Mapping[str, str] | None:
    """Nothing is known of its devices."""
    return None


class RunningEngine:
    """The `model.run.Engine` that is a process."""

    def __init__(
        self,
        launch: Launch,
        child: Child,
        book: LogBook,
        devices: Devices = no_devices,
        keeps: Callable[[ConnectionPool], Keeper | None] = lambda _pool: None,
        workers: Mapping[str, str] = MappingProxyType({}),
        ended: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        """`keeps` gives what keeps its conversations, if anything does; `workers` are the pools of its RPC workers, by
        their addresses; `ended` is awaited when it has ended by itself, before anybody is told.
        """
        self.launch = launch
        self.pid = child.pid
        self.pool = ConnectionPool.to(launch.address, launch.open_paths)
        self.meter = Meter(workers=workers)
        self.progress: float | None = None
        self.own_entry: Mapping[str, Any] = {}
        self._keeper = keeps(self.pool)
        self._child = child
        self._book = book
        self._devices = devices
        self._ended = ended
        self._health = Health(launch)
        self.left: tuple[str, ...] = ()
        self.remains: tuple[str, ...] = ()
        self._pumped = trio.Event()
        self._reports = 0

    async def pump(self) -> None:
        try:
            async for line in self._child.lines():
                if self.launch.tells_progress and line.startswith(_STATE):
                    self._note_state(line.removeprefix(_STATE))
                else:
                    self._book.write(line)
                    self.meter.line(line)
        finally:
            self._pumped.set()

    def _note_state(self, line: str) -> None:
        # {"state": "loading", "payload": {"value": 0.0 ... 1.0}}, and in the end {"state": "ready", "payload": {...}}:
        # internal to llama.cpp, so expect anything.
        with contextlib.suppress(ValueError, KeyError, TypeError):
            said = json.loads(line)
            if said["state"] == "ready":
                self.own_entry = dict(said["payload"])
            else:
                self.progress = float(said["payload"]["value"])
        self._reports += 1
        self._book.notify()

    async def ready(self) -> None:
        began = trio.current_time()
        while True:
            seen = self._signs()
            with contextlib.suppress(OutOfResources):  # ask again
                if self._child.returncode is None and await self._health.answers(PATIENCE):
                    return
            # Any line it writes may be "listening", so each wakes us too, but not more often than the first poll.
            with trio.move_on_after(min(SLOWEST_POLL, max(FIRST_POLL, (trio.current_time() - began) / 20))):
                await trio.sleep(FIRST_POLL / 2)
                await self._book.until(lambda: self._signs() != seen)  # noqa: B023 -- awaited within this iteration

    @property
    def unready_reason(self) -> str:
        return self._health.result

    def _signs(self) -> tuple[int, int]:
        return self._book.written, self._reports

    async def activity(self) -> ActivitySample:
        try:
            return await look(self.pid, (self._child.received, self._reports))
        except (OSError, RuntimeError) as error:
            if not is_ours(error):
                raise
            note(error, "look at what an engine does")
            return ActivitySample(at=trio.current_time(), output=object())  # a failed look isn't silence

    async def healthy(self, patience: float) -> bool:
        if self.unreachable:  # it can't be asked, which is not its fault; existing connections are still served
            return self._child.returncode is None
        try:
            return await self._health.answers(patience)
        except OutOfResources:  # no evidence that it is unhealthy
            return self._child.returncode is None

    @property
    def unreachable(self) -> bool:
        address = self.launch.address
        return isinstance(address, UnixAddress) and not address.path.exists()

    async def wait(self) -> int:
        code = await self._child.wait()
        with trio.move_on_after(1):  # for its last lines; a grandchild may hold the pipe open forever
            await self._pumped.wait()
        if code == 0:
            self.remains = await self._child.remains()
        if self._ended is not None:
            await self._ended()
        return code

    async def look_behind(self) -> None:
        """Find out what is left of the engine after its end, and list it in `left`, for people."""
        self.left = self._child.left
        # What runs elsewhere (a container, another user) doesn't show as a process, but it may still be listening.
        if self._health.answered and await listens(self.launch.address):
            self.left = (*self.left, f"what answers at {self.launch.address}")

    async def measure(self) -> None:
        try:
            footprint, pids = await trio.to_thread.run_sync(_look_at_group, self.pid)
        except (OSError, RuntimeError) as error:
            if not is_ours(error):
                raise
            note(error, "measure an engine")
            return
        if footprint:
            self.meter.saw(footprint, await self._devices(pids))

    async def after_ready(self) -> None:
        """Give it back the conversations that it had."""
        if self._keeper is not None:
            await self._keeper.restore()

    async def while_idle(self) -> None:
        """Save its conversations."""
        if self._keeper is not None:
            await self._keeper.save(trio.current_time() + WHILE_IDLE, idle=True)

    @property
    def sleeps(self) -> bool:
        return self.launch.sleep is not None

    async def sleep(self, level: int) -> None:
        assert self.launch.sleep is not None
        await send(self.launch.address, self.launch.sleep.sleep[level])

    async def wake(self, level: int) -> None:
        assert self.launch.sleep is not None
        await send(self.launch.address, self.launch.sleep.wake[level])

    def saves_for(self, limit: float) -> float:
        return 0.0 if self._keeper is None else self._keeper.saves_for(limit, heard=self.pool.heard)

    async def before_stop(self, deadline: float) -> None:
        """Save its conversations."""
        if self._keeper is not None:
            await self._keeper.save(deadline)

    @property
    def listens(self) -> bool:
        return self._keeper is not None and self._keeper.listens

    @property
    def keeps_slots(self) -> bool:
        return self.launch.slots is not None

    def answered(self, computed: int, cached: int, seconds: float | None) -> None:
        if self._keeper is not None:
            self._keeper.answered(computed, cached, seconds)


def _look_at_group(pid: int) -> tuple[Footprint | None, frozenset[int]]:
    pids = group_of(pid)
    return footprint_of_group(pid, group=pids), pids


async def listens(address: Address) -> bool:
    """Whether anything accepts connections there."""
    with trio.move_on_after(1), contextlib.suppress(OSError):
        await trio.aclose_forcefully(await connect(address))
        return True
    return False


class Health:
    """The health checks of one engine.

    Attributes:
        result: How the last check went, for people.
        answered: It has answered at least once.
    """

    def __init__(self, launch: Launch) -> None:
        self._launch = launch
        self._question = f"GET {launch.health}" if launch.health else "its port"
        self.result = f"{self._question} never answered"
        self.answered = False

    async def answers(self, patience: float) -> bool:
        """Ask once, and wait up to `patience` seconds for the answer. Uses a connection of its own, so that nothing
        else can be in the way.

        Raises:
            OutOfResources: It could not be asked, which is not the engine's fault.
        """
        if isinstance(self._launch.address, UnixAddress) and not self._launch.address.path.exists():
            return False  # cheaper than a refused connection
        try:
            with trio.move_on_after(patience) as limit:
                return await self._ask()
        except OutOfResources as error:
            self.result = f"{self._question} could not be asked: {error}"
            raise
        if limit.cancelled_caught:
            self.result = f"{self._question} got no answer for {format_seconds(Seconds(patience))}"
        return False

    async def _ask(self) -> bool:
        probe = ConnectionPool.to(self._launch.address)
        try:
            if not self._launch.health:
                reach = partial(connect, self._launch.address)
                await trio.aclose_forcefully(await insist(reach, "connect to an engine", patience=POOL_PATIENCE))
                self.answered = True
                return True
            answer = await probe.request("GET", self._launch.health.encode(), [], b"")
        except (Disconnected, EngineBadAnswer, OSError):
            return False
        finally:
            await probe.close()
        self.result = f"{self._question} answered {answer.status}"
        if answer.status == 404:
            self.result += ': set `health` to a path that it serves, or to ""'
        self.answered = self.answered or answer.status == 200
        return answer.status == 200
