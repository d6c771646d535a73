"""How much memory all models together may take.

It does not know what is in use.

The GPU's working set, which on a Mac is less than its memory, is not asked for yet.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath

import psutil

from ..config.schema import GiB, Memory
from ..units import Bytes
from .estimate import Estimate

_SHARE = 0.08
_LEAST, _MOST = 4 * GiB, 12 * GiB
_CGROUPS = Path("/sys/fs/cgroup")
_LONGEST = 64 * 1024


def ceiling(settings: Memory, total: Bytes | None = None) -> Bytes:
    """The `limit` of the config; if that is "auto", all memory less what is kept for everything else.

    Args:
        total: How much memory there is; None: this machine's, or what our control group may have of it.
    """
    if settings.limit != "auto":
        return settings.limit
    total = machine_total() if total is None else total
    return Bytes(max(total - reserve(settings, total), 0))


def reserve(settings: Memory, total: Bytes) -> Bytes:
    """What is left free for everything else; "auto" is 8 % of the memory, at least 4 GiB and at most 12 GiB."""
    if settings.reserve != "auto":
        return settings.reserve
    return Bytes(min(max(round(total * _SHARE), _LEAST), _MOST))


def fits(estimate: Estimate, ceiling: Bytes) -> bool:
    """Whether the model fits when it is alone."""
    return estimate.total <= ceiling


def machine_total() -> Bytes:
    """This machine's memory, or less if a control group bounds us (a container, a systemd unit)."""
    total = Bytes(psutil.virtual_memory().total)
    if sys.platform != "linux":
        return total
    limit = cgroup_limit(_text)
    return total if limit is None else min(total, limit)


def cgroup_limit(read: Callable[[Path], str]) -> Bytes | None:
    """The least that our control group or one above it may have; None: no bound, or not version 2.

    Linux Documentation/admin-guide/cgroup-v2.rst: `memory.max` is a number of bytes or "max", and each group is bound
    by those above it too.

    Args:
        read: Gives a file's text; "" if it can't be read.
    """
    limits = [int(text) for file in _limit_files(read) if re.fullmatch(r"[0-9]{1,20}", text := read(file).strip())]
    return Bytes(min(limits)) if limits else None


def _limit_files(read: Callable[[Path], str]) -> Iterator[Path]:
    for line in read(Path("/proc/self/cgroup")).splitlines():
        # "0::/user.slice/app.service"; other numbers are of version 1, and in a container the path may be "/".
        number, _, path = line.partition("::")
        if number == "0" and path.startswith("/") and ".." not in path:
            inner = PurePosixPath(path.removesuffix(" (deleted)").lstrip("/"))
            for group in (inner, *inner.parents):
                yield _CGROUPS / group / "memory.max"


def _text(file: Path) -> str:
    try:
        with file.open(encoding="utf-8", errors="replace") as opened:
            return opened.read(_LONGEST)
    except OSError:
        return ""
