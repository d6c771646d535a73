"""Expanding `~` in the config's paths."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal


def expand(path: str | Path) -> Path:
    """Replace a leading `~` or `~user` with the home directory; leave an unknown user alone.

    (Path.expanduser raises for an unknown user, and a default must not raise.)
    """
    return Path(os.path.expanduser(path))


def expand_all(paths: tuple[str | Path, ...]) -> tuple[Path, ...]:
    """`expand` each of the paths."""
    return tuple(expand(path) for path in paths)


def expand_optional(path: str | Path | None) -> Path | None:
    """`expand`, unless the path is None."""
    return None if path is None else expand(path)


def expand_or_auto(path: str | Path) -> Path | Literal["auto"]:
    """`expand`, unless the value is "auto"."""
    return "auto" if path == "auto" else expand(path)


def expand_text(path: str) -> str:
    """`expand`, for text that is not always a path: a glob, a word of a command, ""."""
    return os.path.expanduser(path) if path.startswith("~") else path
