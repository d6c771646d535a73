"""A program's output cut into lines, as a person at a terminal would have seen them.

It does not know where the output comes from, nor what time it is.
"""

from __future__ import annotations

LONGEST = 65536
"""Bytes kept of a line without an end: it must not fill our memory."""


class Lines:
    """Cuts bytes into lines. A carriage return overwrites: of a bar that is drawn again and again in one line, only
    what it shows in the end becomes a line, or what it shows when somebody asks (`unfinished`).
    """

    def __init__(self) -> None:
        self._rest = b""
        self._told = b""  # what was given away of a line that is overwritten
        self._begun = False  # part of the present line was given away

    def feed(self, data: bytes) -> list[str]:
        """Take the next bytes; gives the lines that they end, without their ends."""
        *ended, rest = (self._rest + data).split(b"\n")
        lines = [text for line in ended if (text := self._end(line)) is not None]
        shown = _shown(rest)[-LONGEST:]
        if b"\r" in rest:  # what was overwritten is forgotten, that something was isn't
            shown = b"\r" + shown + (b"\r" if rest.endswith(b"\r") else b"")
        self._rest = shown
        return lines

    def _end(self, line: bytes) -> str | None:
        shown = _shown(line)
        known = self._begun and shown in (b"", self._told)
        self._told, self._begun = b"", False
        return None if known else _text(shown)

    @property
    def pending(self) -> bool:
        """The present line shows something that was not given away yet."""
        shown = _shown(self._rest)
        return bool(shown.strip()) and shown != self._told

    def unfinished(self) -> str:
        """Give away what the present line shows so far: of one that grows what has come since the last time, of one
        that is overwritten all of it.
        """
        shown, self._begun = _shown(self._rest), True
        if b"\r" in self._rest:
            self._told = shown
        else:
            self._rest = b""
        return _text(shown)

    def close(self) -> list[str]:
        """There is no more: gives the last line if it has no end."""
        rest, self._rest = self._rest, b""
        text = self._end(rest) if rest else None
        return [] if text is None else [text]


def _shown(line: bytes) -> bytes:
    """What is left to see of a line: what was written last that isn't blank (a bar is wiped with spaces)."""
    if b"\r" not in line:
        return line
    written = [part for part in line.split(b"\r") if part]
    return next((part for part in reversed(written) if part.strip()), b"")


def _text(line: bytes) -> str:
    return line.decode("utf-8", "replace")
