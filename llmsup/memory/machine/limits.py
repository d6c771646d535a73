"""How much memory all models together may take.

It does not know what is in use.
"""

from __future__ import annotations

import math
import sys

import psutil

from ...config.schema import GiB, Memory, MiB
from ...units import Bytes
from .cgroup import bounds, cgroup_limit, own_groups, own_limit
from .files import read_file

_SHARE = 0.08
_LEAST, _MOST = 4 * GiB, 12 * GiB
_SHARE_OF_OWN, _LEAST_OF_OWN = 0.05, 64 * MiB


def ceiling(
    settings: Memory, total: Bytes | None = None, working_set: Bytes | None = None, *, own_group: bool = False
) -> Bytes:
    """The `limit` of the config; if that is "auto", all memory less what is kept for everything else, or what the GPU
    may have of it if that is less.

    Args:
        total: How much memory there is; None: this machine's, or what our control group may have of it.
        working_set: What a GPU that shares the host's memory may wire of it; None: unknown, or there is no such GPU.
        own_group: The total is what a control group of our own may have; with no total that is looked up, too.
    """
    if settings.limit != "auto":
        return settings.limit
    if total is None:
        total, own_group = machine_total(), has_own_group()
    kept = Bytes(max(total - reserve(settings, total, own_group=own_group), 0))
    return kept if working_set is None else min(kept, working_set)


def reserve(settings: Memory, total: Bytes, *, own_group: bool = False) -> Bytes:
    """What is left free for everything else.

    "auto" is 8 % of the memory, at least 4 GiB and at most 12 GiB. In a control group of our own, where nothing else
    lives, it is 5 %, at least 64 MiB. It is never more than half: with 4 GiB taken off, nothing would ever fit on a
    machine that has less than 8.
    """
    if settings.reserve != "auto":
        return settings.reserve
    if own_group:
        return Bytes(min(max(math.ceil(total * _SHARE_OF_OWN), _LEAST_OF_OWN), total // 2))
    return Bytes(min(max(round(total * _SHARE), _LEAST), _MOST, total // 2))


def has_own_group() -> bool:
    """Whether a control group of our own bounds us: a container, a systemd unit with a limit."""
    if sys.platform != "linux":
        return False
    groups = own_groups(read_file)
    own = own_limit(groups, bounds(groups, read_file))
    return own is not None and own < psutil.virtual_memory().total


def machine_total() -> Bytes:
    """This machine's memory, or less if a control group bounds us (a container, a systemd unit)."""
    total = Bytes(psutil.virtual_memory().total)
    if sys.platform != "linux":
        return total
    limit = cgroup_limit(read_file)
    return total if limit is None else min(total, limit)
