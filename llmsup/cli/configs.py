"""Reads config files for the commands; a config can name any kind of engine in `engines/kinds.py`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from ..config import Config, read_text
from ..config import load as load_with
from ..config import understand as understand_with
from ..errors import ConfigError


def load(path: Path, environ: Mapping[str, str] = os.environ) -> Config:
    """Read a config file.

    Raises:
        ConfigError: It has mistakes; the error lists all of them.
        SetupError: It can't be read.
    """
    from ..engines.kinds import KINDS  # here, because it imports trio

    return load_with(path, environ, engines=KINDS.words)


def usable(path: Path, tables: tuple[str, ...], environ: Mapping[str, str] = os.environ) -> Config:
    """A config for a command that needs some of its tables: mistakes elsewhere, like a variable that only the server's
    environment has, are none of its business.

    Raises:
        ConfigError: Those tables have mistakes, or it isn't TOML.
        SetupError: It can't be read.
    """
    config, mistakes = understand(path, environ)
    ours = tuple(line for line in mistakes if line.rpartition(f"@ {path}: ")[2].partition(".")[0] in tables)
    if ours:
        raise ConfigError(ours, str(path))
    return config


def understand(path: Path, environ: Mapping[str, str] = os.environ) -> tuple[Config, tuple[str, ...]]:
    """As much of a config file as can be read, and all the mistakes in it.

    Raises:
        ConfigError: It isn't TOML.
        SetupError: It can't be read.
    """
    from ..engines.kinds import KINDS

    return understand_with(read_text(path), str(path), environ, engines=KINDS.words)
