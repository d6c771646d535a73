"""Which config file to use."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from ..errors import ConfigUnreadable
from .tilde import expand

DEFAULT_PATH = "~/.config/llmsup/llmsup.toml"


def find(explicit: str | None, environ: Mapping[str, str] = os.environ) -> Path | None:
    """Return the file that --config names, else $LLMSUP_CONFIG, else the usual one, or None if there is no file.

    Raises:
        ConfigUnreadable: The file that was named doesn't exist.
    """
    for named, by in ((explicit, "--config"), (environ.get("LLMSUP_CONFIG"), "$LLMSUP_CONFIG")):
        if named:
            path = expand(named)
            if not os.path.lexists(path):
                raise ConfigUnreadable(
                    f"There is no config at {path}, which {by} names.",
                    hint=f"Check the path, or leave {by} out to run with {DEFAULT_PATH} or the built-in defaults.",
                )
            return path
    usual = expand(DEFAULT_PATH)
    return usual if os.path.lexists(usual) else None  # `load` reports a dangling link; ignoring it would hide it
