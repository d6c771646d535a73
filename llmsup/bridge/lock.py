"""A lock between all llmsups that link into the same folder; the kernel frees it however its holder ends."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import SetupError
from .own_links import LOCK


class Locked(SetupError):
    """Another llmsup holds the lock."""


@contextmanager
def locked(target: Path) -> Iterator[None]:
    """Hold the lock of an existing folder; never waits.

    Raises:
        Locked: Another process holds it.
        OSError: The folder can't be written to.
    """
    file = os.open(target / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Locked(f"Another llmsup is making links in {target}.", hint="It is tried again.") from None
        yield
    finally:
        os.close(file)
