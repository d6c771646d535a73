"""A head's bytes with a gap where the Content-Length is, to recognise the next head that differs in nothing else.

Programs send the same headers with every message; only the body's length changes. To compare two heads takes a few
hundred instructions, to parse one and to find out what it means takes tens of thousands. What holds for a head holds
for any other with the same bytes, whatever a parser makes of them.
"""

from __future__ import annotations

import re

from .http import Headers

LONGEST = 4096
"""Bytes of the longest head to remember: one is kept for each connection."""

_DIGITS = 15
_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*([0-9]{1,%d})\r\n" % _DIGITS, re.IGNORECASE)
_NAME = b"content-length"


class Template:
    """The bytes of one head around the number in its Content-Length, or all of them if it has none."""

    __slots__ = ("_after", "_before", "_begin", "_end", "_headers", "_place")

    def __init__(self, head: bytes, headers: Headers) -> None:
        """`head`: from its first byte to the empty line that ends it; `headers`: what a parser found in it."""
        length = _LENGTH.search(head)
        places = [place for place, (name, _) in enumerate(headers) if name.lower() == _NAME]
        self._headers = headers
        self._place, self._before, self._after = -1, head, b""
        if length is not None and len(places) == 1:
            self._place, self._before, self._after = places[0], head[: length.start(1)], head[length.end(1) :]
        self._begin = len(self._before)
        self._end = self._begin + _DIGITS + len(self._after)  # where such a head ends at the latest

    def match(self, data: bytes) -> tuple[bytes | None, int] | None:
        """Return the Content-Length's digits (None if it has no such header) and where the head ends; None if the data
        begins with a different head, or with an unusual length.
        """
        begin, after = self._begin, self._after
        if not data.startswith(self._before):
            return None
        if self._place < 0:
            return None, begin
        end = data.find(after, begin, self._end)
        digits = data[begin:end]
        return (digits, end + len(after)) if end > 0 and digits.isdigit() else None

    def set_length(self, digits: bytes) -> None:
        """Put the Content-Length of a head that matched into the headers that this was made with, for whoever needs
        the ones before no longer.
        """
        self._headers[self._place] = (self._headers[self._place][0], digits)
