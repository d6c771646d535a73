"""Which processes belong to a child of ours: its group, its session, its descendants, and all with its mark.

A process can leave its group (`set -m`), its session (`setsid`) and its parent (a daemon forks twice), and wipe its
environment; some do all of that. The guard uses this as well, so it imports nothing but `marks`, psutil and the
standard library.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Collection, Iterable
from typing import NamedTuple

import psutil

from .marks import marks_of

LISTS = 20
"""How often the processes are listed at most, if new ones keep appearing."""


class Row(NamedTuple):
    """One living process. `marks`: the values of its mark; empty where they can't be read."""

    pid: int
    parent: int
    group: int
    session: int
    marks: tuple[str, ...] = ()


Table = dict[int, tuple[psutil.Process, Row]]
"""The living processes by number. A `psutil.Process` knows when it started, so it is never confused with a later one
of the same number.
"""


def members(
    rows: Collection[Row], leaders: Collection[int], *, mark: str = "", known: Collection[int] = ()
) -> frozenset[int]:
    """The numbers of the processes that belong to these leaders, have a mark that begins with `mark` or are `known`,
    and of all their descendants.
    """
    children: dict[int, list[int]] = {}
    for row in rows:
        children.setdefault(row.parent, []).append(row.pid)
    found: set[int] = set()
    todo = [
        row.pid
        for row in rows
        if row.group in leaders
        or row.session in leaders
        or row.pid in known
        or (mark and any(each.startswith(mark) for each in row.marks))
    ]
    while todo:
        if (pid := todo.pop()) not in found:
            found.add(pid)
            todo += children.get(pid, ())
    return frozenset(found)


def table() -> Table:
    """All living processes with their marks. Takes some tens of milliseconds: not for the event loop.

    A process that ended before it was read may have started another one after the list was made, so the listing is
    repeated until nothing new turns up.

    Raises:
        OSError: They can't be read, for lack of file descriptors for example.
    """
    found: Table = {}
    seen: set[int] = set()
    for _ in range(LISTS):
        new = set(psutil.pids()) - seen
        _read(new, found)
        if not new:
            break
        seen |= new
    return found


def _read(pids: Iterable[int], found: Table) -> None:
    for pid in pids:
        with contextlib.suppress(psutil.Error, ProcessLookupError, PermissionError):
            process = psutil.Process(pid)
            with process.oneshot():
                if process.status() != psutil.STATUS_ZOMBIE:
                    row = Row(pid, process.ppid(), os.getpgid(pid), os.getsid(pid), marks_of(process))
                    found[pid] = (process, row)


def find(
    leaders: Collection[int], *, mark: str = "", known: Iterable[psutil.Process] = ()
) -> dict[int, tuple[psutil.Process, Row]]:
    """The living processes that belong to these leaders (`members`), never ourselves. Raises what `table` raises."""
    there = table()
    same = [process.pid for process in known if process.pid in there and there[process.pid][0] == process]
    found = members([row for _, row in there.values()], leaders, mark=mark, known=same)
    return {pid: there[pid] for pid in found - {os.getpid()}}


def lives(process: psutil.Process) -> bool:
    """Whether this very process still runs; a zombie does not."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False
    except OSError:  # it can't be read, for a reason on our side
        return True


def tell(processes: Iterable[psutil.Process], number: signal.Signals) -> None:
    """Send a signal to those that are still the same process."""
    for process in processes:
        with contextlib.suppress(psutil.Error, OSError):
            process.send_signal(number)


def describe(process: psutil.Process) -> str:
    """A process as people would look it up: "4711 (llama-server)"."""
    try:
        return f"{process.pid} ({process.name()})"
    except (psutil.Error, OSError):
        return str(process.pid)


def reap(pid: int) -> None:
    """Reap an adopted child; `-PGID`: every adopted child of a group. Does nothing where there is none."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(pid, os.WNOHANG) != (0, 0):
            pass
