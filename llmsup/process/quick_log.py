"""A log line for each request, at a fraction of what `Logger.info` takes for it."""

from __future__ import annotations

import logging
import time

_ALIKE = vars(logging.LogRecord("", logging.INFO, "", 0, "", (), None))
"""What all such records have in common: also what is never shown, since any formatter may ask for it."""


class TakesLines:
    """A handler that also takes finished lines. As the only handler it gets them straight from `info`."""

    def line(self, text: str) -> bool:
        """Write a line at INFO, as if it came in a record; returns False if it needs one."""
        raise NotImplementedError  # each handler has its own way; a mixin, because logging's Handler is the other base


class _Line(logging.LogRecord):
    """A record without what logging finds out for each one, about threads, processes and source files."""

    def __init__(self, name: str, line: str) -> None:
        self.__dict__.update(_ALIKE)
        self.name = name
        self.msg = line
        self.created = now = time.time()
        self.msecs = now % 1 * 1000


def info(log: logging.Logger, line: str) -> None:
    """Log a finished line, with no arguments to put into it. Only for trio's thread."""
    if not log.isEnabledFor(logging.INFO):
        return
    root = log.parent
    if isinstance(root, logging.RootLogger) and not (log.handlers or log.filters) and len(root.handlers) == 1:
        only = root.handlers[0]  # whom logging would give the record to, and nobody else
        if isinstance(only, TakesLines) and only.line(line):
            return
    log.handle(_Line(log.name, line))
