"""What a llmsup that was killed together with its guard left running: the next one with the same `state_dir` ends it.

Each llmsup keeps a file there with what its guard would be told, and holds a lock on it while it lives. A process that
gets the lock knows that the owner is dead, whatever its process id was and in whichever container it ran. What the
owner had started is recognised by its mark.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import psutil
import trio

from . import guard, kin
from .atomic import replacing
from .inheritance import Inheritance
from .marks import GUARD, marks_of

log = logging.getLogger(__name__)

_NAME = "children-{}"

_LINES = re.compile(rb"#([0-9a-f]{10})\n(@.*\n)*")
"""The file's format: the guard's messages."""


class Leftovers:
    """The file of this llmsup, and those that dead ones left."""

    def __init__(self, state_dir: Path, inheritance: Inheritance, sockets: Path) -> None:
        """`sockets`: the directory of the engines' sockets."""
        self._state_dir = state_dir
        self._inheritance = inheritance
        self._sockets = sockets

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Keep the file, and end what dead llmsups have left, until cancelled. Reports started once the file exists."""
        with self._recorded():
            task_status.started()
            # It waits for processes to end; when we stop, there is no need to wait for it.
            await trio.to_thread.run_sync(end_all, self._state_dir, abandon_on_cancel=True)
            await trio.sleep_forever()

    @contextlib.contextmanager
    def _recorded(self) -> Iterator[None]:
        path = self._state_dir / _NAME.format(self._inheritance.token)
        with contextlib.ExitStack() as leaving:
            try:
                with replacing(path) as file:  # locked and complete from the moment it is visible
                    leaving.callback(os.close, os.dup(file.fileno()))  # the lock lives as long as one of the two
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    file.write(f"#{self._inheritance.token}\n".encode() + b"@%b\n" % os.fsencode(self._sockets))
                leaving.callback(path.unlink, missing_ok=True)
            except OSError as error:
                log.warning(
                    "%s can't be written (%s): if llmsup and its guard are killed together, the engines keep running",
                    path,
                    error,
                )
            yield


def end_all(state_dir: Path) -> None:
    """End what dead llmsups left behind, and remove their files. Takes seconds if there is anything to end."""
    with contextlib.suppress(OSError):
        for path in sorted(state_dir.glob(_NAME.format("*"))):
            with contextlib.suppress(OSError), path.open("rb") as file:
                if os.fstat(file.fileno()).st_uid == os.getuid():
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # raises where its llmsup lives
                    if _end(file):
                        path.unlink()


def _end(file: BinaryIO) -> bool:
    """Returns whether it was such a file and all is done. Raises OSError if the processes can't be listed now."""
    lines = file.read()
    if not (match := _LINES.fullmatch(lines)):
        return False
    token = match[1].decode()
    found = _family(token)
    if any(process.pid == os.getpid() for process in found):  # we ourselves run under one of its leftovers
        return False
    guards = [process for process in found if f"{token}.{GUARD}" in marks_of(process)]
    if guards:  # its guard is already ending them
        psutil.wait_procs(guards, timeout=guard.GRACE + guard.SWEEP + 1)
        found = _family(token)
    ours = guard.Guard(kin)
    for line in lines.splitlines():
        ours.take(os.fsdecode(line))
    if found:
        names = ", ".join(sorted(map(kin.describe, found)))
        ours.end()
        left = ", ".join(map(kin.describe, _family(token)))
        log.warning(
            "a llmsup that was killed left processes behind; ended: %s%s", names, f"; but not {left}" if left else ""
        )
    ours.sweep()
    return True


def _family(token: str) -> list[psutil.Process]:
    there = kin.table()
    return [there[pid][0] for pid in kin.members([row for _, row in there.values()], (), mark=f"{token}.")]
