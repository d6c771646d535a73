"""llmsup's side of the guard: keeps one running and tells it what we started.

It does not know what the process groups are.
"""

from __future__ import annotations

import contextlib
import logging
import subprocess
import sys
from pathlib import Path

import trio

from . import guard

log = logging.getLogger(__name__)


class Orphans:
    """The process groups that must not outlive us.

    Attributes:
        directory: Where engines put their sockets; the guard removes it at the very end.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._groups: set[int] = set()
        self._process: trio.Process | None = None
        self._telling = trio.Lock()  # several models start and stop at the same time

    @property
    def guard_pid(self) -> int | None:
        """The guard's process, while there is one."""
        return None if self._process is None else self._process.pid

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Keep a guard running; a new one learns every group again. Started once the first one runs."""
        try:
            while True:
                await self._start()
                task_status.started()
                task_status = trio.TASK_STATUS_IGNORED
                assert self._process is not None
                code = await self._process.wait()
                log.warning("the orphan guard ended with %s: starting another", code)
        finally:
            # Closing the pipe is the message: the guard ends what is left (nothing, after an orderly stop) and exits.
            if self._process is not None and self._process.stdin is not None:
                with trio.CancelScope(shield=True, deadline=trio.current_time() + guard.GRACE + 1):
                    await trio.aclose_forcefully(self._process.stdin)
                    await self._process.wait()

    async def _start(self) -> None:
        self._process = await trio.lowlevel.open_process(
            [sys.executable, "-I", "-S", guard.__file__, str(self.directory)],
            stdin=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C in a terminal must not reach it
        )
        for group in self._groups:
            await self._tell(f"+{group}\n")

    async def add(self, group: int) -> None:
        """Register a process group. When this returns, the guard will end it even if we are killed now."""
        self._groups.add(group)
        await self._tell(f"+{group}\n")

    async def remove(self, group: int) -> None:
        """Forget a process group that has ended."""
        self._groups.discard(group)
        await self._tell(f"-{group}\n")

    async def _tell(self, line: str) -> None:
        if self._process is None or self._process.stdin is None:
            return  # not started yet; `_start` tells it all
        # A line of a few bytes always fits the pipe. A guard that died is replaced by `run`, with all groups.
        with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            async with self._telling:
                await self._process.stdin.send_all(line.encode())
