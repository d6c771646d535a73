"""Facts from files' headers, kept from one run to the next: 500 models are known at once without opening them."""

from __future__ import annotations

import sys
from collections.abc import Collection
from pathlib import Path

import msgspec
from attrs import frozen

from ...process.atomic import write_atomic
from ...process.kept import read_kept
from ..found import Stamp, Unreadable
from .facts import Facts
from .reader import BadGguf, read_header
from .summary import summarise

FORMAT = 2
"""Raised when Facts, or what is put into them, change: what an older version saved is then read again."""

LARGEST_FILE = 64 * 1024**2
"""Bytes. What is known of a file has about one kB."""


@frozen
class _Kept:
    path: str
    size: int
    mtime_ns: int
    facts: Facts | None = None
    reason: str = ""


@frozen
class _Document:
    format: int
    files: tuple[_Kept, ...]


class HeaderCache:
    """Facts by the state of the file that they were read from.

    `load`, `read` and `save` block on the disk; one call at a time, from any thread.
    """

    def __init__(self, file: Path) -> None:
        """`file`: where they are kept."""
        self._file = file
        self._known: dict[Stamp, Facts | Unreadable] = {}
        self._on_disk: frozenset[Stamp] = frozenset()

    def load(self) -> str | None:
        """Load what was saved; a file that is missing, damaged or of another version counts as empty.

        Returns:
            Why an existing file couldn't be used, a sentence, or None.
        """
        self._known, self._on_disk = {}, frozenset()
        said, trouble = read_kept(
            self._file, _Document, version=FORMAT, largest=LARGEST_FILE, instead="the models' files are read again"
        )
        for kept in said.files if said is not None else ():
            stamp = Stamp(Path(kept.path), kept.size, kept.mtime_ns)
            self._known[stamp] = kept.facts if kept.facts is not None else Unreadable(kept.reason)
        self._on_disk = frozenset(self._known)
        return trouble

    def get(self, stamp: Stamp) -> Facts | Unreadable | None:
        """What is known of a file in this state, or None."""
        return self._known.get(stamp)

    def read(self, stamp: Stamp) -> Facts | Unreadable:
        """Read a file's header and remember what it says, if the file is still in this state.

        A failure to read is returned but not remembered: it has nothing to do with the file's state.
        """
        try:
            said = _read(stamp)
            now = stamp.path.stat()
        except OSError as error:
            return Unreadable(f"it can't be read: {error.strerror or error}")
        if (now.st_size, now.st_mtime_ns) == (stamp.size, stamp.mtime_ns):
            self._known[stamp] = said
        return said

    def save(self, keep: Collection[Stamp]) -> str | None:
        """Write what is known of these files, and forget the others; nothing is written if nothing changed.

        The file is replaced as a whole.

        Returns:
            Why it could not be written, a sentence; None on success.
        """
        self._known = {stamp: self._known[stamp] for stamp in keep if stamp in self._known}
        stamps = frozenset(self._known)
        if stamps == self._on_disk:
            return None
        files = tuple(_kept(stamp, said) for stamp, said in self._known.items() if _is_text(stamp.path))
        data = msgspec.json.encode(_Document(FORMAT, files))
        try:
            write_atomic(self._file, data)
        except OSError as error:
            return f"what the models' headers say can't be kept in {self._file}: {error.strerror or error}."
        self._on_disk = stamps
        return None


def _read(stamp: Stamp) -> Facts | Unreadable:
    try:
        header = read_header(stamp.path)
    except BadGguf as bad:
        return Unreadable(bad.reason)
    if header.big_endian != (sys.byteorder == "big"):
        order = "big" if header.big_endian else "little"
        return Unreadable(f"its numbers are {order}-endian, which llama.cpp can't read on this machine")
    return summarise(header, stamp.size, file_name=stamp.path.name)


def _kept(stamp: Stamp, said: Facts | Unreadable) -> _Kept:
    facts, reason = (said, "") if isinstance(said, Facts) else (None, said.reason)
    return _Kept(str(stamp.path), stamp.size, stamp.mtime_ns, facts, reason)


def _is_text(path: Path) -> bool:
    """Whether a path can be written as UTF-8 JSON; files with other names are read again in each run."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return False
    return True
