"""Writes an answer as it comes: wrapped at spaces and with the reasoning dimmed on a terminal, as it is elsewhere."""

from __future__ import annotations

import sys
import unicodedata

import click
from rich.cells import cell_len

from .chat import Piece

JOINERS = "\u200c\u200d"
"""They have no width of their own, and make one emoji of several, or part two letters."""

FENCE = "```"


class Writer:
    """Writes to stdout.

    Attributes:
        thoughts: Whether to show the reasoning; elsewhere than on a terminal it is never shown.
    """

    def __init__(self, width: int | None, *, thoughts: bool = True) -> None:
        """`width`: the terminal's columns; None: it is none."""
        self._width = width
        self.thoughts = thoughts
        self._begin()

    def _begin(self) -> None:
        self._wrap = Wrap(self._width)
        self._thought = self._started = False
        self._last = "\n"

    def piece(self, piece: Piece) -> None:
        """Write a part of the answer."""
        if piece.thought and (self._width is None or not self.thoughts):
            return
        # half a character can't be written; a program gets all else as it is
        text = piece.text.encode(errors="replace").decode() if self._width is None else plain(piece.text)
        if piece.thought != self._thought:
            if self._started:  # the reasoning and the answer are two paragraphs
                self._put(self._wrap.rest())
                self._put("\n" if self._last == "\n" else "\n\n")
            self._wrap, self._thought, self._started = Wrap(self._width), piece.thought, False
        if not self._started:
            text = text.lstrip()
        if text:
            self._started = True
            self._put(self._wrap.feed(text))

    def end(self) -> None:
        """Write what is left, and end the line."""
        self._put(self._wrap.rest())
        if self._last != "\n":
            self._put("\n")
        self._begin()

    def _put(self, text: str) -> None:
        if text:
            sys.stdout.write(click.style(text, dim=True) if self._thought and self._width else text)
            sys.stdout.flush()
            self._last = text[-1]


class Wrap:
    """Breaks lines at spaces as text comes, so that the terminal doesn't break words. A word is held back until its
    end is known. Blocks of code stay as they are.
    """

    def __init__(self, width: int | None) -> None:
        self._width = width
        self._word = self._line = ""
        self._column = 0
        self._code = False

    def feed(self, text: str) -> str:
        """Take more text; returns what can be written of it."""
        if self._width is None:
            return text
        out = []
        for char in text:
            if char == "\n":
                out += [self.rest(), char]
                self._code ^= self._line.startswith(FENCE)
                self._line, self._column = "", 0
            elif char.isspace() or unicodedata.east_asian_width(char) in "WF":  # where there are no spaces
                out.append(self.rest())
                self._word = char
                out.append(self.rest())
            else:
                self._word += char
        return "".join(out)

    def rest(self) -> str:
        """Return what was held back."""
        word, self._word = self._word, ""
        size = cell_len(word)
        self._line += word
        broken = self._width is not None and not self._code and self._column > 0 and self._column + size > self._width
        if broken and word.isspace():  # a space at the edge is the break
            self._column = 0
            return "\n"
        self._column = size if broken else self._column + size
        return f"\n{word}" if broken else word


def plain(text: str) -> str:
    r"""Text that can't control the terminal: what isn't printable is written as `\x1b`."""
    return "".join(char if _harmless(char) else _escaped(char) for char in text)


def _harmless(char: str) -> bool:
    return char.isprintable() or char in "\n\t" or char in JOINERS or unicodedata.category(char) == "Zs"


def _escaped(char: str) -> str:
    return "" if char == "\r" else char.encode("unicode_escape").decode()
