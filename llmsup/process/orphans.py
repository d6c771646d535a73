"""The processes that we started and that must not outlive us: process groups, and what has left them.

Keeping the guard itself alive is `guarding`'s part.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import psutil
import trio
from attrs import Factory, define

from . import subreaper
from .guarding import GuardKeeper
from .inheritance import Inheritance
from .kin import Row, describe, lives, members, reap, tell
from .marks import marks_of
from .shortage import is_ours, note

log = logging.getLogger(__name__)

LOOK_EVERY = 5.0
"""Seconds between scans for processes that leave their group: descent is only visible while the parents live."""

CERTAIN = 10.0
"""Seconds after which we reap a zombie that may be ours and that nothing else has reaped."""


@define(eq=False)
class ProcessGroup:
    """A process group that we started.

    Attributes:
        mark: The mark of its members.
        began: When its leader started, in Unix seconds.
        strays: Processes that were seen to come from it and leave it.
    """

    mark: str
    began: float
    strays: dict[int, psutil.Process] = Factory(dict)


class Orphans:
    """The processes that must not outlive us.

    Attributes:
        inheritance: Builds the environment of what we start, with its mark.
    """

    def __init__(self, directory: Path, inheritance: Inheritance | None = None, *, python: str = "") -> None:
        """`directory`: where engines put their sockets, which the guard removes at the very end; `python`: the
        interpreter for the guard; "" for our own.
        """
        self.inheritance = inheritance or Inheritance()
        self._directories = [directory]
        self._groups: dict[int, ProcessGroup] = {}
        self._unclaimed: dict[int, psutil.Process] = {}  # adopted, of unknown origin
        self._suspects: dict[int, float] = {}  # zombies that may be ours, and since when (trio time)
        self._before: frozenset[int] = frozenset()  # children that existed before `run`
        self._guarding = GuardKeeper(self._lines, self.inheritance, python)

    @property
    def guard_pid(self) -> int | None:
        """The guard's process, while there is one."""
        return self._guarding.pid

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Keep a guard running and look for strays, until cancelled. Reports started once the guard has started."""
        self._before = frozenset(child.pid for child, _ in await self._descendants())
        async with trio.open_nursery() as nursery:
            await nursery.start(self._guarding.run)
            task_status.started()
            while True:
                await trio.sleep(LOOK_EVERY)
                if self._groups or subreaper.adopts():  # adopted processes may end after the last group
                    await self.look()

    async def add(self, group: int, mark: str = "") -> None:
        """Register a process group whose members have this mark. Once this returns, the guard ends it even if we are
        killed right away.
        """
        began = 0.0
        with contextlib.suppress(psutil.Error):
            began = psutil.Process(group).create_time()
        self._groups[group] = ProcessGroup(mark, began)
        await self._guarding.insist(f"+{group}\n")

    async def remove(self, group: int) -> None:
        """Forget a process group that has ended, and its strays. A process that may also be another group's ends with
        the last of the groups that it may belong to.
        """
        if self._groups.pop(group, None) is not None:
            forsaken = [process for process in self._unclaimed.values() if not self._may_be_of(process)]
            tell(forsaken, signal.SIGKILL)
        await self._guarding.tell(f"-{group}\n")

    async def use(self, directory: Path) -> None:
        """Use this directory for sockets from now on; the guard removes it as well."""
        self._directories.append(directory)
        await self._guarding.tell(f"@{directory}\n")

    def strays(self, group: int) -> list[psutil.Process]:
        """The living processes that were seen to come from a group and leave it."""
        ours = self._groups.get(group)
        return [process for process in ours.strays.values() if lives(process)] if ours else []

    def doubtful(self, group: int) -> list[psutil.Process]:
        """The living processes that may come from a group, or from another one."""
        ours = self._groups.get(group)
        return [process for process in self._unclaimed.values() if ours in self._may_be_of(process) and lives(process)]

    def _lines(self) -> Iterator[str]:
        yield f"#{self.inheritance.token}\n"
        yield from (f"@{directory}\n" for directory in self._directories)
        yield from (f"+{group}\n" for group in sorted(self._groups))
        for strays in (self._unclaimed, *self._all_strays()):
            yield from (f"={pid}\n" for pid, process in strays.items() if lives(process))

    def _all_strays(self) -> list[dict[int, psutil.Process]]:
        return [group.strays for group in self._groups.values()]

    # Looking...

    async def look(self) -> None:
        """Look for processes that have left their group, and report them to the guard."""
        descendants = await self._descendants()
        rows = [row for _, row in descendants]
        found: list[int] = []
        for group, of_it in self._groups.items():
            strays = of_it.strays
            for pid in [pid for pid, process in strays.items() if not lives(process)]:
                del strays[pid]
            there = members(rows, (group,), known=strays)
            for process, row in descendants:
                if row.pid in there and row.group != group and row.pid not in strays:
                    strays[row.pid] = process
                    found.append(row.pid)
        if subreaper.adopts():
            found += self._adopted(descendants)
        for pid in found:
            await self._guarding.tell(f"={pid}\n")

    def _adopted(self, descendants: list[tuple[psutil.Process, Row]]) -> list[int]:
        """Record children that we didn't start, and reap those that have ended."""
        self._unclaimed = {pid: process for pid, process in self._unclaimed.items() if lives(process)}
        claimed = {pid for strays in self._all_strays() for pid in strays}
        not_theirs = {*self._groups, self.guard_pid, *self._before}
        seen, self._suspects = self._suspects, {}
        found = []
        for process, row in descendants:
            if row.parent != os.getpid() or row.pid in not_theirs:
                continue
            if not lives(process):
                # What we start ourselves has its own session or ours, and a task that waits for it.
                adopted = row.pid in claimed or row.session not in (row.pid, os.getsid(0))
                since = self._suspects[row.pid] = seen.get(row.pid, trio.current_time())
                if adopted or trio.current_time() - since >= CERTAIN:
                    reap(row.pid)
            elif row.pid not in claimed and (strays := self._whose(process)) is not None:
                if strays is self._unclaimed and row.pid in strays:
                    continue
                self._unclaimed.pop(row.pid, None)
                strays[row.pid] = process
                found.append(row.pid)
                until = "the last that may have started it" if strays is self._unclaimed else "it"
                who = describe(process)
                log.warning("process %s has left the engine that started it; it will end with %s", who, until)
        return found

    def _whose(self, process: psutil.Process) -> dict[int, psutil.Process] | None:
        """The strays that an adopted process belongs to; None if we started it ourselves."""
        marks = [mark for mark in marks_of(process) if mark.startswith(f"{self.inheritance.token}.")]
        for group in self._groups.values():
            if group.mark in marks:
                return group.strays
        if marks or _begins(process):
            return None
        # It has shed its mark. Its origin is only clear if exactly one group existed before it did.
        may_be_of = self._may_be_of(process)
        return may_be_of[0].strays if len(may_be_of) == 1 else self._unclaimed

    def _may_be_of(self, process: psutil.Process) -> list[ProcessGroup]:
        with contextlib.suppress(psutil.Error):
            return [group for group in self._groups.values() if group.began <= process.create_time()]
        return []

    async def _descendants(self) -> list[tuple[psutil.Process, Row]]:
        try:
            return await trio.to_thread.run_sync(_descendants)
        except (OSError, RuntimeError, psutil.Error) as error:
            if is_ours(error):
                note(error, "look at its engines' processes")
            return []


def _descendants() -> list[tuple[psutil.Process, Row]]:
    """All our descendants, zombies included; some milliseconds: not for the event loop."""
    found = []
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error, ProcessLookupError, PermissionError):
            pid = process.pid
            found.append((process, Row(pid, process.ppid(), os.getpgid(pid), os.getsid(pid))))
    return found


def _begins(process: psutil.Process) -> bool:
    """Whether it is a child that we forked a moment ago and that has not exec'd yet, or is about to: it has no mark in
    either case.
    """
    try:
        return process.cmdline() in ([], psutil.Process().cmdline())
    except (psutil.Error, OSError):
        return True
