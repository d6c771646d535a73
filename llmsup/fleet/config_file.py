"""The config file of a running llmsup: read anew, put into force, and what became of that the last time.

When it is read is up to the reconciler, which follows with the models, and to `config_watch`.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import trio
from attrs import frozen

from ..config.live import LiveConfig, changed
from ..config.schema import Config
from ..errors import ConfigError, ConfigUnreadable, Error
from ..process.ring import Events

log = logging.getLogger(__name__)

AGAIN = "the file says again what is in force"


@frozen
class Look:
    """What can be told of a file without reading it; two that differ are of a file that has changed in between.

    Attributes:
        size: In bytes; None if there is no file that can be looked at.
        identity: Its device and inode, which a file that was put in its place doesn't share, and its times.
    """

    size: int | None = None
    identity: tuple[int, ...] = ()

    @classmethod
    def at(cls, path: Path) -> Look:
        """Look at a file, or at the one that a link leads to."""
        try:
            now = path.stat()
        except OSError:
            return cls()
        return cls(now.st_size, (now.st_dev, now.st_ino, now.st_mtime_ns, now.st_ctime_ns))


@frozen
class Applied:
    """A config was put into force.

    Attributes:
        settings: The settings that changed and are in force now, such as "keys"; models are not among them.
        restart: Changed settings that take effect only when llmsup is restarted.
    """

    settings: tuple[str, ...] = ()
    restart: tuple[str, ...] = ()


class ConfigFile:
    """The file.

    Attributes:
        path: Where it is, or will be once it is written; None: this server reads none.
        since: Since when what it said then is in force (Unix seconds).
        problem: Why what it says now is not in force; None if it is.
    """

    def __init__(
        self, live: LiveConfig, reread: Callable[[], Config], events: Events | None = None, path: Path | None = None
    ) -> None:
        """`live` is what to put it into; `reread` reads the file; `events` gets what became of it."""
        self.path = path
        self.since = time.time()
        self.problem: Error | None = None
        self._live = live
        self._reread = reread
        self._events = events or Events()
        self._last = live.now  # as it was read, while `live` keeps some old values until the next start

    @property
    def watched(self) -> bool:
        """Whether it is applied when it changes."""
        return self.path is not None and self._live.now.server.watch_config

    async def look(self) -> Look:
        """Look at the file, off the event loop: a home directory may be on a server that is slow."""
        return await trio.to_thread.run_sync(partial(Look.at, self.path or Path()), abandon_on_cancel=True)

    async def apply(self, settled: Look | None = None) -> Applied | None:
        """Read the file, and put into force what it says.

        Args:
            settled: Do so only if it says something new, and is whole: not empty, and still as it looked then.

        Returns:
            None: It was not to be put into force, for a reason that `settled` gives.

        Raises:
            ConfigError: It has mistakes; nothing was changed.
            SetupError: It can't be read, or is empty; nothing was changed.
        """
        read = await trio.to_thread.run_sync(self._read, abandon_on_cancel=True)
        if settled is not None and await self.look() != settled:
            return None  # it is being written, and will be looked at again
        if isinstance(read, Config) and settled is not None:
            if read == self._last:
                self._mended()
                return None
            if not settled.size:
                read = ConfigUnreadable(
                    f"The config {self.path} is empty, as a file is that is still being written.",
                    hint="If it is meant to be, `llmsup reload` applies it.",
                )
        if isinstance(read, Error):
            self._refuse(read)
            raise read
        return self._put_into_force(read)

    def _read(self) -> Config | Error:
        try:
            return self._reread()
        except Error as error:
            return error

    def _put_into_force(self, config: Config) -> Applied:
        before, self._last = self._live.now, config
        restart = self._live.replace(config)
        self.problem, self.since = None, time.time()
        if restart:
            log.warning("these settings take effect when llmsup is started again: %s", ", ".join(restart))
        return Applied(changed(before, self._live.now), restart)

    def tell(self, reason: str, *, mistakes: tuple[str, ...] = ()) -> None:
        """Write the event about what became of it."""
        self._events.write("config", applied=self.problem is None, reason=reason, mistakes=list(mistakes))

    @property
    def mistakes(self) -> tuple[str, ...]:
        """Those in the file as it is now, with their places; none if it is in force, or can't be read."""
        return self.problem.mistakes if isinstance(self.problem, ConfigError) else ()

    def _mended(self) -> None:
        if self.problem is not None:
            self.problem = None
            log.info("the config: %s", AGAIN)
            self.tell(AGAIN)

    def _refuse(self, error: Error) -> None:
        if not isinstance(error, ConfigError | ConfigUnreadable):
            return  # it is not the file's fault: `llmsup demo` reads none
        self.problem = error
        log.warning("the config was not reloaded, and nothing was changed: %s", error)
        for mistake in self.mistakes:
            log.warning("  %s", mistake)
        self.tell(str(error), mistakes=self.mistakes)
