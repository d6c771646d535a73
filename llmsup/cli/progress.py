"""Progress on a terminal: a bar for files that are read, and a bar or a spinner for a model that loads."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, TextIO, cast

from rich.console import Console, ConsoleOptions, RenderResult
from rich.live import Live
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from ..process.lines import visible

BAR = 30
"""Characters of the bar."""

REDRAWN = 0.05
"""Seconds between two changes of a bar for what is fetched: bytes come in small pieces."""

Show = Callable[[str, int, int], None]
"""Takes what is going on, and how many bytes of how many are done; 0 for unknown."""


class Picture:
    """One line about a loading model: a bar if the engine reports progress, else a spinner and its last log line."""

    def __init__(self, name: str) -> None:
        self._name = visible(name)
        self._status: Mapping[str, Any] = {}
        self._spinner = Spinner("dots")

    def update(self, status: Mapping[str, Any]) -> None:
        """Show this `status` of `/v1/models` from now on."""
        self._status = status

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Draw the line in the width there is; the engine's log line is cut off first."""
        turn = int(console.get_time() * 1000 / self._spinner.interval) % len(self._spinner.frames)
        head = f"{self._spinner.frames[turn]} loading {self._name}"
        elapsed = f"{self._status.get('seconds') or 0:.0f} s"
        fraction = self._status.get("progress")
        if fraction is not None:
            grid = Table.grid(padding=(0, 1))
            grid.add_row(head, ProgressBar(total=1, completed=fraction, width=BAR), f"{fraction:4.0%}", elapsed)
            yield grid
            return
        shortage = self._status.get("waits_for")
        words = visible(f"waits: {shortage}" if shortage else self._status.get("last_line") or "")
        line = Text.assemble(f"{head} {elapsed} ", (words, "dim"))
        line.truncate(options.max_width, overflow="ellipsis")
        yield line


class Screen:
    """stderr to draw on; a terminal that is closed meanwhile is no error."""

    def __init__(self) -> None:
        self._file = sys.stderr

    def write(self, text: str) -> int:
        """Write, if possible."""
        with suppress(OSError):
            self._file.write(text)
        return len(text)

    def flush(self) -> None:
        """Flush, if possible."""
        with suppress(OSError):
            self._file.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


@contextmanager
def counting(what: str) -> Iterator[Callable[[int, int], None]]:
    """Draw a bar on stderr, if that is a terminal and there is anything to count. Yields a function of (done, of)."""
    console = Console(file=cast("TextIO", Screen()))
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(what, total=None, visible=False)
        yield lambda done, of: progress.update(task, completed=done, total=of, visible=True)


@contextmanager
def fetching(*, quiet: bool) -> Iterator[Show]:
    """Draw a bar on stderr for what is fetched; where that is no terminal, a line for each thing, unless `quiet`."""
    console = Console(file=cast("TextIO", Screen()))
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(binary_units=True), TransferSpeedColumn())
    drawn = console.is_terminal and not quiet
    with Progress(*columns, TimeRemainingColumn(), console=console, transient=True, disable=not drawn) as progress:
        last, task, at = "", TaskID(-1), 0.0

        def show(what: str, done: int, of: int) -> None:
            nonlocal last, task, at
            now = time.monotonic()
            if what != last:
                if last:
                    progress.remove_task(task)
                shown = visible(what)
                task = progress.add_task(shown, total=of or None, completed=done)  # a new one: its speed is its own
                if not drawn and not quiet:
                    print(shown, file=sys.stderr, flush=True)
            elif now - at < REDRAWN:
                return
            progress.update(task, completed=done, total=of or None)
            last, at = what, now

        yield show


@contextmanager
def spinning() -> Iterator[None]:
    """Turn a spinner on stderr until the block is left, if that is a terminal."""
    console = Console(file=cast("TextIO", Screen()))
    if not console.is_terminal:
        yield
        return
    with Live(Spinner("dots"), console=console, transient=True, refresh_per_second=10):
        yield


@contextmanager
def showing_progress(name: str) -> Iterator[Callable[[Mapping[str, Any]], None]]:
    """Draw a line on stderr until the block is left, then erase it. Yields a function that takes each new status."""
    picture = Picture(name)
    with Live(picture, console=Console(file=cast("TextIO", Screen())), transient=True, refresh_per_second=10):
        yield picture.update
