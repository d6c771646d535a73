"""What a program and all that it has started are seen to do: output, memory, time on the CPU.

It does not know what the program is for, nor what follows from its silence.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping

import psutil
import trio
from attrs import Factory, frozen

GROWTH = 2**20
"""Bytes of memory that count as growth."""

BUSY_CORES = 0.1
"""Of one core: a program that uses more gets on with something. Answering our questions takes a Python server some
milliseconds each, four times a second, while it loads."""

IDLE_CORES = 0.01
"""Of one core: a program that uses less does nothing. The system counts in steps of 10 ms, and some programs wake up
now and then only to see that there is nothing to do."""


@frozen(kw_only=True)
class Activity:
    """What was seen at one time.

    Attributes:
        at: Trio time.
        output: Something that changes with every byte that it writes.
        loaded: Bytes in RAM, of all its processes; what they share counts for each.
        cpu: Seconds of CPU time, by process; with those of the children that it has waited for.
    """

    at: float
    output: object = None
    loaded: int = 0
    cpu: Mapping[int, float] = Factory(dict)

    def cores(self, before: Activity) -> float:
        """How many cores it used on average since another look; 0 where that can't be told."""
        if self.at <= before.at:
            return 0.0
        used = sum(max(0.0, seconds - before.cpu.get(pid, 0.0)) for pid, seconds in self.cpu.items())
        return used / (self.at - before.at)

    def grown(self, before: Activity) -> bool:
        """Whether its memory changed: loads that read a large file may be silent for minutes."""
        return abs(self.loaded - before.loaded) >= GROWTH


async def look(leader: int, output: object = None) -> Activity:
    """Look at a process and all that it has started, in a thread: some milliseconds. Who ends meanwhile isn't
    counted.
    """
    return await trio.to_thread.run_sync(_look, leader, trio.current_time(), output)


def _look(leader: int, at: float, output: object) -> Activity:
    loaded = 0
    cpu: dict[int, float] = {}
    for pid in tree(leader):
        try:
            process = psutil.Process(pid)
            with process.oneshot():
                loaded += process.memory_info().rss
                cpu[pid] = sum(process.cpu_times()[:4])  # user, system, and those of its dead children
        except psutil.Error:
            continue
    return Activity(at=at, output=output, loaded=loaded, cpu=cpu)


def tree(leader: int) -> set[int]:
    """The processes that descend from one, and those of its session (a double fork leaves its parent, not its
    session).
    """
    found = {leader} | {pid for pid in psutil.pids() if _session(pid) == leader}
    with contextlib.suppress(psutil.Error):
        found |= {child.pid for child in psutil.Process(leader).children(recursive=True)}
    return found


def _session(pid: int) -> int | None:
    try:
        return os.getsid(pid)
    except OSError:  # gone, or none of our business
        return None
