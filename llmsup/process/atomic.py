"""Files written whole or not at all: readers see the old or the new one, also after a power cut."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO


def write_atomic(path: Path, data: bytes, *, private: bool = True, replace: bool = True) -> None:
    """Write a file; arguments and errors as for `replacing`."""
    with replacing(path, private=private, replace=replace) as file:
        file.write(data)


@contextlib.contextmanager
def replacing(path: Path, *, private: bool = True, replace: bool = True) -> Iterator[BinaryIO]:
    """A new file that replaces `path` when the block ends, or is removed if the block raises.

    It is written beside it under a hidden name, as a rename is atomic only within one file system. A link is replaced,
    not its target. The directory is created if it is missing.

    Args:
        private: Only its owner may read it, or enter a directory created for it. Otherwise a replaced file keeps its
            mode.
        replace: Replace an existing file. Without it an existing file is left untouched, even in a race.

    Raises:
        FileExistsError: The file exists and may not be replaced, or something else is where a directory should be.
        OSError: It can't be written.
    """
    path.parent.mkdir(mode=0o700 if private else 0o777, parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name.lstrip('.')[:100]}.{secrets.token_hex(4)}.tmp")
    mode = 0o600 if private else 0o666
    try:
        with _new(temporary, mode) as file:
            yield file
            _sync(file)
        if replace:
            if not private:
                _keep_mode(temporary, path)
            os.replace(temporary, path)
        else:
            _name(temporary, path, mode)
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
    _sync_directory(path.parent)


def _new(path: Path, mode: int) -> BinaryIO:
    return open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode), "wb")


def _sync(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())


def _keep_mode(temporary: Path, path: Path) -> None:
    with contextlib.suppress(FileNotFoundError):
        temporary.chmod(stat.S_IMODE(path.lstat().st_mode))


def _name(temporary: Path, path: Path, mode: int) -> None:
    """Give the finished file its name, unless another file has it by now."""
    try:
        os.link(temporary, path)
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links
        with temporary.open("rb") as source, _new(path, mode) as file:
            try:
                shutil.copyfileobj(source, file)
                _sync(file)
            except OSError:
                path.unlink(missing_ok=True)
                raise


def _sync_directory(path: Path) -> None:
    with contextlib.suppress(OSError):  # not every file system supports this; the file itself is safe
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
