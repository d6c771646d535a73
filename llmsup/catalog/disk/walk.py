"""Finds every GGUF under one folder, following links; no file is opened."""

from __future__ import annotations

import os
import re
import stat
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from pathlib import Path

from attrs import Factory, define, frozen

from ..found import LeftOut, Stamp
from ..labels import STARTED, UNFINISHED, unserved_names

DEEPEST = 8
"""Folders between a root and a file; LM Studio uses two, the Hugging Face cache three."""

MOST_FOLDERS = 10_000
"""Folders in one root: a link to "/" must not become a walk through the whole disk."""

_HUB_CACHE = re.compile(r"(?:.*/)?models--(?P<repo>[^/]+)/snapshots/[^/]+(?P<below>/.+)?", re.DOTALL)
"""huggingface_hub's file_download.py, repo_folder_name; a snapshot holds links into `blobs`."""

Scandir = Callable[[str], AbstractContextManager[Iterable[os.DirEntry[str]]]]


@frozen
class Candidate:
    """A file that may be a model, or belong to one.

    Attributes:
        path: The path by which it was reached.
        stamp: The real file.
        root: The root that it was found under.
        relative: Its path under the root, with "/" between the folders.
        linked: Whether a link below the root led to it.
        bridged: Whether that link is one that the bridge made into Ollama's store.
    """

    path: Path
    stamp: Stamp
    root: Path
    relative: str
    linked: bool = False
    bridged: bool = False

    @property
    def place(self) -> str:
        """The folders between root and file; "" if there are none."""
        return self.relative.rpartition("/")[0]

    @property
    def folder(self) -> str:
        """Those folders as they are used in names: in Hugging Face's cache `org/repo`, whatever the revision."""
        if match := _HUB_CACHE.fullmatch(f"{self.root}/{self.place}".rstrip("/")):
            return match["repo"].replace("--", "/", 1) + (match["below"] or "")
        return self.place

    @property
    def published(self) -> str:
        """The file's path with `folder` in place of the real folders."""
        return f"{self.folder}/{self.name}" if self.folder else self.name

    @property
    def name(self) -> str:
        """The file's name."""
        return self.relative.rpartition("/")[2]


@frozen
class _Folder:
    """A folder to list; `relative` is "" or ends with "/"."""

    path: str
    real: str
    relative: str = ""
    depth: int = 0
    linked: bool = False


@define
class Walk:
    """A walk through one root, breadth first and by name.

    Links to folders come last, so that a file is reached by its real path where it has one under the root. No real
    folder is listed twice, so loops end.

    Attributes:
        root: A missing root counts as empty.
        scandir: Lists a folder.
        candidates: The files that were found.
        left_out: What was not taken, by real path.
    """

    root: Path
    scandir: Scandir = os.scandir
    candidates: list[Candidate] = Factory(list)
    left_out: dict[str, LeftOut] = Factory(dict)
    _seen: set[tuple[int, int]] = Factory(set)
    _real_folders: deque[_Folder] = Factory(deque)
    _links: deque[_Folder] = Factory(deque)

    def run(self) -> None:
        """Walk the whole root."""
        top = str(self.root)
        if not os.path.lexists(top):
            return
        self._real_folders.append(_Folder(top, os.path.realpath(top)))
        while self._real_folders or self._links:
            folder = (self._real_folders or self._links).popleft()
            if len(self._seen) >= MOST_FOLDERS:
                reason = f"{self.root} has more than {MOST_FOLDERS} folders: this one and others were not searched"
                self._leave_out(folder.path, folder.real, reason)
                return
            try:
                self._look_into(folder)
            except OSError as error:
                self._leave_out(folder.path, folder.real, f"it can't be listed: {error.strerror}")

    def _look_into(self, folder: _Folder) -> None:
        status = os.stat(folder.path)
        identity = (status.st_dev, status.st_ino)
        if identity in self._seen:
            return
        self._seen.add(identity)
        with self.scandir(folder.path) as listing:
            entries = sorted((entry for entry in listing if entry.name[0] != "."), key=lambda entry: entry.name)
        names = {entry.name for entry in entries}
        for entry in entries:
            try:
                self._look_at(entry, folder, sidecar=f"{entry.name}.aria2" in names)
            except OSError as error:
                gone = isinstance(error, FileNotFoundError) and entry.is_symlink()
                reason = "a dangling link" if gone else f"it can't be read: {error.strerror}"
                self._leave_out(entry.path, f"{folder.real}/{entry.name}", reason)

    def _look_at(self, entry: os.DirEntry[str], folder: _Folder, *, sidecar: bool) -> None:
        link = entry.is_symlink()
        if not link and not entry.is_dir() and not _concerns_us(entry.name):
            return
        status = entry.stat()
        if stat.S_ISDIR(status.st_mode):
            self._note_folder(entry, folder, link=link)
        elif _concerns_us(entry.name):
            place = f"{folder.real}/{entry.name}"
            if reason := _why_not(entry.name, status, sidecar=sidecar):
                self._leave_out(entry.path, place, reason)
                return
            real = os.path.realpath(entry.path) if link else place
            stamp = Stamp(Path(real), status.st_size, status.st_mtime_ns, (status.st_dev, status.st_ino))
            relative = folder.relative + entry.name
            self.candidates.append(
                Candidate(Path(entry.path), stamp, self.root, relative, linked=link or folder.linked)
            )

    def _note_folder(self, entry: os.DirEntry[str], above: _Folder, *, link: bool) -> None:
        real = os.path.realpath(entry.path) if link else f"{above.real}/{entry.name}"
        if above.depth == DEEPEST:
            self._leave_out(entry.path, real, f"it is more than {DEEPEST} folders deep, and was not searched")
            return
        relative = f"{above.relative}{entry.name}/"
        queue = self._links if link else self._real_folders
        queue.append(_Folder(entry.path, real, relative, above.depth + 1, linked=link or above.linked))

    def _leave_out(self, path: str, real: str, reason: str) -> None:
        relative = os.path.relpath(path, self.root)
        names = () if relative == "." else unserved_names(relative)
        self.left_out.setdefault(real, LeftOut(Path(path), reason, names))


def _concerns_us(name: str) -> bool:
    return name.lower().endswith((".gguf", ".imatrix", *UNFINISHED))


def _why_not(name: str, status: os.stat_result, *, sidecar: bool) -> str:
    """Why a file is not a candidate, by its name and type; "" if it is. `sidecar`: aria2's control file is beside it,
    which is removed when the download completes.
    """
    lower = name.lower()
    if lower.endswith(".imatrix"):
        return "an importance matrix"
    if sidecar or lower.endswith(UNFINISHED) or lower.startswith(STARTED):
        return "an unfinished download"
    return "" if stat.S_ISREG(status.st_mode) else "it is not a regular file"
