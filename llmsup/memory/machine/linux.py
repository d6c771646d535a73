"""A reading of a Linux machine: /proc/meminfo, /proc/vmstat, pressure stall information, and our control groups."""

from __future__ import annotations

import os
import re
from pathlib import Path

from ...units import Bytes
from .cgroup import Bound, bounds, oom_kills, own_groups, own_limit
from .files import Read, pairs, read_file
from .psi import HOST, parse_pressure
from .reading import Reading

MEMINFO = Path("/proc/meminfo")
VMSTAT = Path("/proc/vmstat")

_LINE = re.compile(rb"^([\w()]+): +([0-9]{1,15}) kB$", re.MULTILINE | re.ASCII)
_SHOWN = ("MemTotal", "MemAvailable", "MemFree", "SwapTotal", "SwapFree")


def parse_meminfo(data: bytes) -> dict[str, Bytes]:
    """The sizes in /proc/meminfo, in bytes. Its "kB" are 1024 bytes (proc(5))."""
    return {name.decode(): Bytes(int(size) * 1024) for name, size in _LINE.findall(data)}


class Linux:
    """Reads this machine: some ten small files, 0.3 ms.

    Attributes:
        pressure_file: The pressure stall information to read: of the control group that limits us, if it has any, else
            the whole machine's.
    """

    def __init__(self, read: Read = read_file, page_size: int | None = None) -> None:
        self._read = read
        self._page_size = page_size or os.sysconf("SC_PAGESIZE")
        self._groups = own_groups(read)  # processes rarely change groups; limits do change

    @property
    def pressure_file(self) -> Path:
        """See the class."""
        return self._pressure_file(bounds(self._groups, self._read))

    def reading(self) -> Reading:
        """Read all of it."""
        memory = parse_meminfo(self._read(MEMINFO))
        counters = pairs(self._read(VMSTAT))
        found = bounds(self._groups, self._read)
        pressure = self._pressure_file(found)
        stalls = self._read(pressure)
        some, full = parse_pressure(stalls)
        swapped = counters.get("pswpout")

        raw = {f"{MEMINFO} {name}": str(memory[name]) for name in _SHOWN if name in memory}
        raw |= {f"{VMSTAT} {name}": str(counters[name]) for name in ("pswpout", "oom_kill") if name in counters}
        if stalls:
            raw[str(pressure)] = stalls[:300].decode(errors="replace").strip().replace("\n", "; ")
        raw |= {str(bound.file): str(bound.limit) for bound in found}
        raw |= {f"{bound.group.path} used": str(bound.used) for bound in found if bound.used is not None}
        total, own = memory.get("MemTotal"), own_limit(self._groups, found)
        whose = next((str(bound.file) for bound in found if bound.limit == own), "")
        return Reading.of(
            {
                "own_group": ((own is not None and (total is None or own < total)) or None, whose),
                "total": _least((total, f"{MEMINFO} MemTotal"), *((b.limit, str(b.file)) for b in found)),
                "available": _least(
                    (memory.get("MemAvailable"), f"{MEMINFO} MemAvailable"),
                    *((bound.room, f"{bound.file} less what is used") for bound in found),
                ),
                "some": (some, str(pressure)),
                "full": (full, str(pressure)),
                "swap_total": (memory.get("SwapTotal"), f"{MEMINFO} SwapTotal"),
                "swap_free": (memory.get("SwapFree"), f"{MEMINFO} SwapFree"),
                "swapped_out": (None if swapped is None else swapped * self._page_size, f"{VMSTAT} pswpout"),
                "oom_kills": self._oom_kills(counters),
            },
            raw,
        )

    def _oom_kills(self, counters: dict[str, int]) -> tuple[int | None, str]:
        """The count of our own group if it has one, else the machine's."""
        innermost = {group.version: group for group in reversed(self._groups)}
        for group in innermost.values():
            kills = oom_kills(group, self._read)
            if kills is not None:
                return kills, str(group.path)
        return counters.get("oom_kill"), f"{VMSTAT} oom_kill"

    def _pressure_file(self, found: tuple[Bound, ...]) -> Path:
        tightest = min(found, key=lambda bound: bound.limit if bound.room is None else bound.room, default=None)
        if tightest and tightest.group.version == 2:
            own = tightest.group.path / "memory.pressure"
            if self._read(own):
                return own
        return HOST


def _least(*values: tuple[Bytes | None, str]) -> tuple[Bytes | None, str]:
    """The least of the known values."""
    known = [(value, source) for value, source in values if value is not None]
    return min(known, key=lambda one: one[0], default=(None, ""))
