"""A terminal's window, and a program that runs in it."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Mapping

PATIENCE = 60
"""Seconds after which a test counts as hung. Generous: it says nothing about speed."""

CONTROLLED = """
import fcntl, os, sys, termios
os.setsid()
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execvp(sys.argv[1], sys.argv[1:])
"""
"""Makes the terminal that is its standard input the one that controls it."""

_SEQUENCES = re.compile(r"\x1b(?:\[[0-9;?]*[A-Za-z]|[=>])")


def until(condition: Callable[[], object]) -> None:
    """Wait until a condition holds."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)  # what is waited for is another process's doing


class Window:
    """A terminal's window, and what runs in it."""

    def __init__(self, *command: str, columns: int = 80, lines: int = 24, env: Mapping[str, str] | None = None) -> None:
        self._ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        words = [sys.executable, "-c", CONTROLLED, *command]
        self.process = subprocess.Popen(words, stdin=theirs, stdout=theirs, stderr=theirs, env=env)
        os.close(theirs)
        self._shown = b""

    def type(self, line: str) -> None:
        """Type a line."""
        self.press(f"{line}\n")

    def press(self, keys: str) -> None:
        """Press keys, as a terminal sends them."""
        os.write(self._ours, keys.encode())

    def until(self, words: str) -> None:
        """Wait until this has been shown."""
        deadline = time.monotonic() + PATIENCE
        while words.encode() not in self._shown:
            self._read(deadline)

    def next(self, words: str) -> None:
        """Wait until this is shown after what was waited for before; colours and movements don't count."""
        deadline = time.monotonic() + PATIENCE
        while words not in (text := _SEQUENCES.sub("", self._shown.decode(errors="ignore"))):
            self._read(deadline)
        self._shown = text[text.index(words) + len(words) :].encode()

    def _read(self, deadline: float) -> None:
        left = deadline - time.monotonic()  # what draws each second always has something to say
        assert left > 0, self._shown[-5000:]
        assert select.select([self._ours], [], [], left)[0], self._shown[-5000:]
        try:
            self._shown += os.read(self._ours, 65536)
        except OSError:  # what ran in it has ended
            raise AssertionError(self._shown) from None

    def ended(self, again: str = "") -> tuple[int, str]:
        """Wait for the end of what runs in it; returns its exit code and what it showed last.

        Args:
            again: Keys to press every ten seconds meanwhile. Python sees a Ctrl-C only with the next key if it is
                pressed in the moment between a prompt's text and the wait for what is typed there.
        """
        deadline = time.monotonic() + PATIENCE
        while True:
            while not select.select([self._ours], [], [], 10)[0]:
                assert time.monotonic() < deadline, self._shown
                self.press(again)
            try:
                if not (data := os.read(self._ours, 65536)):
                    break
            except OSError:
                break
            self._shown += data
        return self.process.wait(PATIENCE), self._shown.decode(errors="ignore")

    def attributes(self) -> list[int]:
        """The terminal's modes, without its special characters."""
        return [mode for mode in termios.tcgetattr(self._ours) if isinstance(mode, int)]

    def close(self) -> int:
        """Close it, and wait for what it was opened for."""
        os.close(self._ours)
        self._ours = -1
        return self.process.wait(PATIENCE)

    def clean(self) -> None:
        """End what is left."""
        if self._ours >= 0:
            os.close(self._ours)
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(PATIENCE)
