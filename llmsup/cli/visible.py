"""Text from elsewhere, made fit for one line of a terminal or a log.

It does not know where the text comes from nor where it goes.
"""

from __future__ import annotations


def visible(text: str) -> str:
    r"""Write control characters as `\n`, `\x1b`: whatever a request or an engine says, it can neither begin a line
    of its own nor talk to the terminal. Tabs stay.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c == "\t" else c.encode("unicode_escape").decode() for c in text)
