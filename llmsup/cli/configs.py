"""Reading a config file for the commands, which know what engines there are.

It does not know which file that is.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from ..config import Config
from ..config import load as load_with


def load(path: Path, environ: Mapping[str, str] = os.environ) -> Config:
    """Read a config file; it may name every kind of engine that there is.

    Raises:
        ConfigError: It has mistakes; all of them are told.
        SetupError: It can't be read.
    """
    from ..engines.kinds import KINDS  # it brings trio along

    return load_with(path, environ, engines=KINDS.words)
