"""What a client of a server reads in its config: the few keys of [server] that tell where and how, and nothing else.

It does not know of any other mistake in the file: those are the server's.
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
    """What the file says of its server.

    Attributes:
        server: With `KEYS` as they stand there, if they are understood; all else is the default.
        mistakes: By key, those of `KEYS`.
        source: What mistakes call the file.
    """

    server: Server = Factory(Server)
    mistakes: Mapping[str, tuple[str, ...]] = Factory(dict)
    source: str = ""

    def must_know(self, *keys: str) -> None:
        """Raise ConfigError if one of these keys has a mistake; all of them are told."""
        if mistakes := tuple(line for key in keys for line in self.mistakes.get(key, ())):
            raise ConfigError(mistakes, self.source)


def load_contact(path: Path, environ: Mapping[str, str] = os.environ) -> Contact:
    """Read it.

    Raises:
        ConfigError: It isn't TOML.
        SetupError: It can't be read.
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
