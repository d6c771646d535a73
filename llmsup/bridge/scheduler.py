"""Runs the bridge: once at the start, then on its schedule, or when somebody asks; one run at a time.

It does not know how bridging is done (`builtin`, `script`), nor what becomes of the models then.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import trio

from ..catalog.disk.lmstudio import bridge_target
from ..config.live import LiveConfig
from ..config.schema import Config
from ..errors import Error, ShuttingDown
from ..process.orphans import Orphans
from ..process.watched import Watched
from ..units import Seconds
from .bridging import bridge, try_out
from .run import BridgeRun
from .schedule import Schedule

log = logging.getLogger(__name__)

LOOK_AGAIN = Seconds(60)
"""The longest sleep: trio's clock stands still while a laptop sleeps, and a reload may change the schedule."""


Bridging = Callable[[Config, Orphans, Callable[[], float]], Awaitable[BridgeRun]]
"""Runs once, given what time it is in Unix seconds; what goes wrong is in the result."""


class BridgeScheduler(Watched):
    """The one task that bridges.

    Attributes:
        last: The last run that ended; None before that.
        running: Whether there is one just now.
        over: No more runs will come.
    """

    def __init__(
        self,
        config: LiveConfig,
        orphans: Orphans,
        *,
        rescan: Callable[[], Awaitable[object]],
        told: Callable[..., object],
        wall: Callable[[], float] = time.time,
        jitter: Callable[[], float] = random.random,
        bridge: Bridging = bridge,
    ) -> None:
        """`rescan`: has the catalog look at the disk. `told`: takes an event's kind, and
        what it says by name. `wall`: Unix seconds. `jitter`: from 0 to 1. `bridge`: does one run.
        """
        super().__init__()
        self.last: BridgeRun | None = None
        self.running = False
        self.over = False
        self._config = config
        self._orphans = orphans
        self._rescan = rescan
        self._told = told
        self._wall = wall
        self._jitter = jitter
        self._bridge = bridge
        self._since = wall()  # when it last ran, else when we began
        self._late = jitter()
        self._begun = self._ended = 0
        self._asked = 0  # up to which run somebody asked for one
        self._warned: frozenset[str] = frozenset()

    def __repr__(self) -> str:
        return f"<Keeper {'running' if self.running else 'waiting'}, {self.last or 'no run yet'}>"

    @property
    def schedule(self) -> Schedule:
        """What the config asks for now."""
        return Schedule.of(self._config.now.bridge)

    async def target(self) -> Path | None:
        """Where the links go; None: nowhere, as LM Studio isn't installed."""
        return await trio.to_thread.run_sync(bridge_target, self._config.now.bridge.target)

    @property
    def next_run(self) -> float:
        """When it is time again, in Unix seconds; `inf`: never."""
        return self.schedule.after(self._since, late=self._late)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Go on until cancelled; a run that fails is told, and tried again when it is time."""
        task_status.started()
        try:
            if not self.schedule.off:
                if not self._config.now.bridge.command:
                    # What the catalog reads at a start anyway comes first: it is then known to us, and two readers
                    # of all headers would hold up serving.
                    await self._look_at_the_disk()
                await self._once()
            while True:
                await self._until_it_is_time()
                await self._once()
        finally:
            self.over = True
            self.notify()

    async def run_now(self) -> BridgeRun:
        """Run once more, after the run that goes on if there is one: that may have looked before what the caller
        means was there. Returns what it came to. Leaving doesn't end it.

        Raises:
            ShuttingDown: It is too late for that.
        """
        number = self._begun + 1
        self._asked = max(self._asked, number)
        self.notify()
        await self.until(lambda: self._ended >= number or self.over)
        if self.last is None or self._ended < number:
            raise ShuttingDown("llmsup is shutting down.")
        return self.last

    async def dry_run(self) -> BridgeRun:
        """What a run would do now.

        Raises:
            BadRequest: A program of the user's does it, which can't be asked.
            Error: Even that can't be told.
        """
        return await try_out(self._config.now, self._wall)

    async def _until_it_is_time(self) -> None:
        while self._asked <= self._begun:
            now = self._wall()
            self._since = min(self._since, now)  # somebody set the clock back
            left = self.next_run - now
            if left <= 0:
                return
            with trio.move_on_after(min(left, LOOK_AGAIN)):
                await self.until(lambda: self._asked > self._begun)

    async def _once(self) -> None:
        self._begun += 1
        self._since, self._late = self._wall(), self._jitter()
        self.running = True
        self.notify()
        run = await self._bridge(self._config.now, self._orphans, self._wall)
        self._log(run)
        await self._look_at_the_disk()
        self.last, self.running, self._ended = run, False, self._begun
        self.notify()
        self._told("bridge", **run.told())

    async def _look_at_the_disk(self) -> None:
        try:
            await self._rescan()
        except ShuttingDown:
            pass
        except Error as error:
            log.warning("the models were not looked for after a run of the bridge: %s", error)

    def _log(self, run: BridgeRun) -> None:
        (log.warning if run.error else log.info)("bridge: %s", run)
        problems = frozenset(run.problems)
        for problem in sorted(problems - self._warned):  # once, not every hour
            log.warning("bridge: %s", problem)
        self._warned = problems
