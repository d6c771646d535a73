"""How much memory all models together may take.

It does not know what is in use.
"""

from __future__ import annotations

import sys

import psutil

from ..config.schema import GiB, Memory
from ..units import Bytes
from .readings.cgroup import cgroup_limit
from .readings.files import read_file

_SHARE = 0.08
_LEAST, _MOST = 4 * GiB, 12 * GiB


def ceiling(settings: Memory, total: Bytes | None = None, working_set: Bytes | None = None) -> Bytes:
    """The `limit` of the config; if that is "auto", all memory less what is kept for everything else, or what the GPU
    may have of it if that is less.

    Args:
        total: How much memory there is; None: this machine's, or what our control group may have of it.
        working_set: What a GPU that shares the host's memory may wire of it; None: unknown, or there is no such GPU.
    """
    if settings.limit != "auto":
        return settings.limit
    total = machine_total() if total is None else total
    kept = Bytes(max(total - reserve(settings, total), 0))
    return kept if working_set is None else min(kept, working_set)


def reserve(settings: Memory, total: Bytes) -> Bytes:
    """What is left free for everything else; "auto" is 8 % of the memory, at least 4 GiB and at most 12 GiB; of less
    than 8 GiB, as a container may have, it is half: with 4 GiB taken off, nothing would ever fit there.
    """
    if settings.reserve != "auto":
        return settings.reserve
    return Bytes(min(max(round(total * _SHARE), _LEAST), _MOST, total // 2))


def machine_total() -> Bytes:
    """This machine's memory, or less if a control group bounds us (a container, a systemd unit)."""
    total = Bytes(psutil.virtual_memory().total)
    if sys.platform != "linux":
        return total
    limit = cgroup_limit(read_file)
    return total if limit is None else min(total, limit)
