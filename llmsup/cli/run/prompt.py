"""Reads what the user types: with the arrow keys' history, and over several lines between triple quotes."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

try:
    import readline
except ImportError:  # a Python that was built without it: then there is no history
    readline = None  # type: ignore[assignment]

QUOTES = '"""'
MOST = 1000
"""Lines of history."""


@contextlib.contextmanager
def remembering(file: Path) -> Iterator[None]:
    """Have the lines that are typed in the block remembered, those of earlier chats, too. The file is only for its
    owner; where it can't be read or written, this chat's are remembered until its end.
    """
    if readline is None:
        yield
        return
    readline.parse_and_bind("set enable-bracketed-paste on")  # what is pasted is one message, however many lines
    readline.set_history_length(MOST)
    with contextlib.suppress(OSError):
        readline.read_history_file(file)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            file.touch(mode=0o600)
            readline.write_history_file(file)


def remember(on: bool) -> None:
    """Whether lines are remembered from now on."""
    if readline is not None:
        readline.set_auto_history(on)


def read(line: Callable[[str], str] = input) -> str:
    """Read a message or a command.

    Raises:
        EOFError: Ctrl-D.
        KeyboardInterrupt: Ctrl-C.
    """
    first = line(">>> ")
    head, quotes, rest = first.partition(QUOTES)
    if not quotes or (head.strip() and not head.startswith("/")):
        return first.strip()
    lines = [rest]
    while not lines[-1].rstrip().endswith(QUOTES):
        lines.append(line("... "))
    return head + "\n".join(lines).rstrip().removesuffix(QUOTES).strip("\n")
