"""The last lines of some output, each made fit for a log."""

from __future__ import annotations

from collections.abc import AsyncGenerator

from .lines import line_of
from .ring import Ring


class _PassedOn(str):
    """A line that a book was given by another. For JSON it has to be made a `str` (msgspec takes no subclass)."""

    __slots__ = ()


def passed_on(line: str) -> bool:
    """Tell whether a line in a book's `tail` came from another book, whose parent it is."""
    return isinstance(line, _PassedOn)


class LogBook(Ring[str]):
    """The last lines. Readers that follow get a gap as a line of its own; once closed, it still takes lines.

    Attributes:
        prefix: Put before its lines in the parent.
    """

    def __init__(self, capacity: int = 1000, *, parent: LogBook | None = None, prefix: str = "") -> None:
        super().__init__(capacity)
        self._parent = parent
        self.prefix = prefix

    def write(self, line: str) -> str:
        """Add one line, without its line end; control characters are made visible, and a long line is cut. Returns what
        became of it.
        """
        line = line_of(line)
        self.add(line)
        if self._parent is not None:
            self._parent._take(f"{self.prefix}{line}")
        return line

    def _take(self, line: str) -> None:
        line = line_of(line)
        self.add(_PassedOn(line))
        if self._parent is not None:
            self._parent._take(f"{self.prefix}{line}")

    @property
    def last(self) -> str:
        """The newest line, or ""."""
        return self._kept[-1] if self._kept else ""

    async def follow(self, seen: int) -> AsyncGenerator[str, None]:
        """Yield every line after line number `seen`, until `close`; a gap is reported as a line."""
        while await self.news(seen):
            lost, lines = self.after(seen)
            seen = self.written
            if lost:
                yield f"... {lost} lines were too fast to follow ..."
            for line in lines:
                yield line
