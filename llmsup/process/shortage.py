"""Shortages of our own: the system has no file, process or memory for llmsup; no engine or client is to blame."""

from __future__ import annotations

import errno
import logging
import math
import os
import resource
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

import trio

from ..errors import OutOfResources
from ..units import Seconds

T = TypeVar("T")

_OURS = frozenset(
    {errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS, errno.EAGAIN, errno.EADDRNOTAVAIL}  # out of local ports
)

FIRST_PAUSE = 0.02
LONGEST_PAUSE = 1.0
"""Seconds between two attempts."""


class OncePer(logging.Filter):
    """Lets a logger write one line per interval, in seconds; the lines suppressed in between are counted."""

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._seconds = seconds
        self._clock = clock
        self._last = -math.inf
        self._left_out = 0

    def filter(self, record: logging.LogRecord) -> bool:
        now = self._clock()
        if now - self._last < self._seconds:
            self._left_out += 1
            return False
        if self._left_out:
            record.msg = f"{record.getMessage()} (and {self._left_out} more such lines since the last one)"
            record.args = ()
        self._last, self._left_out = now, 0
        return True


log = logging.getLogger(__name__)
log.addFilter(OncePer(60))


def is_ours(error: BaseException) -> bool:
    """Whether an error means that the system refuses us resources, and says nothing about the other side."""
    if isinstance(error, RuntimeError):  # threading's: "can't start new thread"
        return "start new thread" in str(error)
    return isinstance(error, OSError) and error.errno in _OURS


def explain(error: BaseException, what: str) -> OutOfResources:
    """Turn such an error into one for people; `what` could not be done, such as "start the engine of x"."""
    number = error.errno if isinstance(error, OSError) else errno.EAGAIN
    because, hint = {
        errno.EMFILE: (f"it has all the {_files()} files open that it may", "Raise the limit: ulimit -n."),
        errno.ENFILE: ("the system has as many files open as it can", "Raise the system's limit (fs.file-max)."),
        errno.EAGAIN: ("the system starts no more processes or threads", "Raise ulimit -u, or the container's limit."),
        errno.EADDRNOTAVAIL: ("the system has no TCP port left", ""),
    }.get(number or 0, (os.strerror(number or 0), ""))
    return OutOfResources(f"llmsup can't {what}: {because}.", hint=hint, retry_after=1)


def note(error: BaseException, what: str) -> None:
    """Log such an error; once a minute at most for all of them."""
    log.warning("%s", explain(error, what))


async def insist(attempt: Callable[[], Awaitable[T]], what: str, *, patience: Seconds) -> T:
    """Retry until the system lets us, for at most `patience` seconds.

    Raises:
        OutOfResources: It didn't.
        BaseException: Whatever else `attempt` raises.
    """
    end, pause = trio.current_time() + patience, FIRST_PAUSE
    while True:
        try:
            return await attempt()
        except (OSError, RuntimeError) as error:
            if not is_ours(error):
                raise
            note(error, what)
            if trio.current_time() + pause > end:
                raise explain(error, what) from error
        await trio.sleep(pause)
        pause = min(pause * 2, LONGEST_PAUSE)


def _files() -> str:
    return str(resource.getrlimit(resource.RLIMIT_NOFILE)[0])
