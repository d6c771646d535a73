"""An exception as lines for the log: its type and where it was raised, but not its message.

The message of a library's exception can contain a request: headers with API keys, a body with the prompt (h11's and
h2's errors quote what they could not parse, a KeyError quotes the key). Since there is no telling which do, none is
logged; only llmsup's own errors and the system's texts for error numbers are.
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
"""How deep causes and groups are followed: a chain of causes can be circular."""


def summary(error: BaseException) -> str:
    """An exception's type and what is safe to log of it: "OSError: No space left on device"."""
    name = type(error).__name__
    if isinstance(error, Error):
        return f"{name}: {error}"
    if isinstance(error, ssl.SSLError):
        reason = getattr(error, "reason", None)  # OpenSSL's constant; errors that Python makes itself have none
        return f"{name}: {reason}" if reason else name
    if isinstance(error, OSError) and error.errno is not None and error.errno in errno.errorcode:
        return f"{name}: {os.strerror(error.errno)}"  # not error.strerror, which can be any text
    return name


def told(error: BaseException) -> Iterator[str]:
    """The traceback, line by line, causes first."""
    return _told(error, DEEPEST)


def _told(error: BaseException, depth: int) -> Iterator[str]:
    if depth and error.__cause__ is not None:
        yield from _told(error.__cause__, depth - 1)
        yield "... which caused:"
    elif depth and error.__context__ is not None and not error.__suppress_context__:
        yield from _told(error.__context__, depth - 1)
        yield "... and while handling that:"
    if error.__traceback__ is not None:
        yield "Traceback (most recent call last):"
        for frame in traceback.format_tb(error.__traceback__, limit=-FRAMES):
            yield from frame.splitlines()
    yield summary(error)
    if depth and isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield "  one of its errors:"
            yield from (f"  {line}" for line in _told(inner, depth - 1))
