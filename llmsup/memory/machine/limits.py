"""How much memory all models together may take: the ceiling and the reserve."""

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
    """The config's `limit`; if that is "auto", all memory less the reserve, or what the GPU may wire if that is less.

    Args:
        total: How much memory there is, in bytes; None: this machine's, or our control group's limit.
        working_set: What a GPU that shares the host's memory may wire of it, in bytes; None: unknown, or no such GPU.
        own_group: Whether the total is the limit of our own control group; without a total, this is looked up too.
    """
    if settings.limit != "auto":
        return settings.limit
    if total is None:
        total, own_group = machine_total(), has_own_group()
    kept = Bytes(max(total - reserve(settings, total, own_group=own_group), 0))
    return kept if working_set is None else min(kept, working_set)


def reserve(settings: Memory, total: Bytes, *, own_group: bool = False) -> Bytes:
    """What is kept free for everything else, in bytes.

    "auto" is 8 % of the memory, at least 4 GiB and at most 12 GiB. In our own control group, where nothing else runs,
    it is 5 %, at least 64 MiB. It is never more than half: less 4 GiB, a machine with under 8 could hardly load a
    model.
    """
    if settings.reserve != "auto":
        return settings.reserve
    if own_group:
        return Bytes(min(max(math.ceil(total * _SHARE_OF_OWN), _LEAST_OF_OWN), total // 2))
    return Bytes(min(max(round(total * _SHARE), _LEAST), _MOST, total // 2))


def has_own_group() -> bool:
    """Whether our own control group limits us: a container, a systemd unit with a limit."""
    if sys.platform != "linux":
        return False
    groups = own_groups(read_file)
    own = own_limit(groups, bounds(groups, read_file))
    return own is not None and own < psutil.virtual_memory().total


def machine_total() -> Bytes:
    """This machine's memory in bytes, or less if a control group limits us (a container, a systemd unit)."""
    total = Bytes(psutil.virtual_memory().total)
    if sys.platform != "linux":
        return total
    limit = cgroup_limit(read_file)
    return total if limit is None else min(total, limit)
