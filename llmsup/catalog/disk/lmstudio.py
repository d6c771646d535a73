"""Where LM Studio keeps its models, and whether it is installed.

It does not know what lies there. Facts: lmstudio-js packages/lms-common-server/src/findLMStudioHome.ts, lms
src/subcommands/importCmd.ts.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from ...config.schema import Catalog

BRIDGE = "ollama"
"""The folder of links among LM Studio's publishers."""

FORMER = (Path("~/.cache/lm-studio/models/ollama"), Path("~/.lmstudio/models/ollama"))
"""Where links went, or may have gone, before LM Studio was asked for its folder."""

_POINTER = "~/.lmstudio-home-pointer"
_HOMES = ("~/.cache/lm-studio", "~/.lmstudio")  # in the order in which it looks itself
_LARGEST_SETTINGS = 1 << 20


def models_folder(environ: Mapping[str, str] | None = None) -> Path | None:
    """The folder that LM Studio downloads to; None if it isn't installed. It blocks on the disk.

    Args:
        environ: The environment; ours if None.
    """
    home = _home(os.environ if environ is None else environ)
    if home is None:
        return None
    said = _settings(home / "settings.json").get("downloadsFolder")
    folder = Path(os.path.expanduser(said)) if isinstance(said, str) and "\0" not in said else Path()
    return folder if folder.is_absolute() else home / "models"


def bridge_target(configured: Path | Literal["auto"]) -> Path | None:
    """Where the bridge's links go: what was configured holds; else LM Studio's folder, and None where there is no
    LM Studio. It blocks on the disk.
    """
    if configured != "auto":
        return Path(os.path.abspath(configured))
    folder = models_folder()
    return folder and folder / BRIDGE


def model_roots(catalog: Catalog) -> tuple[Path, ...]:
    """The catalog's roots; left at their default, the folder that LM Studio uses is one of them. It blocks on the
    disk.
    """
    if catalog.roots != Catalog().roots:
        return catalog.roots
    folder = models_folder()
    return catalog.roots if folder is None or folder in catalog.roots else (folder, *catalog.roots)


def _home(environ: Mapping[str, str]) -> Path | None:
    if said := environ.get("LMSTUDIO_HOME", ""):
        return Path(os.path.abspath(said)) if os.path.isdir(said) else None
    try:
        pointed = Path(_POINTER).expanduser().read_text("utf-8", "replace").strip()
    except (OSError, RuntimeError):
        pointed = ""
    if os.path.isabs(pointed) and "\0" not in pointed and os.path.isdir(pointed):
        return Path(pointed)
    return next((home for home in map(Path, map(os.path.expanduser, _HOMES)) if _is_home(home)), None)


def _is_home(home: Path) -> bool:
    """Whether LM Studio was there: not if there is nothing but links that a bridge made where it wasn't installed."""
    return bool(_names(home) - {"models"} or _names(home / "models") - {BRIDGE})


def _names(folder: Path) -> set[str]:
    try:
        return set(os.listdir(folder))
    except OSError:
        return set()


def _settings(file: Path) -> Mapping[str, object]:
    try:
        with file.open("rb") as source:
            said = json.loads(source.read(_LARGEST_SETTINGS))
    except (OSError, ValueError, RecursionError):
        return {}
    return said if isinstance(said, dict) else {}
