"""One line of a log: printable, and of bounded length, whatever it is made of.

It does not know where lines come from nor where they go.
"""

from __future__ import annotations

MAX_LINE = 4096
"""Characters kept of one line: a JSON dump on one line must not push out all the rest."""


def visible(text: str) -> str:
    r"""Write control characters as `\n`, `\x1b`: whatever a request or an engine says, it can neither begin a line
    of its own nor talk to the terminal. Tabs stay.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c == "\t" else c.encode("unicode_escape").decode() for c in text)


def line_of(text: str) -> str:
    """`text` as a line of a log: `visible`, and no longer than `MAX_LINE` characters."""
    # Cut before, too: what is thrown away anyway shall not be looked at character by character.
    return visible(text.rstrip()[:MAX_LINE])[:MAX_LINE]
