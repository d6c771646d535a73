"""Where a request's body ends: after a number of bytes, or after its last chunk.

Stricter than RFC 9112: chunk extensions and trailers, which no client here needs and which proxies may interpret
differently, are refused.
"""

from __future__ import annotations

import re
from typing import Protocol

from ..errors import MalformedRequest

_SIZE = re.compile(rb"([0-9A-Fa-f]{1,15})\r\n")
_PART_OF_SIZE = re.compile(rb"[0-9A-Fa-f]{0,15}\r?\Z")


class Framing(Protocol):
    """Extracts a body from the bytes received.

    Attributes:
        done: Whether the body is complete.
        announced: Its minimum length in bytes as known so far; a chunk counts as soon as its size is read.
    """

    done: bool
    announced: int

    def feed(self, data: bytes) -> tuple[bytes, bytes]:
        """Return the body's bytes in the data, and whatever follows the body.

        Raises:
            MalformedRequest: The framing is invalid.
        """


class Length:
    """A body of a known number of bytes."""

    def __init__(self, length: int) -> None:
        self._left = self.announced = length
        self.done = not length

    def feed(self, data: bytes) -> tuple[bytes, bytes]:
        """See `Framing`."""
        left = self._left
        if len(data) < left:
            self._left -= len(data)
            return data, b""
        self._left, self.done = 0, True
        return data[:left], data[left:]


class Chunked:
    """A body in chunks, each with its size before it."""

    def __init__(self) -> None:
        self.done = False
        self.announced = 0
        self._left = 0  # of the chunk, its line end included
        self._held = b""  # the beginning of a size

    def feed(self, data: bytes) -> tuple[bytes, bytes]:
        """See `Framing`."""
        pieces: list[bytes] = []
        data, self._held, at = self._held + data, b"", 0
        while at < len(data):
            if self._left:
                at = self._take(data, at, pieces)
                continue
            size = _SIZE.match(data, at)
            if size is None:
                if not _PART_OF_SIZE.match(data, at):
                    raise MalformedRequest("The body's chunks can't be read.")
                self._held = data[at:]
                break
            if not (length := int(size[1], 16)):
                at = self._end(data, at, size.end())
                break
            self._left = length + 2
            self.announced += length
            at = size.end()
        return b"".join(pieces), data[at:] if self.done else b""

    def _take(self, data: bytes, at: int, pieces: list[bytes]) -> int:
        """Of a chunk, as much as has come; returns where it ends."""
        text = min(max(self._left - 2, 0), len(data) - at)
        if text:
            pieces.append(data[at : at + text])
            self._left -= text
            at += text
        while self._left <= 2 and self._left and at < len(data):
            if data[at] != b"\n\r"[self._left - 1]:
                raise MalformedRequest("The body has a chunk that is longer than it says.")
            self._left -= 1
            at += 1
        return at

    def _end(self, data: bytes, begin: int, at: int) -> int:
        last = data[at : at + 2]
        if last == b"\r\n":
            self.done = True
            return at + 2
        if last not in (b"", b"\r"):
            raise MalformedRequest("The body has trailers, which llmsup doesn't take.")
        self._held = data[begin:]
        return len(data)
