"""Which programs run on this machine, by the names that people know them by."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection, Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import PurePath

import psutil

ANEW = 12
"""After so many looks everything is looked at again: a process can become another program, and its number another's."""

_BUNDLE = re.compile(r"([^/]+)\.app/Contents/MacOS/[^/]+$")
"""The innermost bundle in the path of its own program, not of a helper in it: those often stay when an app is quit."""


class RunningPrograms:
    """Looks again and again, at what is new since the last time: a look at everything takes ten times as long."""

    def __init__(
        self,
        pids: Callable[[], Collection[int]] = psutil.pids,
        names: Callable[[int], tuple[str, ...]] | None = None,
        ours: Callable[[int], bool] | None = None,
    ) -> None:
        """`pids` of all processes; `names` that one has; `ours`: whether it is llmsup's own or one that it started."""
        self._pids = pids
        self._names = names or names_of
        self._ours = ours or is_ours
        self._looks = 0
        self._known: dict[int, tuple[str, ...]] = {}
        self._settled: set[int] = set()

    def first(self, wanted: Sequence[str]) -> str:
        """The first program that has one of these names (globs, in any case, with or without ".app"), as it is called;
        "" if none runs. Programs that llmsup has started don't count.
        """
        self._look()
        patterns = [each.casefold().removesuffix(".app") for each in wanted]
        for pid, names in self._known.items():
            for name in names:
                if any(fnmatchcase(name.casefold(), pattern) for pattern in patterns) and not self._ours(pid):
                    return name
        return ""

    def _look(self) -> None:
        if self._looks % ANEW == 0:
            self._settled.clear()
        self._looks += 1
        now, before = self._pids(), self._known
        self._known = {pid: before[pid] if pid in self._settled and pid in before else self._names(pid) for pid in now}
        # A process that was new is still called as the one that it was forked from, until it has become its program.
        self._settled = {pid for pid in now if pid in before}


def names_of(pid: int) -> tuple[str, ...]:
    """What the program of a process is called: its file's name, and its app's on macOS; () if it is gone."""
    try:
        process = psutil.Process(pid)
        with process.oneshot():
            if process.status() == psutil.STATUS_ZOMBIE:
                return ()
            return tuple(dict.fromkeys(_named(process.name(), _path(process))))
    except psutil.Error:
        return ()


def _path(process: psutil.Process) -> str:
    try:
        return process.exe()
    except psutil.Error:  # another user's
        return ""


def _named(name: str, path: str) -> Iterator[str]:
    """`name`: as the system has it; `path`: of its file, "" if it isn't known."""
    if bundle := _BUNDLE.search(path):
        yield bundle[1]
    yield name
    if path:
        yield PurePath(path).name


def is_ours(pid: int) -> bool:
    """Whether a process is this one, or descends from it."""
    try:
        return pid == os.getpid() or any(each.pid == os.getpid() for each in psutil.Process(pid).parents())
    except psutil.Error:
        return False
