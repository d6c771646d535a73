"""Where LM Studio keeps its models, and whether it is installed.

Sources: lmstudio-js packages/lms-common-server/src/findLMStudioHome.ts, lms src/subcommands/importCmd.ts.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from ...config.schema import Catalog

BRIDGE = "ollama"
"""The bridge's folder, among LM Studio's folders of publishers."""

OURS = ".made-by-llmsup"
"""A file in a folder of models that `llmsup pull` has made: models in it are no sign of LM Studio."""

FORMER = (Path("~/.cache/lm-studio/models/ollama"), Path("~/.lmstudio/models/ollama"))
"""Where links may have been made before llmsup looked up LM Studio's own setting."""

_POINTER = "~/.lmstudio-home-pointer"
_HOMES = ("~/.cache/lm-studio", "~/.lmstudio")  # in LM Studio's own order
_LARGEST_SETTINGS = 1 << 20


def models_folder(environ: Mapping[str, str] | None = None) -> Path | None:
    """The folder that LM Studio downloads to; None if it isn't installed. Blocks on the disk.

    Args:
        environ: The environment; None: ours.
    """
    home = _home(os.environ if environ is None else environ)
    if home is None:
        return None
    said = _settings(home / "settings.json").get("downloadsFolder")
    folder = Path(os.path.expanduser(said)) if isinstance(said, str) and "\0" not in said else Path()
    return folder if folder.is_absolute() else home / "models"


def bridge_target(configured: Path | Literal["auto"]) -> Path | None:
    """Where the bridge's links go: the configured folder, else one in LM Studio's; None if LM Studio isn't installed.
    Blocks on the disk.
    """
    if configured != "auto":
        return Path(os.path.abspath(configured))
    folder = models_folder()
    return folder and folder / BRIDGE


def model_roots(catalog: Catalog) -> tuple[Path, ...]:
    """The catalog's roots; by default LM Studio's own folder is one of them. Blocks on the disk."""
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
    """Whether LM Studio has used this folder; what a bridge or a pull made without LM Studio doesn't count."""
    models = _names(home / "models")
    return bool(_names(home) - {"models"} or (models - {BRIDGE} and OURS not in models))


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
