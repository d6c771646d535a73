"""The config in force: one cell, read where a value is needed, so that nobody has one that a reload has replaced.

It does not know who reads it, nor where a new config comes from.
"""

from __future__ import annotations

from attrs import evolve

from ..process.watched import Watched
from .schema import Config

AT_START = ("listen", "certfile", "keyfile", "state_dir", "log_format")
"""The keys of [server] that are only looked at when llmsup starts: until then the cell has them as they were."""


class LiveConfig(Watched):
    """The config that is in force now. Ask it for a value each time; who has to act on a new one waits for `change`.

    Attributes:
        now: The values, frozen.
    """

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.now = config

    def replace(self, config: Config) -> tuple[str, ...]:
        """Have these values in force from now on, but those of `AT_START`.

        Returns:
            The keys whose values wait for the next start: "server.listen".
        """
        old, new = self.now.server, config.server
        waiting = {name: getattr(old, name) for name in AT_START if getattr(old, name) != getattr(new, name)}
        self.now = evolve(config, server=evolve(new, **waiting)) if waiting else config
        self.notify()
        return tuple(f"server.{name}" for name in waiting)
