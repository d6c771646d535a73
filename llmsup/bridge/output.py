"""What a program prints, however much: the beginning goes to the log, the last lines are kept, the rest is counted.

It does not know the program.
"""

from __future__ import annotations

from collections.abc import Callable

from ..process.logbook import LogBook

LOGGED = 200
"""Lines of one run that go to the log: a program that never stops must not push everything else out of it."""

KEPT = 20
"""Last lines that are kept."""

_LONGEST = 65536


class Output:
    """Takes bytes, in whatever pieces they come.

    Attributes:
        lines: How many whole lines there were.
    """

    def __init__(self, say: Callable[[str], None]) -> None:
        """`say`: writes one line to the log."""
        self.lines = 0
        self._say = say
        self._book = LogBook(KEPT)  # it bounds lines, and makes control characters visible
        self._rest = b""

    def take(self, piece: bytes) -> None:
        """Some more of it."""
        *lines, rest = (self._rest + piece).split(b"\n")
        self._rest = rest[-_LONGEST:]
        # Lines in the middle would be pushed out at once; to decode millions of them would hold up everybody.
        logged = max(0, LOGGED - self.lines)
        for line in (*lines[:logged], *lines[logged:][-KEPT:]):
            self._keep(line, say=logged > 0)
            logged -= 1
        self.lines += len(lines)

    def end(self) -> tuple[str, ...]:
        """It was all; returns the last lines."""
        if self._rest:
            self._keep(self._rest, say=self.lines < LOGGED)
        if self.lines > LOGGED:
            self._say(f"... and {self.lines - LOGGED} more lines")
        return self._book.tail()

    def _keep(self, line: bytes, *, say: bool) -> None:
        self._book.write(line.decode("utf-8", "replace"))
        if say:
            self._say(self._book.last)
