"""A program's output cut into lines, as a person at a terminal would have seen them, each made fit for a log."""

from __future__ import annotations

MAX_LINE = 4096
"""Characters kept of one line: a JSON dump on one line must not push out everything else."""

LONGEST = 65536
"""Bytes kept of a line that doesn't end: it must not fill our memory."""


class Lines:
    """Cuts bytes into lines. A carriage return overwrites: a progress bar redrawn in place becomes a line only as it
    looks at the end, or when `unfinished` is called.
    """

    def __init__(self) -> None:
        self._rest = b""
        self._told = b""  # what was already returned of a line that is being overwritten
        self._begun = False  # part of the current line was already returned

    def feed(self, data: bytes) -> list[str]:
        """Take the next bytes; returns the lines that they complete, without line ends."""
        *ended, rest = (self._rest + data).split(b"\n")
        lines = [text for line in ended if (text := self._end(line)) is not None]
        shown = _shown(rest)[-LONGEST:]
        if b"\r" in rest:  # forget what was overwritten, but not that something was
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
        """Whether the current line shows something that was not returned yet."""
        shown = _shown(self._rest)
        return bool(shown.strip()) and shown != self._told

    def unfinished(self) -> str:
        """What the current line shows so far: the new part of a line that grows, all of a line that is overwritten."""
        shown, self._begun = _shown(self._rest), True
        if b"\r" in self._rest:
            self._told = shown
        else:
            self._rest = b""
        return _text(shown)

    def close(self) -> list[str]:
        """End the input; returns the last line if it had no line end."""
        rest, self._rest = self._rest, b""
        text = self._end(rest) if rest else None
        return [] if text is None else [text]


def visible(text: str) -> str:
    r"""Write control characters as `\n`, `\x1b`: whatever a request or an engine says, it can neither start a new
    line nor control the terminal. Tabs stay.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c == "\t" else c.encode("unicode_escape").decode() for c in text)


def line_of(text: str) -> str:
    """`text` as a line of a log: `visible`, and no longer than `MAX_LINE` characters."""
    # Cut first as well, so that text which is thrown away isn't processed character by character.
    return visible(text.rstrip()[:MAX_LINE])[:MAX_LINE]


def _shown(line: bytes) -> bytes:
    """What a terminal would show of a line: the last text that isn't blank (a bar is wiped with spaces)."""
    if b"\r" not in line:
        return line
    written = [part for part in line.split(b"\r") if part]
    return next((part for part in reversed(written) if part.strip()), b"")


def _text(line: bytes) -> str:
    return line.decode("utf-8", "replace")
