"""Watches the config file, and has it applied once it has changed and is quiet.

It looks at the file every few seconds instead of being told by the system (inotify, FSEvents): a look costs some
microseconds, needs no library, and sees what editors do (a new file renamed over the old one), links that are turned
elsewhere, and files on servers, which notifications miss or need a watch of the folder for.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress

import trio

from ..config.live import LiveConfig
from ..errors import Error
from ..units import Seconds
from .config_file import ConfigFile, Look

EVERY = Seconds(2)
"""Between two looks."""

QUIET = Seconds(1)
"""How long a file must stay as it is to count as whole: between two writes of one save there are milliseconds."""


class ConfigWatch:
    """The one task that watches."""

    def __init__(
        self,
        live: LiveConfig,
        file: ConfigFile,
        apply: Callable[[Look], Awaitable[object]],
        *,
        every: Seconds = EVERY,
        quiet: Seconds = QUIET,
    ) -> None:
        """`apply` applies a file that looks like this, unless it says nothing new; whatever it raises has been told."""
        self._live = live
        self._file = file
        self._apply = apply
        self._every = every
        self._quiet = quiet

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Watch until cancelled, but for the time that `server.watch_config` is off."""
        task_status.started()
        if self._file.path is None:
            return
        seen: Look | None = None  # what it looked like when it was read isn't known
        while True:
            await self._live.until(lambda: self._file.watched)
            now = await self._file.look()
            if now != seen:
                seen = await self._when_quiet(now)
                if self._file.watched:
                    with suppress(Error):
                        await self._apply(seen)
            await trio.sleep(self._every)

    async def _when_quiet(self, now: Look) -> Look:
        while True:
            before = now
            await trio.sleep(self._quiet)
            now = await self._file.look()
            if now == before:
                return now
