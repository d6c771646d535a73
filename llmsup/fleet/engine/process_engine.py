"""A real engine: a child process, its log, its connections and its health checks.

When it should run is up to `fleet.model`.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from typing import Any

import trio

from ...engines.address import Address, UnixAddress
from ...engines.dial import connect
from ...engines.launch import Launch
from ...engines.pool import Pool
from ...errors import OutOfResources
from ...memory.cost.meter import Meter
from ...memory.cost.process import footprint_of_group
from ...process.activity import Activity, look
from ...process.child import Child
from ...process.logbook import LogBook
from ...process.shortage import is_ours, note
from .health import PATIENCE, Health

FIRST_POLL = 0.01
"""Seconds between the first readiness checks; a warm start must not wait for a tick."""

SLOWEST_POLL = 0.25
"""Seconds between the last ones; in between, a twentieth of the time it has taken so far."""

_STATE = "cmd_child_to_router:state:"


class RunningEngine:
    """The `model.run.Engine` that is a process."""

    def __init__(self, launch: Launch, child: Child, book: LogBook) -> None:
        self.launch = launch
        self.pid = child.pid
        self.pool = Pool.to(launch.address)
        self.meter = Meter()
        self.progress: float | None = None
        self.told: Mapping[str, Any] = {}
        self._child = child
        self._book = book
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
                self.told = dict(said["payload"])
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
    def unready_because(self) -> str:
        return self._health.said

    def _signs(self) -> tuple[int, int]:
        return self._book.written, self._reports

    async def activity(self) -> Activity:
        try:
            return await look(self.pid, (self._child.received, self._reports))
        except (OSError, RuntimeError) as error:
            if not is_ours(error):
                raise
            note(error, "look at what an engine does")
            return Activity(at=trio.current_time(), output=object())  # not being able to look doesn't mean silence

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
        return code

    async def look_behind(self) -> None:
        """Find out what is left of the engine after its end, and list it in `left`, for people."""
        self.left = self._child.left
        # What runs elsewhere (a container, another user) doesn't show as a process, but it may still be listening.
        if self._health.answered and await listens(self.launch.address):
            self.left = (*self.left, f"what answers at {self.launch.address}")

    async def measure(self) -> None:
        try:
            footprint = await trio.to_thread.run_sync(footprint_of_group, self.pid)
        except (OSError, RuntimeError) as error:
            if not is_ours(error):
                raise
            note(error, "measure an engine")
            return
        if footprint:
            self.meter.saw(footprint)

    async def after_ready(self) -> None:
        """Nothing to prepare."""

    async def before_stop(self, deadline: float) -> None:
        """Nothing to prepare."""


async def listens(address: Address) -> bool:
    """Whether anything accepts connections there."""
    with trio.move_on_after(1), contextlib.suppress(OSError):
        await trio.aclose_forcefully(await connect(address))
        return True
    return False
