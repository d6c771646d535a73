"""llmsup's side of the guard: keeps one running, whatever happens to it, and sends it its messages.

What it is sent is decided in `orphans`. Nothing that goes wrong here may end llmsup.
"""

from __future__ import annotations

import contextlib
import logging
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

import psutil
import trio

from ..units import Seconds
from . import guard
from .inheritance import Inheritance
from .shortage import is_ours, note
from .watched import Watched

log = logging.getLogger(__name__)

PATIENCE = Seconds(5)
"""Seconds that starting a program waits for a guard while there is none."""

FIRST_PAUSE, LONGEST_PAUSE = 0.05, 30.0
"""Seconds before a guard that ended early is restarted: the first and the longest delay. One that lived longer than the
longest starts over with the first."""

LAST_WORK = guard.GRACE + guard.SWEEP + 1
"""Seconds that the guard gets to end what an orderly stop has left over: usually nothing."""

FOLDERS = (Path(guard.__file__).parents[2], Path(psutil.__file__).parents[1])
"""Where the guard finds `llmsup` and psutil."""


class GuardKeeper(Watched):
    """Starts the guard, restarts it and talks to it.

    Attributes:
        pid: The guard's, while there is one that has been told everything.
    """

    def __init__(self, everything: Callable[[], Iterable[str]], inheritance: Inheritance, python: str) -> None:
        """`everything`: all lines that a new guard must be told; `python`: the interpreter that runs it."""
        super().__init__()
        self._everything = everything
        self._inheritance = inheritance
        self._python = python or sys.executable
        self._process: trio.Process | None = None
        # One message at a time: no line may overtake the initial lines of a new guard, which would then be outdated.
        self._telling = trio.Lock()
        self._lacked = False
        self._told = False

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process is not None and self._told else None

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Keep a guard running; a new one is told everything again. Reports started after the first attempt."""
        pause = FIRST_PAUSE
        try:
            while True:
                began = trio.current_time()
                how = await self._once(task_status)
                task_status = trio.TASK_STATUS_IGNORED
                if trio.current_time() - began > LONGEST_PAUSE:
                    pause = FIRST_PAUSE
                log.warning("%s: starting another", how)
                await trio.sleep(pause)
                pause = min(pause * 2, LONGEST_PAUSE)
        finally:
            # Closing the pipe is the signal: the guard ends what is left (nothing, after an orderly stop) and exits.
            if self._process is not None and self._process.stdin is not None:
                with trio.CancelScope(shield=True, deadline=trio.current_time() + LAST_WORK):
                    await trio.aclose_forcefully(self._process.stdin)
                    await self._process.wait()

    async def _once(self, task_status: trio.TaskStatus[None]) -> str:
        """Run one guard until it ends; returns how it ended."""
        try:
            process = await trio.lowlevel.open_process(
                [self._python, "-I", "-S", guard.__file__, *map(str, FOLDERS)],
                stdin=subprocess.PIPE,
                env=self._inheritance.of_guard(),
                start_new_session=True,  # Ctrl-C in a terminal must not reach it
            )
        except (OSError, RuntimeError) as error:
            task_status.started()
            if is_ours(error):
                note(error, "start its orphan guard")
            return f"the orphan guard can't be started ({error})"
        self._process = process
        await self._tell(None)
        self._told = True
        self._lacked = False
        self.notify()
        task_status.started()
        code = await process.wait()
        self._process, self._told = None, False
        if process.stdin is not None:
            await trio.aclose_forcefully(process.stdin)
        return f"the orphan guard ended with {code}"

    async def tell(self, line: str) -> None:
        """Send a line to the guard, if there is one; else the next guard gets it with everything else."""
        await self._tell(line)

    async def insist(self, line: str) -> None:
        """The same, but wait a while for a guard if there is none; if none comes, that is logged."""
        with trio.move_on_after(PATIENCE):
            await self.until(lambda: self._process is not None or self._lacked)
        if self._process is None and not self._lacked:
            self._lacked = True
            log.error("there is no orphan guard: if llmsup is killed now, its engines keep running")
        await self._tell(line)

    async def _tell(self, line: str | None) -> None:
        async with self._telling:
            process = self._process
            if process is None or process.stdin is None:
                return
            text = "".join(self._everything()) if line is None else line
            # A few bytes always fit into the pipe. A guard that died is replaced, and the next one is told everything.
            with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError, OSError):
                await process.stdin.send_all(text.encode("utf-8", "surrogateescape"))
