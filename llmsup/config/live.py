"""The config in force: a single cell, read at the moment of need, so that no stale copy survives a reload."""

from __future__ import annotations

from attrs import evolve, fields

from ..process.watched import Watched
from .schema import Config

AT_START = ("listen", "ollama_listen", "certfile", "keyfile", "state_dir", "log_format")
"""The keys of [server] that only take effect when llmsup starts: a reload keeps their old values in the cell."""


def changed(old: Config, new: Config) -> tuple[str, ...]:
    """Name the settings that differ, without their values: "keys", "server.cors_origins". Models are not among them."""
    names: list[str] = []
    for table in fields(Config):
        before, after = getattr(old, table.name), getattr(new, table.name)
        if not table.eq or table.name == "models" or before == after:
            continue
        if table.name in ("keys", "engines", "peers", "rpc"):
            names.append(table.name)
        else:
            parts = (each.name for each in fields(type(after)))
            names += [f"{table.name}.{part}" for part in parts if getattr(before, part) != getattr(after, part)]
    return tuple(names)


class LiveConfig(Watched):
    """The config in force. Read a value each time it is needed; to react to a new one, wait for `change`.

    Attributes:
        now: The current values, frozen.
    """

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.now = config

    def replace(self, config: Config) -> tuple[str, ...]:
        """Put a config into force, except for the keys in `AT_START`.

        Returns:
            The keys whose new values only take effect at the next start, such as "server.listen".
        """
        old, new = self.now.server, config.server
        waiting = {name: getattr(old, name) for name in AT_START if getattr(old, name) != getattr(new, name)}
        self.now = evolve(config, server=evolve(new, **waiting)) if waiting else config
        self.notify()
        return tuple(f"server.{name}" for name in waiting)
