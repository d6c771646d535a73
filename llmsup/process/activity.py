"""What a program and its descendants can be observed to do: output, memory, CPU time."""

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
"""Share of one core: a program that uses more is making progress. Answering our health probes takes a Python server
some milliseconds each, four times a second, while it loads."""

IDLE_CORES = 0.01
"""Share of one core: a program that uses less is idle. The system counts in steps of 10 ms, and some programs wake up
now and then only to find nothing to do."""


@frozen(kw_only=True)
class ActivitySample:
    """One observation.

    Attributes:
        at: Trio time.
        output: A value that changes with every byte that the program writes.
        loaded: Bytes in RAM of all its processes; shared pages count once for each.
        cpu: Seconds of CPU time by process, including children that it has reaped.
    """

    at: float
    output: object = None
    loaded: int = 0
    cpu: Mapping[int, float] = Factory(dict)

    def cores(self, before: ActivitySample) -> float:
        """How many cores it used on average since an earlier observation; 0 where that is unknown."""
        if self.at <= before.at:
            return 0.0
        used = sum(max(0.0, seconds - before.cpu.get(pid, 0.0)) for pid, seconds in self.cpu.items())
        return used / (self.at - before.at)

    def grown(self, before: ActivitySample) -> bool:
        """Whether its memory changed: a load that reads a large file may print nothing for minutes."""
        return abs(self.loaded - before.loaded) >= GROWTH


async def look(leader: int, output: object = None) -> ActivitySample:
    """Observe a process and its descendants, in a thread: some milliseconds. A process that ends meanwhile isn't
    counted.
    """
    return await trio.to_thread.run_sync(_look, leader, trio.current_time(), output)


def _look(leader: int, at: float, output: object) -> ActivitySample:
    loaded = 0
    cpu: dict[int, float] = {}
    for pid in tree(leader):
        try:
            process = psutil.Process(pid)
            with process.oneshot():
                loaded += process.memory_info().rss
                cpu[pid] = sum(process.cpu_times()[:4])  # user, system, and both of its dead children
        except psutil.Error:
            continue
    return ActivitySample(at=at, output=output, loaded=loaded, cpu=cpu)


def tree(leader: int) -> set[int]:
    """A process's descendants and the members of its session: a double fork loses the parent, not the session."""
    found = {leader} | {pid for pid in psutil.pids() if _session(pid) == leader}
    with contextlib.suppress(psutil.Error):
        found |= {child.pid for child in psutil.Process(leader).children(recursive=True)}
    return found


def _session(pid: int) -> int | None:
    try:
        return os.getsid(pid)
    except OSError:  # gone, or not ours to read
        return None
