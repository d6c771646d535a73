"""What LM Studio has of Ollama's models without a link of ours: its own files, hard links, links that others made.

It does not know which links there should be. It blocks on the disk, so it is for a worker thread.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from attrs import frozen

from ..catalog.disk.walk import Candidate, Walk
from . import ledger

Node = tuple[int, int]
"""Device and inode: hard links and links have those of what they lead to."""


@frozen
class Elsewhere:
    """Where each file is, by what it really is, less our own links; `target`: the bridge's folder."""

    files: Mapping[Node, tuple[Path, ...]]
    target: Path

    @classmethod
    def seen(cls, folder: Path | None, target: Path) -> Elsewhere:
        """Look through LM Studio's folder, and through the bridge's, where a program of the user's may link, too.

        Args:
            folder: LM Studio's; None if it isn't installed.

        Raises:
            SetupError: The list of our links can't be read.
        """
        ours = {_place(target / path): entry.targets for path, entry in ledger.read(target).items()}
        files: dict[Node, list[Path]] = {}
        for candidate in _candidates(folder, target):
            if not _is_ours(candidate.path, ours):
                files.setdefault(candidate.stamp.node, []).append(candidate.path)
        return cls({node: tuple(paths) for node, paths in files.items()}, target)

    def has(self, blob: Path, link: str) -> str:
        """Where LM Studio has a blob of Ollama's; "" if it hasn't.

        Args:
            link: The path under the target of the link that is wanted: one that somebody made there is as good.
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
        return False  # no link


def _place(path: Path) -> tuple[str, str]:
    """A link's own place, by whichever way its folder is reached."""
    return os.path.realpath(path.parent), path.name
