"""One line of a log: made printable and cut to a bounded length."""

from __future__ import annotations

MAX_LINE = 4096
"""Characters kept of one line: a JSON dump on one line must not push out everything else."""


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
