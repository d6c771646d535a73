"""Gets llmsup out of the way and back: no request is taken, models drain and are unloaded; later all is as it was.

It knows that somebody asked for it, or that a program runs; which programs those are is watched in `yielding`.
"""

from __future__ import annotations

import logging
import math
import time
from contextlib import suppress

import trio

from ..errors import ShuttingDown, StillRunning
from ..process.watched import Watched
from ..units import NEVER, Bytes, Seconds, format_seconds
from .fleet import Fleet
from .pause import Pause

log = logging.getLogger(__name__)

LOOK_AGAIN = Seconds(30)
"""The longest sleep: trio's clock stands still while a laptop sleeps, and an hour is an hour on the clock."""


class Pausing(Watched):
    """The one that pauses the fleet, for whoever asks and for programs, and ends that."""

    def __init__(self, fleet: Fleet) -> None:
        super().__init__()
        self._fleet = fleet
        self._asked: Pause | None = None
        self._yielding: Pause | None = None
        self._resumed_over = ""  # a program that llmsup was resumed in spite of

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Carry out what is wanted, until cancelled."""
        task_status.started()
        while True:
            await self.until(lambda: self._fleet.paused)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._unload)
                await self._until_over()
                nursery.cancel_scope.cancel()  # those that are on their way out go on, and are loaded again if wanted

    async def pause(self, seconds: Seconds = NEVER, *, force: bool = False) -> Bytes:
        """Pause for so long, or until `resume`; returns, once no model is loaded, the bytes that they used.

        Args:
            force: Don't let requests in flight finish.

        Raises:
            ShuttingDown: llmsup stops.
            StillRunning: The engines are gone, but some process that they started is not.
        """
        if self._fleet.closing:
            raise ShuttingDown("llmsup is shutting down.")
        now = time.time()
        self._asked = pause = Pause(now, now + seconds if seconds != NEVER else math.inf)
        self._settle()
        return await self._fleet.unload_all(pause.why_unloaded, force=force)

    def resume(self) -> Pause | None:
        """Serve again, even while a program runs that llmsup yields to; returns what that ended, None if nothing."""
        before = self._fleet.paused
        if self._yielding is not None:
            self._resumed_over = self._yielding.program
        self._asked = self._yielding = None
        self._settle()
        return before

    def runs(self, program: str) -> None:
        """Such a program runs now; "" if none does."""
        if program != self._resumed_over:
            self._resumed_over = ""
        if program and program == self._resumed_over:
            return
        if program != (self._yielding.program if self._yielding else ""):
            self._yielding = Pause(time.time(), program=program) if program else None
            self._settle()

    async def _unload(self) -> None:
        if (pause := self._fleet.paused) is not None:
            with suppress(StillRunning):  # the log has it already
                await self._fleet.unload_all(pause.why_unloaded)

    async def _until_over(self) -> None:
        while self._fleet.paused is not None:
            left = self._asked.left if self._asked is not None else NEVER
            if not left:
                self._asked = None
                self._settle()
                continue
            with trio.move_on_after(min(left, LOOK_AGAIN)):
                await self.change()

    def _settle(self) -> None:
        """Put into force what is wanted now. What somebody asked for goes first: it has an end of its own."""
        before, now = self._fleet.paused, self._asked or self._yielding
        if now == before:
            return
        if now is not None:
            self._fleet.pause(now)
            log.info("%s", now.reason)
        else:
            assert before is not None
            log.info("resumed after %s", format_seconds(time.time() - before.since))
            self._fleet.resume()
        until = None if now is None or math.isinf(now.until) else round(now.until, 3)
        reason = "requests are served again" if now is None else now.reason
        self._fleet.events.write("pause", paused=now is not None, reason=reason, until=until)
        self.notify()
