"""Reads a file through a window that only moves forward: nothing is read twice, and never much at once.

It reads instead of mapping, because a mapped file that is truncated meanwhile would kill the process with SIGBUS.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from typing import Any

from ...units import format_bytes
from .types import BadGguf

WINDOW = 1 << 17
"""Bytes to read at once."""

DEEPEST = 256 << 20
"""Bytes that a header may have: ten times what the largest vocabularies take."""

MOST_KEPT = 24 << 20
"""Bytes of memory that the kept part of a header may take."""

Read = Callable[[int, int], bytes]
"""Takes a length and an offset; returns at most that many bytes, none at the file's end."""


class Window:
    """A position in a file.

    Attributes:
        size: Of the file, in bytes.
        part: The part being read, for messages: "metadata".
    """

    def __init__(self, read: Read, size: int) -> None:
        self.size = size
        self.part = "start"
        self.order = "<"
        self._read = read
        self._data = b""
        self._base = 0  # the data's offset in the file
        self._at = 0  # the position in the data; beyond its end if bytes were skipped
        self._left = MOST_KEPT

    @property
    def position(self) -> int:
        """The offset in the file."""
        return self._base + self._at

    def _fill(self, need: int) -> None:
        """Make sure that there are so many bytes in the data from the current position."""
        start = self.position
        if start + need > self.size:
            raise BadGguf(f"it ends within its {self.part}")
        if start + need > DEEPEST:
            raise BadGguf(f"its header is larger than {format_bytes(DEEPEST)}, more than any model's")
        pieces = [self._data[self._at :]]
        have = len(pieces[0])
        while have < need:
            piece = self._read(max(WINDOW, need - have), start + have)
            if not piece:
                raise BadGguf(f"it ends within its {self.part}")
            pieces.append(piece)
            have += len(piece)
        self._data, self._base, self._at = b"".join(pieces), start, 0

    def take(self, length: int) -> bytes:
        """The next bytes; at most a few windows' worth."""
        if self._at + length > len(self._data):
            self._fill(length)
        self._at += length
        return self._data[self._at - length : self._at]

    def skip(self, length: int) -> None:
        """Move on without reading."""
        if self.position + length > self.size:
            raise BadGguf(f"it ends within its {self.part}")
        self._at += length

    def unpack(self, codes: str) -> tuple[Any, ...]:
        """The next numbers, by `struct`'s codes."""
        wanted = self.order + codes
        return struct.unpack(wanted, self.take(struct.calcsize(wanted)))

    def length_of_string(self) -> int:
        """The length prefix of a string."""
        length: int = self.unpack("Q")[0]
        if length > self.size:
            raise BadGguf(f"a string of {format_bytes(length)} does not fit the file")
        return length

    def string(self, longest: int) -> str:
        """The next string, cut after so many bytes; invalid UTF-8 becomes U+FFFD."""
        length = self.length_of_string()
        kept = min(length, longest)
        self.keep(100 + 4 * kept)
        text = self.take(kept).decode("utf-8", "replace")
        self.skip(length - kept)
        return text

    def skip_strings(self, count: int) -> None:
        """Skip so many strings: there is no index, so each length has to be read."""
        length_at = struct.Struct(f"{self.order}Q").unpack_from
        left = count
        while left:
            data, at = self._data, self._at
            try:
                for left in range(left, 0, -1):  # noqa: B007, B020 - how many are left when the data ends
                    at += 8 + length_at(data, at)[0]
                left, self._at = 0, at
            except (struct.error, OverflowError):
                # The data ended before this length, or within it; or a string's length is beyond any file's.
                self._at = at
                self._fill(8)
        self.skip(0)

    def keep(self, size: int) -> None:
        """Account for memory that a kept value takes, in bytes."""
        self._left -= size
        if self._left < 0:
            raise BadGguf("its header takes more memory than any model's")


def open_regular(path: str | os.PathLike[str]) -> int:
    """Open a file for reading without ever blocking, as a named pipe would.

    Raises:
        OSError: It can't be opened.
    """
    return os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
