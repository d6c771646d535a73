"""A complete scan of the disk, for commands that don't talk to a server."""

from __future__ import annotations

from collections.abc import Callable

from ..config.schema import Config
from ..units import Seconds
from .found import Snapshot
from .index import HEADERS, Library

STEP = Seconds(0.1)
"""Seconds between progress reports to the caller."""


def scan_now(config: Config, on_progress: Callable[[int, int], None] | None = None) -> Snapshot:
    """Find every model. `on_progress(read, of)` is called while headers have to be read for the first time."""
    library = Library(config.server.state_dir / HEADERS)
    library.survey(config)
    of = library.pending
    while library.pending:
        library.read(STEP)
        if on_progress is not None:
            on_progress(of - library.pending, of)
    library.save()
    return library.snapshot()
