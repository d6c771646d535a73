"""The last lines of some output, bounded, and readable by many at their own pace."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncGenerator

from .line import line_of
from .watched import Watched


class LogBook(Watched):
    """A bounded ring of numbered lines.

    A reader that is slower than the writer misses lines and is told how many. The writer never waits
    (llama-swap's #875: a slow reader of logs must not stall an engine).
    """

    def __init__(self, capacity: int = 1000, *, parent: LogBook | None = None, prefix: str = "") -> None:
        super().__init__()
        self._lines: deque[str] = deque(maxlen=capacity)
        self._parent = parent
        self.prefix = prefix
        """What its lines begin with in the parent."""
        self.written = 0
        """How many lines were ever written, which is the number of the newest."""
        self._closed = False

    def write(self, line: str) -> None:
        """Add one line, without its line end; control characters are made visible, and a long line is cut."""
        line = line_of(line)
        self._lines.append(line)
        self.written += 1
        self.notify()
        if self._parent is not None:
            self._parent.write(f"{self.prefix}{line}")

    def close(self) -> None:
        """Let followers finish; lines may still be written."""
        self._closed = True
        self.notify()

    @property
    def last(self) -> str:
        """The newest line, or ""."""
        return self._lines[-1] if self._lines else ""

    def tail(self, count: int | None = None) -> tuple[str, ...]:
        """The newest `count` lines, oldest first; all that are kept if None."""
        lines = tuple(self._lines)
        return lines if count is None else lines[max(0, len(lines) - count) :]

    def since(self, seen: int) -> tuple[int, tuple[str, ...]]:
        """What was written after line number `seen`: how many of those lines are lost, and the others."""
        new = self.written - seen
        kept = min(new, len(self._lines))
        return new - kept, self.tail(kept) if kept else ()

    async def follow(self, seen: int) -> AsyncGenerator[str, None]:
        """Yield every line after line number `seen`, until `close`; a gap is reported as a line."""
        while not self._closed or self.written > seen:
            await self.until(lambda: self.written > seen or self._closed)  # noqa: B023 -- awaited in the same iteration
            lost, lines = self.since(seen)
            seen = self.written
            if lost:
                yield f"... {lost} lines were too fast to follow ..."
            for line in lines:
                yield line
