"""Resolves a model's `path` to one file, under a catalog root or at an absolute path; the file isn't opened."""

from __future__ import annotations

import glob
import os
import unicodedata
from collections.abc import Iterable
from pathlib import Path

from ...config.schema import ModelSpec
from ...errors import SetupError
from ..name_parts import split_name


def resolve_path(spec: ModelSpec, roots: Iterable[Path], *, directories: bool = False) -> Path:
    """Find the one file that a model's `path` means; of a split model, the first shard.

    Args:
        roots: Where to look for a relative path.
        directories: Accept directories too; some engines' models are.

    Raises:
        SetupError: Nothing matches, or several models do; the message names them, or the roots looked in.
    """
    pattern = os.path.expanduser(spec.path)
    tops = [""] if Path(pattern).is_absolute() else [str(root.expanduser()) for root in roots]
    # os.path answers False where Path raises: for a name that is too long, or a folder that we may not enter
    for spelt in dict.fromkeys((pattern, *(unicodedata.normalize(form, pattern) for form in ("NFC", "NFD")))):
        # a typed name has composed characters, one written by macOS decomposed ones
        reached = [path for top in tops for path in _matches(top, spelt)]
        found = {path for path in reached if os.path.isfile(path) or (directories and os.path.isdir(path))}
        if models := _distinct(found):
            break
    if len(models) == 1:
        return models[0]
    where = f"model {spec.name}: path {spec.path!r}"
    if models:
        several = ", ".join(str(model) for model in models)
        raise SetupError(f"{where} matches {len(models)} models: {several}.", hint="Name one of them.")
    looked = "" if tops == [""] else f" Looked in {', '.join(tops) or 'no catalog root: [catalog] has none'}."
    raise SetupError(f"{where} matches no file.{looked}")


def _matches(top: str, pattern: str) -> list[Path]:
    whole = Path(top, pattern)
    if os.path.exists(whole) or not glob.has_magic(pattern):  # a file's name may contain brackets
        return [whole]
    # Not recursive: "**" would go round in circles where links lead back.
    paths = [Path(top, found) for found in glob.glob(pattern, root_dir=top or None)]
    # A projector is kept beside its model but isn't one; "*.gguf" must match only the model.
    return [path for path in paths if "mmproj" not in path.name.lower() or "mmproj" in pattern.lower()]


def _distinct(paths: Iterable[Path]) -> list[Path]:
    """One path per model: a file reached twice through links counts once, and so do a model's shards."""
    models: dict[object, Path] = {}
    for path in sorted(paths):
        stem, _, parts = split_name(path.name)
        key = (path.parent.resolve(), stem, parts) if parts > 1 else path.resolve()
        models.setdefault(key, path)
    return list(models.values())
