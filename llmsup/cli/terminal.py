"""The terminal that a command was started from: whether there is one, and whether it is still there."""

from __future__ import annotations

import errno
import os
from typing import Self

from attrs import frozen

OURS = "/dev/tty"
"""Whatever terminal controls this process: the one that Ctrl-C comes from."""

_GONE = (errno.ENXIO, errno.EIO, errno.ENODEV)
"""What opening it says once it is closed; running out of files, say, is no such thing."""


@frozen
class Terminal:
    """What controls this process.

    Attributes:
        controls: One did, when this was made. A service has none, nor has what `setsid` or cron starts.
        path: Of the file that stands for it.
    """

    controls: bool
    path: str = OURS

    @classmethod
    def now(cls, path: str = OURS) -> Self:
        """As it is now."""
        return cls(_why_not(path) is None, path)

    @property
    def closed(self) -> bool:
        """There was one, and its window, tab or connection was closed since."""
        return self.controls and _why_not(self.path) in _GONE


def _why_not(path: str) -> int | None:
    """The errno of opening it; None: it can be opened."""
    try:
        os.close(os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC))
    except OSError as error:
        return error.errno
    return None
