"""A program's output, bounded: the first lines go to the log, the last ones are kept, the rest is only counted."""

from __future__ import annotations

from collections.abc import Callable

from ..process.logbook import LogBook

LOGGED = 200
"""Lines of one run that go to the log: a program that never stops must not flood it."""

KEPT = 20
"""How many of the last lines are kept."""

_LONGEST = 65536


class Output:
    """Takes bytes, in whatever pieces they come.

    Attributes:
        lines: How many complete lines there were.
    """

    def __init__(self, say: Callable[[str], None]) -> None:
        """`say`: writes one line to the log."""
        self.lines = 0
        self._say = say
        self._book = LogBook(KEPT)  # it bounds lines, and makes control characters visible
        self._rest = b""

    def take(self, piece: bytes) -> None:
        """Take the next piece."""
        *lines, rest = (self._rest + piece).split(b"\n")
        self._rest = rest[-_LONGEST:]
        # Lines in the middle would be dropped at once, and decoding millions of them would hold up the event loop.
        logged = max(0, LOGGED - self.lines)
        for line in (*lines[:logged], *lines[logged:][-KEPT:]):
            self._keep(line, say=logged > 0)
            logged -= 1
        self.lines += len(lines)

    def end(self) -> tuple[str, ...]:
        """Mark the end of the output; returns the last lines."""
        if self._rest:
            self._keep(self._rest, say=self.lines < LOGGED)
        if self.lines > LOGGED:
            self._say(f"... and {self.lines - LOGGED} more lines")
        return self._book.tail()

    def _keep(self, line: bytes, *, say: bool) -> None:
        self._book.write(line.decode("utf-8", "replace"))
        if say:
            self._say(self._book.last)
