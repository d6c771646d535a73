"""How much of a file lies in the system's page cache, and reading it ahead.

Both block for some milliseconds, on a slow disk for longer: not for the event loop.
"""

from __future__ import annotations

import ctypes
import fcntl
import mmap
import os
import sys
from collections.abc import Iterable
from functools import cache
from pathlib import Path

PAGE = mmap.PAGESIZE

WINDOWS, WINDOW = 256, 64
"""A large file is sampled: so many windows, spread evenly, of so many pages each. A look takes about a millisecond."""

_RESIDENT = 1  # the same bit on Linux and on a Mac (MINCORE_INCORE)
_F_RDADVISE = 44  # macOS <sys/fcntl.h>: struct radvisory { off_t ra_offset; int ra_count; }


def cached_share(files: Iterable[Path]) -> float | None:
    """The share of some files, taken together, that is in the page cache: 0 to 1.

    None if that can't be told: one of them can't be opened, or neither belongs to us nor may be written by us. The
    system then keeps to itself what others have read (Linux says of every page that it is there).
    """
    here, whole = 0.0, 0
    for path in files:
        try:
            share, size = _of_file(path)
        except (OSError, ValueError):
            return None
        here, whole = here + share * size, whole + size
    return min(here / whole, 1.0) if whole else None


def _of_file(path: Path) -> tuple[float, int]:
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        status = os.fstat(file)
        if status.st_uid != os.geteuid() and os.geteuid() and not os.access(path, os.W_OK):
            raise PermissionError
        pages = -(-status.st_size // PAGE)
        if not pages:
            return 1.0, 0
        seen = [_resident(file, first, count) for first, count in windows(pages)]
        return sum(seen) / sum(count for _, count in windows(pages)), status.st_size
    finally:
        os.close(file)


def windows(pages: int) -> list[tuple[int, int]]:
    """The windows of a file with so many pages: the first page of each, and how many it has."""
    if pages <= WINDOWS * WINDOW:
        return [(0, pages)]
    apart = (pages - WINDOW) / (WINDOWS - 1)
    return [(round(number * apart), WINDOW) for number in range(WINDOWS)]


def _resident(file: int, first: int, count: int) -> int:
    """How many of these pages are in the page cache. Mapping them reads none of them."""
    libc, length = _libc(), count * PAGE
    address = libc.mmap(None, length, mmap.PROT_READ, mmap.MAP_SHARED, file, first * PAGE)
    if address == ctypes.c_void_p(-1).value:
        raise OSError(ctypes.get_errno(), "mmap")
    try:
        states = (ctypes.c_ubyte * count)()
        if libc.mincore(address, length, states):
            raise OSError(ctypes.get_errno(), "mincore")
        return sum(state & _RESIDENT for state in states)
    finally:
        libc.munmap(address, length)


@cache
def _libc() -> ctypes.CDLL:
    libc = ctypes.CDLL(None, use_errno=True)
    integer, size, address = ctypes.c_int, ctypes.c_size_t, ctypes.c_void_p
    libc.mmap.argtypes = (address, size, integer, integer, integer, ctypes.c_int64)
    libc.mmap.restype = address
    libc.munmap.argtypes = (address, size)
    libc.mincore.argtypes = (address, size, ctypes.POINTER(ctypes.c_ubyte))
    return libc


def read_ahead(path: Path, offset: int, length: int, platform: str = sys.platform) -> None:
    """Have the system read a part of a file into its page cache; returns when the end of it is there.

    Raises:
        OSError: It can't be opened, or its file system can't do that.
    """
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if platform == "darwin":
            fcntl.fcntl(file, _F_RDADVISE, advisory(offset, length))
        else:
            os.posix_fadvise(file, offset, length, os.POSIX_FADV_WILLNEED)
        os.pread(file, 1, offset + length - 1)  # or gigabytes would be queued before what others read
    finally:
        os.close(file)


def advisory(offset: int, length: int) -> bytes:
    """A Mac's `struct radvisory`: 64 bits, 32 bits, and what fills it up to 16 bytes."""
    return offset.to_bytes(8, sys.byteorder) + min(length, 2**31 - 1).to_bytes(4, sys.byteorder) + bytes(4)
