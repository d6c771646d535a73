"""Which of Ollama's models LM Studio already has without our links: its own files, hard links, others' links.

It blocks on the disk, so run it in a worker thread.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from attrs import frozen

from ..catalog.disk.walk import Candidate, Walk
from . import own_links

Node = tuple[int, int]
"""Device and inode: a hard link or symbolic link has those of its target."""


@frozen
class Elsewhere:
    """Where each file is found, by device and inode, our own links left out; `target`: the bridge's folder."""

    files: Mapping[Node, tuple[Path, ...]]
    target: Path

    @classmethod
    def seen(cls, folder: Path | None, target: Path) -> Elsewhere:
        """Scan LM Studio's folder and the bridge's, where the user's own bridge program may also have made links.

        Args:
            folder: LM Studio's; None if it isn't installed.

        Raises:
            SetupError: The list of our links can't be read.
        """
        ours = {_place(target / path): entry.targets for path, entry in own_links.read(target).items()}
        files: dict[Node, list[Path]] = {}
        for candidate in _candidates(folder, target):
            if not _is_ours(candidate.path, ours):
                files.setdefault(candidate.stamp.node, []).append(candidate.path)
        return cls({node: tuple(paths) for node, paths in files.items()}, target)

    def has(self, blob: Path, link: str) -> str:
        """Where LM Studio has one of Ollama's blobs; "" if it hasn't.

        Args:
            link: Path of the wanted link, under the target. One that someone else made there will do, so it isn't
                reported.
        """
        try:
            status = os.stat(blob)
        except OSError:
            return ""
        wanted = _place(self.target / link)
        others = (path for path in self.files.get((status.st_dev, status.st_ino), ()) if _place(path) != wanted)
        return str(next(others, ""))


def _candidates(folder: Path | None, target: Path) -> Iterator[Candidate]:
    folders = [folder] if folder is not None else []
    if folder is None or not target.resolve().is_relative_to(folder.resolve()):
        folders.append(target)
    for each in folders:
        walk = Walk(each)
        walk.run()
        yield from walk.candidates


def _is_ours(path: Path, ours: Mapping[tuple[str, str], tuple[str, ...]]) -> bool:
    try:
        return os.readlink(path) in ours.get(_place(path), ())
    except OSError:
        return False  # not a link


def _place(path: Path) -> tuple[str, str]:
    """Where a link itself is, the same however its folder is reached."""
    return os.path.realpath(path.parent), path.name
