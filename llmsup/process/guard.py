"""The guard: a tiny program that outlives llmsup just long enough to end what llmsup started.

It runs as `python -I -S guard.py DIRECTORY` with its standard input the read end of a pipe that only llmsup can
write to. Lines on it are `+PGID` and `-PGID`. When the pipe closes, however llmsup died, the guard ends every
process group that is still registered (SIGTERM, then SIGKILL) and removes the sockets in DIRECTORY.

PR_SET_PDEATHSIG would not do: trio forks in a worker thread, whose end 10 s later counts as the parent's death,
and macOS has nothing like it. It knows nothing else of llmsup and imports only the standard library.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time

GRACE = 2.0
"""Seconds between SIGTERM and SIGKILL. With llmsup gone the engines' clients are gone too, so they exit fast."""


def alive(group: int) -> bool:
    """Whether any process of the group is left (macOS says EPERM where only zombies are)."""
    try:
        os.killpg(group, 0)
    except OSError:
        return False
    return True


def signal_all(groups: set[int], number: signal.Signals) -> None:
    """Send a signal to every group that still exists."""
    for group in groups:
        with contextlib.suppress(OSError):  # gone already
            os.killpg(group, number)


def end(groups: set[int]) -> None:
    """End every group, politely first."""
    signal_all(groups, signal.SIGTERM)
    deadline = time.monotonic() + GRACE
    while any(map(alive, groups)) and time.monotonic() < deadline:
        time.sleep(0.02)  # these are not our children: there is nothing to wait on but the clock
    signal_all(groups, signal.SIGKILL)


def sweep(directory: str) -> None:
    """Remove the engines' sockets, and their directory if nothing else is in it."""
    with contextlib.suppress(OSError):  # not ours to insist
        for name in os.listdir(directory):
            if name.endswith(".sock"):
                os.unlink(os.path.join(directory, name))
        os.rmdir(directory)


def main() -> None:
    """Read registrations until the pipe closes, then clean up."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # `systemctl stop` signals everybody; the guard must be the last
    groups: set[int] = set()
    for line in sys.stdin:
        try:
            group = int(line[1:])
        except ValueError:
            continue
        if line[0] == "+":
            groups.add(group)
        else:
            groups.discard(group)
    end(groups)
    if len(sys.argv) > 1:
        sweep(sys.argv[1])


if __name__ == "__main__":
    main()
