"""Where Ollama's manifests are; their paths are the models' names.

Sources: Ollama's manifest/paths.go, types/model/name.go.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from attrs import frozen

from ..found import LeftOut

MOST_MANIFESTS = 10_000

DEFAULT_HOST, DEFAULT_NAMESPACE, DEFAULT_TAG = "registry.ollama.ai", "library", "latest"
_SAME_HOST = "ollama.com"  # newer versions' name for the default host, in manifests-v2
_FOLDERS = ("manifests-v2", "manifests")  # a name that is in both is read from the first one

_HOST = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:-]{0,349}")
_NAMESPACE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,79}")
_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,79}")


@frozen
class ManifestPath:
    """The path of a manifest, and the model's name that it spells out."""

    path: Path
    host: str
    namespace: str
    model: str
    tag: str

    @property
    def name(self) -> str:
        """The name as Ollama shows it, always with the tag."""
        return f"{self._front}{self.model}:{self.tag}"

    @property
    def aliases(self) -> tuple[str, ...]:
        """Other spellings that Ollama accepts for it: without ":latest", with "library/", with the host."""
        fronts = [self._front]
        if self.host == DEFAULT_HOST:
            fronts += [f"{self.namespace}/", f"{self.host}/{self.namespace}/"]
        ends = ([self.model] if self.tag == DEFAULT_TAG else []) + [f"{self.model}:{self.tag}"]
        spelled = dict.fromkeys(front + end for front in fronts for end in ends)
        return tuple(name for name in spelled if name != self.name)

    @property
    def _front(self) -> str:
        if self.host == DEFAULT_HOST:
            return "" if self.namespace == DEFAULT_NAMESPACE else f"{self.namespace}/"
        return f"{self.host}/{self.namespace}/"


def manifests(root: Path) -> tuple[list[ManifestPath], list[LeftOut]]:
    """All manifests of a store, by name, and the folders and files that can't be read or aren't named like a model."""
    found: dict[str, ManifestPath] = {}
    left_out: list[LeftOut] = []
    files = (path for folder in _FOLDERS for path in _files(root / folder, 4, left_out))
    for seen, path in enumerate(files):
        if seen == MOST_MANIFESTS:
            left_out.append(LeftOut(root, f"only {MOST_MANIFESTS} of its manifests are read"))
            break
        host, namespace, model, tag = path.parts[-4:]
        named = _HOST.fullmatch(host) and _NAMESPACE.fullmatch(namespace)
        if not (named and _PART.fullmatch(model) and _PART.fullmatch(tag)):
            left_out.append(LeftOut(path, "its path is no name of an Ollama model"))
            continue
        if host.casefold() in (DEFAULT_HOST, _SAME_HOST):
            host = DEFAULT_HOST
        place = ManifestPath(path, host, namespace, model, tag)
        found.setdefault(place.name, place)
    return sorted(found.values(), key=lambda place: place.name), left_out


def _files(folder: Path, depth: int, left_out: list[LeftOut]) -> Iterator[Path]:
    """The files so many levels below, without hidden ones: Ollama's unfinished manifests, a Mac's .DS_Store."""
    try:
        with os.scandir(folder) as listing:
            names = sorted(entry.name for entry in listing if not entry.name.startswith("."))
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        left_out.append(LeftOut(folder, f"it can't be read: {error.strerror or error}"))
        return
    for name in names:
        if depth == 1:
            yield folder / name
        else:
            yield from _files(folder / name, depth - 1, left_out)
