"""The few keys of [server] that a client needs in order to reach a running server.

Mistakes elsewhere in the file are ignored: they are the server's business, and must not keep a client from working.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from attrs import Factory, frozen

from ..errors import ConfigError
from .load import read_text, tables_of
from .schema import Server
from .tables import read_table
from .wording import Report, got

KEYS = ("listen", "api_keys", "state_dir", "certfile")


@frozen
class Contact:
    """What the file says about reaching its server.

    Attributes:
        server: `KEYS` as the file has them, where they could be read; everything else has its default.
        mistakes: The mistakes in `KEYS`, by key.
        source: The file's name in error messages.
    """

    server: Server = Factory(Server)
    mistakes: Mapping[str, tuple[str, ...]] = Factory(dict)
    source: str = ""

    def must_know(self, *keys: str) -> None:
        """Raise ConfigError, with every mistake, if one of these keys has any."""
        if mistakes := tuple(line for key in keys for line in self.mistakes.get(key, ())):
            raise ConfigError(mistakes, self.source)


def load_contact(path: Path, environ: Mapping[str, str] = os.environ) -> Contact:
    """Read the contact keys of a config file.

    Raises:
        ConfigError: The file isn't TOML.
        SetupError: The file can't be read.
    """
    source = str(path)
    raw = tables_of(read_text(path), source).get("server", {})
    if type(raw) is not dict:
        report = Report(source)
        report.add(f"expected a table, {got(raw)}", "server")
        return Contact(mistakes={"listen": tuple(report.lines)}, source=source)
    values: dict[str, Any] = {}
    mistakes: dict[str, tuple[str, ...]] = {}
    for key in KEYS:
        if key not in raw:
            continue
        report = Report(source)
        read = read_table(Server, {key: raw[key]}, ("server",), environ, report)
        if report.lines:
            mistakes[key] = tuple(report.lines)
        else:
            values[key] = getattr(read.value, key)
    return Contact(Server(**values), mistakes, source)
