"""The directory of the engines' sockets: private, with a short path, and recreated when it is gone."""

from __future__ import annotations

import contextlib
import logging
import os
import stat
import tempfile
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

import trio

from ..errors import SetupError

log = logging.getLogger(__name__)

LONGEST = 80
"""Bytes that the directory's path may have: macOS allows a socket's path 104 (sys/un.h), Linux 108."""

TOUCH_EVERY = 3600.0
"""Seconds between touches. Cleaners go by age: systemd-tmpfiles removes what was not touched for 10 days, macOS for 3;
the XDG Base Directory specification wants files in $XDG_RUNTIME_DIR touched every 6 hours.
"""


class SocketDirectory:
    """A directory that only we can enter, recreated when a cleaner has removed it.

    Attributes:
        path: Where it is. That only changes if someone else has taken the name.
    """

    def __init__(self, environ: Mapping[str, str] | None = None) -> None:
        self._environ = os.environ if environ is None else environ
        self.path = self._new()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Keep it from being cleaned up, until cancelled."""
        task_status.started()
        while True:
            await trio.sleep(TOUCH_EVERY)
            self.touch()

    def touch(self) -> None:
        """Touch it and what is in it."""
        with contextlib.suppress(OSError):  # `ready` recreates it where it is needed
            for name in ("", *os.listdir(self.path)):
                os.utime(self.path / name, follow_symlinks=False)

    async def ready(self, moved: Callable[[Path], Awaitable[None]]) -> Path:
        """The directory, recreated if it is gone; `moved` is called with the new path if it had to go elsewhere.

        Raises:
            SetupError: No directory could be created for it.
        """
        with contextlib.suppress(FileExistsError, FileNotFoundError):
            os.mkdir(self.path, 0o700)
            log.warning("%s, with the engines' sockets, was removed, perhaps by a cleaner; recreating it", self.path)
        if not is_private(self.path):
            before, self.path = self.path, self._new()
            log.warning("%s is no longer private to this user: the engines' sockets are in %s now", before, self.path)
            await moved(self.path)
        return self.path

    def _new(self) -> Path:
        runtime = self._environ.get("XDG_RUNTIME_DIR", "")
        if runtime and is_private(Path(runtime)):  # never cleaned while the user is logged in
            with contextlib.suppress(OSError):
                return self._short(runtime)
        try:
            return self._short(None)
        except OSError as error:
            raise SetupError(
                f"There is no place for the engines' sockets: {error}.",
                hint="Set TMPDIR to a folder that llmsup may use.",
            ) from error

    def _short(self, parent: str | None) -> Path:
        directory = tempfile.mkdtemp(prefix="llmsup-", dir=parent)
        if len(os.fsencode(directory)) > LONGEST:
            os.rmdir(directory)
            directory = tempfile.mkdtemp(prefix="llmsup-", dir="/tmp")
        return Path(directory)


def is_private(path: Path) -> bool:
    """Whether it is a real directory of ours that other users can't enter."""
    try:
        state = os.lstat(path)
    except OSError:
        return False
    return stat.S_ISDIR(state.st_mode) and state.st_uid == os.geteuid() and not state.st_mode & 0o077
