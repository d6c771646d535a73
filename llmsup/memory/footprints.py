"""What a running engine costs in memory.

It does not know which model the process serves.
"""

from __future__ import annotations

import sys

import psutil

from ..units import Bytes


def group_footprint(pid: int) -> Bytes | None:
    """The memory of a process and its descendants, in bytes; None if it can't be read.

    Linux: the sum of PSS, which splits pages that several engines map (two engines on one file each show all of it
    as RSS). Elsewhere: RSS, the only thing psutil can read of another process there.
    """
    try:
        leader = psutil.Process(pid)
        return Bytes(sum(map(_cost, (leader, *leader.children(recursive=True)))))
    except psutil.Error:
        return None


def _cost(process: psutil.Process) -> int:
    if sys.platform == "linux":
        return int(process.memory_full_info().pss)
    return int(process.memory_info().rss)
