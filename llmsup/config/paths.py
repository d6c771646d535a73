"""`~` in the config's paths.

It does not know which keys are paths, nor whether anything is there.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal


def expand(path: str | Path) -> Path:
    """Put the home directory in the place of a leading `~` or `~user`; a user nobody knows is left as it is.

    (Path.expanduser raises there, and a default must not.)
    """
    return Path(os.path.expanduser(path))


def expand_all(paths: tuple[str | Path, ...]) -> tuple[Path, ...]:
    """`expand` each."""
    return tuple(expand(path) for path in paths)


def expand_optional(path: str | Path | None) -> Path | None:
    """`expand`, unless there is none."""
    return None if path is None else expand(path)


def expand_or_auto(path: str | Path) -> Path | Literal["auto"]:
    """`expand`, unless it is left to llmsup."""
    return "auto" if path == "auto" else expand(path)


def expand_text(path: str) -> str:
    """`expand`, for what is a path only sometimes: a glob, a word of a command, ""."""
    return os.path.expanduser(path) if path.startswith("~") else path
