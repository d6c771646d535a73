"""The guard: a tiny program that outlives llmsup just long enough to end what llmsup started.

It runs as `python -I -S guard.py FOLDER...` with its standard input the read end of a pipe that only llmsup can write
to; the folders are where `llmsup` and psutil are found. The messages in the pipe, one a line:

    #TOKEN         what the marks of llmsup's children begin with
    @DIRECTORY     where the engines' sockets are
    +PGID, -PGID   a process group that was started, one that has ended
    =PID           a process that left its group

When the pipe closes, however llmsup died, the guard ends everything that is registered or carries the mark (SIGTERM,
then SIGKILL), and removes the sockets.

PR_SET_PDEATHSIG would not do: trio forks in a worker thread, whose end 10 s later counts as the parent's death, and
macOS has nothing like it. From llmsup it imports only `kin`; where that fails (psutil is being upgraded), it still ends
the groups.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from typing import Any

GRACE = 2.0
"""Seconds between SIGTERM and SIGKILL. With llmsup gone the engines' clients are gone too, so they exit fast."""

SWEEP = 2.0
"""Seconds to go on killing processes that turn up after SIGKILL."""


class Guard:
    """The registered processes, and how they are ended."""

    def __init__(self, kin: Any) -> None:
        self._kin = kin  # the module, or None
        self._groups: set[int] = set()
        self._strays: dict[int, Any] = {}
        self._token = ""
        self._directories: set[str] = set()

    def take(self, line: str) -> None:
        """Process one line; a malformed one is ignored."""
        kind, rest = line[:1], line[1:].rstrip("\n")
        if kind == "#":
            self._token = rest
        elif kind == "@":
            self._directories.add(rest)
        elif rest.isdecimal():
            number = int(rest)
            if kind == "+":
                self._groups.add(number)
            elif kind == "-":
                self._groups.discard(number)
            elif kind == "=" and self._kin is not None:
                with contextlib.suppress(Exception):  # gone already
                    # Looked up now, not at the end: by then the number may be another process's.
                    self._strays[number] = self._kin.psutil.Process(number)

    def end(self) -> None:
        """End every process, politely first."""
        strays = self._find()  # before anything ends: descent is only visible while the parents live
        self._signal(strays, signal.SIGTERM)
        deadline = time.monotonic() + GRACE
        while (any(map(alive, self._groups)) or any(map(self._lives, strays))) and time.monotonic() < deadline:
            time.sleep(0.02)  # these are not our children, so we can only poll
        self._signal(strays, signal.SIGKILL)
        deadline = time.monotonic() + SWEEP
        while (strays := self._find()) and time.monotonic() < deadline:
            self._signal(strays, signal.SIGKILL)
            time.sleep(0.02)

    def sweep(self) -> None:
        """Remove the engines' sockets, and their directory if it is then empty."""
        for directory in self._directories:
            with contextlib.suppress(OSError):  # best effort
                for name in os.listdir(directory):
                    if name.endswith(".sock"):
                        os.unlink(os.path.join(directory, name))
                os.rmdir(directory)

    def _find(self) -> list[Any]:
        if self._kin is None:
            return []
        mark = f"{self._token}." if self._token else ""
        try:
            found = self._kin.find(self._groups, mark=mark, known=self._strays.values())
        except Exception:  # noqa: BLE001 -- whatever it is, the groups must still be ended
            return []
        return [process for process, _ in found.values()]

    def _lives(self, process: Any) -> bool:
        try:
            return bool(self._kin.lives(process))
        except Exception:  # noqa: BLE001 -- as above
            return False

    def _signal(self, strays: list[Any], number: signal.Signals) -> None:
        for group in self._groups:
            with contextlib.suppress(OSError):  # gone already
                os.killpg(group, number)
        if strays:
            self._kin.tell(strays, number)


def alive(group: int) -> bool:
    """Whether any process of the group is left (macOS says EPERM where only zombies are)."""
    try:
        os.killpg(group, 0)
    except OSError:
        return False
    return True


def load_kin(folders: list[str]) -> Any:
    """The module `kin`, or None."""
    sys.path += folders  # after the standard library
    try:
        from llmsup.process import kin
    except Exception:  # noqa: BLE001 -- however it is broken, the groups must still be ended
        return None
    return kin


def main() -> None:
    """Read registrations until the pipe closes, then clean up."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # `systemctl stop` signals all; the guard must be the last to go
    guard = Guard(load_kin(sys.argv[1:]))
    for line in sys.stdin.buffer:
        guard.take(os.fsdecode(line))
    guard.end()
    guard.sweep()


if __name__ == "__main__":
    main()
