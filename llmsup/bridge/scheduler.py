"""Runs the bridge: once at the start, then on its schedule or on request; one run at a time.

What a run does is in `bridging`.
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
from .record import BridgeRun
from .schedule import Schedule

log = logging.getLogger(__name__)

LOOK_AGAIN = Seconds(60)
"""The longest sleep: trio's clock stands still while a laptop sleeps, and a reload may change the schedule."""


Bridging = Callable[[Config, Orphans, Callable[[], float]], Awaitable[BridgeRun]]
"""Runs once; the clock gives Unix seconds. What went wrong is in the result."""


class BridgeScheduler(Watched):
    """The one task that bridges.

    Attributes:
        last: The last completed run; None before the first one has ended.
        running: Whether a run is in progress.
        over: There will be no more runs.
    """

    def __init__(
        self,
        config: LiveConfig,
        orphans: Orphans,
        *,
        rescan: Callable[[], Awaitable[object]],
        announce: Callable[..., object],
        wall: Callable[[], float] = time.time,
        jitter: Callable[[], float] = random.random,
        bridge: Bridging = bridge,
    ) -> None:
        """`rescan`: makes the catalog scan the disk. `announce`: takes an event's kind and its data by keyword. `wall`:
        Unix seconds. `jitter`: from 0 to 1. `bridge`: does one run.
        """
        super().__init__()
        self.last: BridgeRun | None = None
        self.running = False
        self.over = False
        self._config = config
        self._orphans = orphans
        self._rescan = rescan
        self._announce = announce
        self._wall = wall
        self._jitter = jitter
        self._bridge = bridge
        self._since = wall()  # when it last ran, else when we started
        self._late = jitter()
        self._begun = self._ended = 0
        self._asked = 0  # the highest run number that was requested
        self._warned: frozenset[str] = frozenset()

    def __repr__(self) -> str:
        return f"<BridgeScheduler {'running' if self.running else 'waiting'}, {self.last or 'no run yet'}>"

    @property
    def schedule(self) -> Schedule:
        """The schedule that the current config asks for."""
        return Schedule.of(self._config.now.bridge)

    async def target(self) -> Path | None:
        """Where the links go; None if LM Studio isn't installed."""
        return await trio.to_thread.run_sync(bridge_target, self._config.now.bridge.target)

    @property
    def next_run(self) -> float:
        """When the next run is due, in Unix seconds; `inf`: never."""
        return self.schedule.after(self._since, late=self._late)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Run until cancelled; a run that fails is reported, and the next one comes on schedule."""
        task_status.started()
        try:
            if not self.schedule.off:
                if not self._config.now.bridge.command:
                    # The catalog's first scan comes first: we then find all headers in its cache, and two tasks
                    # reading every header at once would hold up serving.
                    await self._look_at_the_disk()
                await self._once()
            while True:
                await self._until_it_is_time()
                await self._once()
        finally:
            self.over = True
            self.notify()

    async def run_now(self) -> BridgeRun:
        """Run once more and return the result; cancelling the call doesn't cancel the run.

        If a run is in progress, another one follows it: the first may have read the store before the caller's change.

        Raises:
            ShuttingDown: llmsup is stopping.
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
            BadRequest: The bridge is a program of the user's, which has no dry run.
            Error: The store or the folder can't be read.
        """
        return await try_out(self._config.now, self._wall)

    async def _until_it_is_time(self) -> None:
        while self._asked <= self._begun:
            now = self._wall()
            self._since = min(self._since, now)  # the clock was set back
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
        self._announce("bridge", **run.as_json())

    async def _look_at_the_disk(self) -> None:
        try:
            await self._rescan()
        except ShuttingDown:
            pass
        except Error as error:
            log.warning("the models could not be rescanned after a run of the bridge: %s", error)

    def _log(self, run: BridgeRun) -> None:
        (log.warning if run.error else log.info)("bridge: %s", run)
        problems = frozenset(run.problems)
        for problem in sorted(problems - self._warned):  # once, not every hour
            log.warning("bridge: %s", problem)
        self._warned = problems
