"""Where llmsup's own log goes: to stderr, as text or JSON, and into the log book with the engines' lines."""

from __future__ import annotations

import contextlib
import json
import logging
import math
import sys
import time
from collections.abc import Iterable
from datetime import datetime
from typing import Literal, TextIO

import trio
from attrs import frozen

from ..process.lines import MAX_LINE, line_of
from ..process.logbook import LogBook
from ..process.quick_log import TakesLines
from ..units import Seconds
from .failure import told

PREFIX = "[llmsup] "

TOGETHER = Seconds(0.02)
"""How long a line may wait to be written together with those that follow: too short for a reader to notice."""

_SHORT = {"WARNING": "WARN", "CRITICAL": "FATAL"}


class TextFormatter(logging.Formatter):
    """`22:15:03 INFO  message`; a traceback follows, indented, so that none of its lines can pass for a record."""

    _second, _time = -1, ""

    def format(self, record: logging.LogRecord) -> str:
        """One line, followed by the traceback's lines if there is one."""
        head = f"{self.time(record.created)} {_level(record):<5} {line_of(record.getMessage())}"
        return "\n".join((head, *_traceback(record))) if record.exc_info else head

    def time(self, at: float) -> str:
        """A moment (Unix seconds) as it begins a line."""
        if (second := int(at)) != self._second:
            self._second, self._time = second, time.strftime("%H:%M:%S", self.converter(at))
        return self._time


class JsonFormatter(logging.Formatter):
    """One object per line; `time` is ISO 8601 with the zone."""

    def format(self, record: logging.LogRecord) -> str:
        """Always one line; a traceback is one of its fields."""
        fields = {
            "time": datetime.fromtimestamp(record.created).astimezone().isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage()[:MAX_LINE],  # JSON escapes line breaks
        }
        if lines := list(_traceback(record)):
            fields["exception"] = "\n".join(line.removeprefix("    ") for line in lines)
        return json.dumps(fields)


class BookHandler(logging.Handler):
    """Writes records into a log book, from any thread."""

    def __init__(self, book: LogBook) -> None:
        super().__init__()
        self.book = book
        self.token: trio.lowlevel.TrioToken | None = None
        """The trio run whose tasks read the book; before that nothing reads it."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record; one that comes from a thread after the run has ended is dropped."""
        here = self.token is None or trio.lowlevel.in_trio_run()
        if here and record.levelno < logging.WARNING and not record.exc_info:  # as each request's line
            self.book.write(PREFIX + record.getMessage())
            return
        level = f"{_level(record)} " if record.levelno >= logging.WARNING else ""
        lines = [f"{PREFIX}{line}" for line in (level + record.getMessage(), *_traceback(record))]
        if here or self.token is None:
            self._write(lines)
            return
        # The book wakes its readers, which are tasks, and those can only be woken from trio's own thread.
        with contextlib.suppress(trio.RunFinishedError):
            self.token.run_sync_soon(self._write, lines)

    def _write(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.book.write(line)


class StderrHandler(logging.StreamHandler[TextIO], TakesLines):
    """Writes to whatever sys.stderr is at the time: a progress bar replaces it, to keep log lines above the bar.

    While `run` runs, a line that closely follows another waits for up to `TOGETHER`, and all lines that have come by
    then are one write: a write costs a busy server a tenth of a request. A warning is written at once, with the lines
    that wait.
    """

    def __init__(self, beside: BookHandler | None = None) -> None:
        """`beside` gets each record, too: cheaper than a second handler of the logger, for which logging would check
        the level and lock once more.
        """
        super().__init__(sys.stderr)
        self._beside = beside
        self._lines: list[str] = []
        self._wrote = -math.inf
        self._anything: trio.Event | None = None  # set when there is something to write; none while `run` doesn't run

    async def run(self) -> None:
        """Write what waits, until cancelled."""
        try:
            while True:
                self._anything = trio.Event()
                await self._anything.wait()
                await trio.sleep(TOGETHER)
                self.flush()
        finally:
            self._anything = None
            self.flush()

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record, now or soon."""
        if self._beside is not None:
            self._beside.emit(record)
        try:
            self._lines.append(self.format(record) + self.terminator)
            # Tasks can only be woken from trio's own thread.
            self._write(soon=record.levelno < logging.WARNING and trio.lowlevel.in_trio_run())
        except Exception:  # noqa: BLE001 -- as logging's own handlers: a log line that fails must break nothing else
            self.handleError(record)

    def line(self, text: str) -> bool:
        """Write each request's line, for a quarter of what a record takes; not as JSON, which shows all of a record."""
        formatter, beside = self.formatter, self._beside
        if beside is None or self.filters or not isinstance(formatter, TextFormatter):
            return False
        text = beside.book.write(PREFIX + text)[len(PREFIX) :]
        assert self.lock is not None
        with self.lock:
            waiting = self._anything is not None and bool(self._lines)  # to be written soon anyway
            self._lines.append(f"{formatter.time(time.time())} INFO  {text}\n")
            if not waiting:
                self._write(soon=True)
        return True

    def _write(self, *, soon: bool) -> None:
        now = time.monotonic()
        if soon and self._anything is not None and now - self._wrote < TOGETHER:
            self._anything.set()
        else:
            self._wrote = now
            self.flush()

    def flush(self) -> None:
        """Write what waits. What can't be written is lost: a full disk, a pipe without a reader or a closed terminal is
        no reason to end.
        """
        with self.lock or contextlib.nullcontext(), contextlib.suppress(OSError, ValueError):  # the last: it is closed
            lines, self._lines = self._lines, []
            self.stream = sys.stderr
            if lines:
                self.stream.write("".join(lines))
            super().flush()


@frozen
class Handlers:
    """Where all that is logged goes."""

    stderr: StderrHandler
    book: BookHandler

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Belong to this trio run, until cancelled."""
        self.book.token = trio.lowlevel.current_trio_token()
        task_status.started()
        await self.stderr.run()


def set_up(book: LogBook, *, style: Literal["text", "json"], verbose: bool) -> Handlers:
    """Send all log records to stderr and into the book: from DEBUG up if `verbose`, else from INFO up."""
    into_book = BookHandler(book)
    stderr = StderrHandler(into_book)
    stderr.setFormatter(JsonFormatter() if style == "json" else TextFormatter())
    root = logging.getLogger()
    root.handlers = [stderr]
    root.setLevel(logging.DEBUG if verbose else logging.INFO)
    # The logging HOWTO, "Optimization": finding out where a line was logged and by which thread takes time, and
    # neither is shown.
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    logging._srcfile = None  # documented there
    # At INFO it logs each listener, including internal ones; `running` logs the real ones.
    logging.getLogger("hypercorn.error").setLevel(logging.WARNING)
    return Handlers(stderr, into_book)


def _level(record: logging.LogRecord) -> str:
    return _SHORT.get(record.levelname, record.levelname)


def _traceback(record: logging.LogRecord) -> Iterable[str]:
    if record.exc_info and record.exc_info[1]:
        yield from (f"    {line_of(line)}" for line in told(record.exc_info[1]))
