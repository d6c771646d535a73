"""Reads the kernel's small files whole, and parses the formats that several of them share."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

Read = Callable[[Path], bytes]
"""Returns a file's bytes; b"" if it can't be read."""

_MOST = 256 * 1024
_PAIR = re.compile(rb"^(\w+)[ \t]+([0-9]{1,19})$", re.MULTILINE | re.ASCII)


def read_file(path: Path) -> bytes:
    """A file's first 256 KiB; b"" if it can't be read. None of the files in question is nearly as long."""
    data = b""
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            # Not `open`: building its layers takes longer than the kernel's answer, some ten times a second.
            while len(data) < _MOST and (more := os.read(file, _MOST - len(data))):
                data += more
        finally:
            os.close(file)
    except (OSError, ValueError):  # a path with a NUL in it is a ValueError
        return b""
    return data


def pairs(data: bytes) -> dict[str, int]:
    """Parse lines of a name and a number: /proc/vmstat, a control group's memory.stat and memory.events."""
    return {name.decode(): int(value) for name, value in _PAIR.findall(data)}


def number(data: bytes) -> int | None:
    """Parse a file with a single number; None for anything else, such as "max"."""
    text = data.strip()
    return int(text) if re.fullmatch(rb"[0-9]{1,19}", text) else None
