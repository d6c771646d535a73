"""The mark by which we recognise what we started, and the two places where it is written.

In the environment, which any program can wipe. And, on Linux, in a resource limit that is otherwise unused: limits are
inherited whatever becomes of parents, session and environment, and one that was lowered can only be raised by root.
The guard uses this as well, so it imports nothing but psutil and the standard library.
"""

from __future__ import annotations

import resource
import secrets
import sys

import psutil

MARK = "LLMSUP_CHILD"
"""The variable that every child has in its environment, and its own children unless they remove it.
/proc/PID/environ shows it on Linux, sysctl's KERN_PROCARGS2 on macOS; both only to the same user and to root.
"""

GUARD = "guard."
"""Takes the place of a child's number in the mark of a guard."""

# RLIMIT_RTTIME (getrlimit(2)) is how many microseconds a process with a real-time schedule may compute without a
# pause. It is usually unlimited; ours are beyond 146,000 years: 2^62 plus the token and the child's number.
_OURS = 1 << 62
_DIGITS = 10  # of a token, hexadecimal
_CHILD_BITS = 22


def new_token() -> str:
    """The prefix of the marks of one llmsup's children."""
    return secrets.token_hex(_DIGITS // 2)


def mark_limit(pid: int, mark: str) -> bool:
    """Write a mark into the limits of a process that we have just started; returns whether that was possible."""
    limit = _limit(mark)
    if sys.platform != "linux" or limit is None:
        return False
    try:
        resource.prlimit(pid, resource.RLIMIT_RTTIME, (limit, limit))
    except (OSError, ValueError):  # it is already lower, or this system has no such limit
        return False
    return True


def marks_of(process: psutil.Process) -> tuple[str, ...]:
    """The marks of a process; none where they can't be read."""
    limited = _limited(process.pid)
    try:
        return tuple({*process.environ().get(MARK, "").split(":"), *limited} - {""})
    except (psutil.Error, PermissionError, ProcessLookupError):  # another user's, or a program that Apple protects
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
    except (OSError, ValueError):  # it has ended, or is another user's
        return ()
    if limit < _OURS:  # "unlimited" too, which is -1
        return ()
    token, child = divmod(limit ^ _OURS, 1 << _CHILD_BITS)
    return (f"{token:0{_DIGITS}x}.{child}.",)
