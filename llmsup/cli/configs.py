"""Reads config files for the commands; a config can name any kind of engine in `engines/kinds.py`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from ..config import Config, read_text
from ..config import load as load_with
from ..config import understand as understand_with


def load(path: Path, environ: Mapping[str, str] = os.environ) -> Config:
    """Read a config file.

    Raises:
        ConfigError: It has mistakes; the error lists all of them.
        SetupError: It can't be read.
    """
    from ..engines.kinds import KINDS  # here, because it imports trio

    return load_with(path, environ, engines=KINDS.words)


def understand(path: Path, environ: Mapping[str, str] = os.environ) -> tuple[Config, tuple[str, ...]]:
    """As much of a config file as can be read, and all the mistakes in it.

    Raises:
        ConfigError: It isn't TOML.
        SetupError: It can't be read.
    """
    from ..engines.kinds import KINDS

    return understand_with(read_text(path), str(path), environ, engines=KINDS.words)
