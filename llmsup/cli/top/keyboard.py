"""The terminal's keys, one by one, as they are pressed."""

from __future__ import annotations

import os
import re
import termios
import tty
from typing import Self

import trio

_SEQUENCE = re.compile(r"\x1b\[[0-9;]*[A-Za-z~]|\x1bO[A-Za-z]|.", re.DOTALL)

NAMES = {
    "\x1b[A": "up", "\x1b[B": "down", "\x1bOA": "up", "\x1bOB": "down", "\x1b[5~": "page up", "\x1b[6~": "page down",
    "\x1b[H": "home", "\x1b[F": "end", "\x1b[1~": "home", "\x1b[4~": "end", "\x1bOH": "home", "\x1bOF": "end",
    "\x1b": "escape", "\r": "enter", "\n": "enter", "\x7f": "backspace", "\x08": "backspace", " ": "page down",
}  # fmt: skip
"""What terminals send for the keys that have names; the others are the characters themselves."""


class Keyboard:
    """While it is entered, the terminal hands on each key as it is pressed, unseen; Ctrl-C goes on working."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._before = termios.tcgetattr(fd)

    def __enter__(self) -> Self:
        tty.setcbreak(self._fd)
        return self

    def __exit__(self, *_: object) -> None:
        termios.tcsetattr(self._fd, termios.TCSADRAIN, self._before)

    async def pressed(self) -> list[str]:
        """Wait for keys; returns what was pressed, by name. An empty list: the terminal is gone."""
        await trio.lowlevel.wait_readable(self._fd)
        try:
            return named(os.read(self._fd, 4096).decode(errors="ignore"))
        except OSError:
            return []


def named(text: str) -> list[str]:
    """The keys that a terminal has sent."""
    return [NAMES.get(key, key) for key in _SEQUENCE.findall(text) if key in NAMES or key.isprintable()]
