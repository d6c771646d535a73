"""An exception as lines for the log: where it was raised, and of which type it is; never what it says.

What a foreign exception says may be a request: its headers with their keys, its body with the prompt. Nobody can tell
which do (h11's and h2's errors carry what they could not read, a KeyError is what was looked for), so none is quoted,
but errors of ours, whose words are chosen, and the system's own words for its errors.
"""

from __future__ import annotations

import errno
import os
import ssl
import traceback
from collections.abc import Iterator

from ..errors import Error

FRAMES = 40
"""How many of the innermost calls are shown."""

DEEPEST = 5
"""How far causes and groups are followed: an error can have itself as its cause, by way of others."""


def summary(error: BaseException) -> str:
    """Its type, and what is safe to say of it: "OSError: No space left on device"."""
    name = type(error).__name__
    if isinstance(error, Error):
        return f"{name}: {error}"
    if isinstance(error, ssl.SSLError):
        reason = getattr(error, "reason", None)  # OpenSSL's constant; one that Python makes itself has none
        return f"{name}: {reason}" if reason else name
    if isinstance(error, OSError) and error.errno is not None and error.errno in errno.errorcode:
        return f"{name}: {os.strerror(error.errno)}"  # not `strerror`: whoever raised it may have put anything there
    return name


def told(error: BaseException) -> Iterator[str]:
    """The traceback, line by line, causes first."""
    return _told(error, DEEPEST)


def _told(error: BaseException, depth: int) -> Iterator[str]:
    if depth and error.__cause__ is not None:
        yield from _told(error.__cause__, depth - 1)
        yield "... which was the cause of:"
    elif depth and error.__context__ is not None and not error.__suppress_context__:
        yield from _told(error.__context__, depth - 1)
        yield "... and while that was handled:"
    if error.__traceback__ is not None:
        yield "Traceback (most recent call last):"
        for frame in traceback.format_tb(error.__traceback__, limit=-FRAMES):
            yield from frame.splitlines()
    yield summary(error)
    if depth and isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield "  one of its errors:"
            yield from (f"  {line}" for line in _told(inner, depth - 1))
