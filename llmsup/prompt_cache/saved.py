"""One saved slot: its manifest, and the three files that it consists of, of which the manifest is written last."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping
from pathlib import Path

import msgspec
from attrs import evolve, frozen

from ..process.atomic import write_atomic

FORMAT = 1
LARGEST_MANIFEST = 64 * 1024
NAME = re.compile(r"([0-9a-f]{32})\.(data|sum|json)")
"""The names of our files."""


@frozen(kw_only=True)
class Saved:
    """What is known of one saved slot.

    Attributes:
        id: Under which its files are kept.
        model: The model's name when it was saved, for people.
        fingerprint: What it may be restored to.
        tokens: How many it holds.
        bytes: The size of its data.
        digest: SHA-256 of its data.
        saved_at: When it was saved (Unix seconds).
        used_at: When it was last restored or saved (Unix seconds).
    """

    id: str
    model: str
    fingerprint: Mapping[str, str]
    tokens: int
    bytes: int
    digest: str
    saved_at: float
    used_at: float


@frozen
class _Document:
    format: int
    saved: Saved


def data_file(directory: Path, saved_id: str) -> Path:
    """Where its data is."""
    return directory / f"{saved_id}.data"


def digest_of(path: Path) -> str:
    """SHA-256 of a file. Raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def seal(directory: Path, saved: Saved) -> Saved:
    """Complete an entry whose data is in its place: its checksum, then its manifest. Returns it with the checksum.

    Raises:
        OSError: It can't be written, or is not as large as the entry says; nothing is left of it.
    """
    path = data_file(directory, saved.id)
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            size = file.tell()
            os.fsync(file.fileno())
        if size != saved.bytes:
            raise OSError(f"{path} has {size} bytes instead of {saved.bytes}")  # noqa: TRY301 -- as if it were the disk
        saved = evolve(saved, digest=digest)
        write_atomic(directory / f"{saved.id}.sum", digest.encode())
        note(directory, saved)
    except BaseException:
        remove(directory, saved.id)
        raise
    return saved


def note(directory: Path, saved: Saved) -> None:
    """Write the manifest. Raises OSError."""
    write_atomic(directory / f"{saved.id}.json", msgspec.json.encode(_Document(FORMAT, saved)))


def remove(directory: Path, saved_id: str) -> None:
    """Remove all its files: the manifest first, so that what a crash leaves is no entry any more."""
    for end in ("json", "sum", "data"):
        (directory / f"{saved_id}.{end}").unlink(missing_ok=True)


def read(directory: Path, saved_id: str) -> Saved | None:
    """Read a manifest, and compare it with the other two files as far as that is cheap; None if anything is off.

    Raises:
        OSError: It can't be read although it is there.
    """
    path = directory / f"{saved_id}.json"
    try:
        if path.stat().st_size > LARGEST_MANIFEST:
            return None
        document = msgspec.json.decode(path.read_bytes(), type=_Document)
        digest = (directory / f"{saved_id}.sum").read_bytes()
        size = data_file(directory, saved_id).stat().st_size
    except FileNotFoundError:
        return None
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None
    saved = document.saved
    whole = document.format == FORMAT and saved.id == saved_id and digest == saved.digest.encode()
    return saved if whole and size == saved.bytes and saved.tokens > 0 else None


def verify(directory: Path, saved: Saved) -> bool:
    """Whether its data is what was saved: reads all of it. Raises OSError."""
    path = data_file(directory, saved.id)
    return path.stat().st_size == saved.bytes and digest_of(path) == saved.digest
