"""Reads config files for the commands, with all the kinds of engine that there are."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from ..config import Config, read_text
from ..config import load as load_with
from ..config import understand as understand_with


def load(path: Path, environ: Mapping[str, str] = os.environ) -> Config:
    """Read a config file; it may name every kind of engine that there is.

    Raises:
        ConfigError: It has mistakes; all of them are told.
        SetupError: It can't be read.
    """
    from ..engines.kinds import KINDS  # it brings trio along

    return load_with(path, environ, engines=KINDS.words)


def understand(path: Path, environ: Mapping[str, str] = os.environ) -> tuple[Config, tuple[str, ...]]:
    """What can be understood of a config file that may have mistakes, and all of them.

    Raises:
        ConfigError: It isn't TOML.
        SetupError: It can't be read.
    """
    from ..engines.kinds import KINDS

    return understand_with(read_text(path), str(path), environ, engines=KINDS.words)
