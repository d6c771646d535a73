"""The mark by which what we started is found again, and the two places where it is written.

In the environment, where any program can wipe it out. And, on Linux, in a resource limit that nobody uses: what a
process starts inherits its limits, whatever becomes of its parents, its session and its environment, and a limit that
was lowered can only be raised by root. It does not know who is looked for. The guard uses this as well, so it imports
nothing but psutil and the standard library.
"""

from __future__ import annotations

import resource
import secrets
import sys

import psutil

MARK = "LLMSUP_CHILD"
"""The variable that every child has in its environment, and its children unless they take it out. /proc/PID/environ
shows it on Linux, sysctl's KERN_PROCARGS2 on macOS; for both, only to the same user and root.
"""

GUARD = "guard."
"""What stands for a child's number in the mark of a guard."""

# RLIMIT_RTTIME (getrlimit(2)) is how many microseconds a process with a real-time schedule may compute without a
# pause. Without limit as a rule; ours are beyond 146,000 years: 2^62, and below that the token and the child's number.
_OURS = 1 << 62
_DIGITS = 10  # of a token, hexadecimal
_CHILD_BITS = 22


def new_token() -> str:
    """What the marks of one llmsup's children begin with."""
    return secrets.token_hex(_DIGITS // 2)


def mark_limit(pid: int, mark: str) -> bool:
    """Write a mark into the limits of a process that we have just started; False: that can't be done."""
    limit = _limit(mark)
    if sys.platform != "linux" or limit is None:
        return False
    try:
        resource.prlimit(pid, resource.RLIMIT_RTTIME, (limit, limit))
    except (OSError, ValueError):  # it is lower already, or this system knows no such limit
        return False
    return True


def marks_of(process: psutil.Process) -> tuple[str, ...]:
    """The marks of a process; none where they can't be read."""
    limited = _limited(process.pid)
    try:
        return tuple({*process.environ().get(MARK, "").split(":"), *limited} - {""})
    except (psutil.Error, PermissionError, ProcessLookupError):  # somebody else's, or a program that Apple protects
        return limited


def _limit(mark: str) -> int | None:
    token, _, child = mark.removesuffix(".").partition(".")
    if len(token) != _DIGITS or not child.isdecimal() or int(child) >> _CHILD_BITS:
        return None
    return _OURS | int(token, 16) << _CHILD_BITS | int(child)


def _limited(pid: int) -> tuple[str, ...]:
    if sys.platform != "linux":
        return ()
    try:
        _, limit = resource.prlimit(pid, resource.RLIMIT_RTTIME)
    except (OSError, ValueError):  # it has ended, or is somebody else's
        return ()
    if limit < _OURS:  # also "without": that is -1
        return ()
    token, child = divmod(limit ^ _OURS, 1 << _CHILD_BITS)
    return (f"{token:0{_DIGITS}x}.{child}.",)
