"""Measures what a running engine takes in memory, by the system's accounting.

Memory on a GPU of its own is measured elsewhere (`machine.nvidia`).
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

import psutil
from attrs import frozen

from ...units import Bytes
from ..machine import mach
from ..machine.files import Read, read_file

_LINE = re.compile(rb"^(\w+):\s+([0-9]{1,15}) kB$", re.MULTILINE | re.ASCII)


@frozen
class Footprint:
    """What a process takes, in bytes.

    Attributes:
        held: What is only freed when it ends: its own memory, in RAM, compressed or swapped out.
        droppable: Its share of mapped files, which the system may drop and read again; None where that is unknown.
    """

    held: Bytes
    droppable: Bytes | None = None

    def __add__(self, other: Footprint) -> Footprint:
        files = (self.droppable, other.droppable)
        known = [size for size in files if size is not None]
        return Footprint(Bytes(self.held + other.held), Bytes(sum(known)) if known else None)


Measure = Callable[[int], Footprint | None]
"""Measures one process; None if it is gone or can't be read."""


def footprint_of_group(
    pid: int, measure: Measure | None = None, group: frozenset[int] | None = None
) -> Footprint | None:
    """The memory of a process and its descendants; None if it can't be read. Some milliseconds, for a large map more:
    not for the event loop.

    Not the resident size, which counts shared mappings in each process (two engines on one file each show all of it)
    and leaves out what is swapped out or compressed.

    A descendant that ends meanwhile counts as 0; without the leader, the result is None.

    Args:
        group: The process and its descendants, if the caller knows them already.
    """
    measure = measure or this_system()
    leader = measure(pid)
    if leader is None:
        return None
    for child in (group_of(pid) if group is None else group) - {pid}:
        leader += measure(child) or Footprint(Bytes(0))
    return leader


def group_of(pid: int) -> frozenset[int]:
    """A process and its descendants."""
    return frozenset((pid, *_descendants(pid)))


def this_system(platform: str = sys.platform) -> Measure:
    """How a process is measured on this system: Linux by its proportional share, a Mac by its `phys_footprint`."""
    if platform == "linux":
        return measure_linux
    if platform == "darwin":
        return lambda pid: _whole(mach.load().phys_footprint(pid))
    return lambda pid: _whole(_resident(pid))


def measure_linux(pid: int, read: Read = read_file) -> Footprint | None:
    """From smaps_rollup; before Linux 5.4, where it lacks the parts, from the process's status."""
    return parse_rollup(read(Path(f"/proc/{pid}/smaps_rollup"))) or parse_status(read(Path(f"/proc/{pid}/status")))


def parse_rollup(data: bytes) -> Footprint | None:
    """/proc/PID/smaps_rollup (Linux Documentation/filesystems/proc.rst): the proportional share of anonymous, shared
    and swapped pages is held, that of files is droppable. None if these parts are missing.
    """
    return _parts(data, ("Pss_Anon", "Pss_Shmem"), "SwapPss", "Pss_File")


def parse_status(data: bytes) -> Footprint | None:
    """/proc/PID/status (since Linux 4.5). It doesn't divide shared pages, so mapped files are left out."""
    return _parts(data, ("RssAnon", "RssShmem"), "VmSwap", None)


def _parts(data: bytes, needed: Iterable[str], swapped: str, files: str | None) -> Footprint | None:
    sizes = {name.decode(): int(size) * 1024 for name, size in _LINE.findall(data)}
    if not all(name in sizes for name in needed):
        return None
    held = sum(sizes[name] for name in needed) + sizes.get(swapped, 0)
    droppable = sizes.get(files) if files else None
    return Footprint(Bytes(held), None if droppable is None else Bytes(droppable))


def _descendants(pid: int) -> tuple[int, ...]:
    try:
        return tuple(child.pid for child in psutil.Process(pid).children(recursive=True))
    except psutil.Error:
        return ()


def _resident(pid: int) -> Bytes | None:
    try:
        return Bytes(psutil.Process(pid).memory_info().rss)
    except psutil.Error:
        return None


def _whole(size: Bytes | None) -> Footprint | None:
    return None if size is None else Footprint(size)
