"""The index of model files on the disk: surveyed, read file by file, remembered for the next start.

What is served of it is decided in `merge`, and when to rescan in `fleet.reconciler`.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from ..config.schema import Config
from ..errors import SetupError
from ..units import Seconds
from .build import build
from .disk.companions import companions
from .disk.lmstudio import bridge_target, model_roots
from .disk.model_path import resolve_path
from .disk.survey import Survey, survey
from .found import Snapshot, Stamp, Unreadable
from .gguf.facts import Facts
from .gguf.header_cache import HeaderCache
from .ids import Ids

HEADERS = "headers.json"
"""The file in `state_dir` that keeps what was read of model files."""

IDS = "ids.json"
"""The file beside it that keeps the ids that models were given."""

STEP = Seconds(0.1)
"""Seconds between the progress reports of `scan_now`."""


class Library:
    """All model files. Call it from worker threads, one call at a time; `pending` may be read from anywhere.

    Attributes:
        pending: How many headers are still unread.
    """

    def __init__(self, headers: Path) -> None:
        """`headers`: the file that keeps what was read."""
        self.pending = 0
        self._headers = HeaderCache(headers)
        self._ids = Ids(headers.with_name(IDS))
        self._loaded = False
        self._survey = Survey()
        self._known: dict[Stamp, Facts | Unreadable] = {}
        self._unread: list[Stamp] = []
        self._first = 0  # so many of them are named in the config, and come first

    def survey(self, config: Config) -> tuple[str, ...]:
        """List the files in the catalog's roots and at the config's paths, without opening them.

        Returns:
            Why what an earlier run had saved couldn't be used, a sentence each; only the first time.
        """
        problems: tuple[str | None, ...] = ()
        if not self._loaded:
            problems = self._headers.load(), self._ids.load()
            self._loaded = True
        paths = configured(config)
        beside = {path for spec in (config.defaults, *config.models.values()) for path in companions(spec).all}
        target = bridge_target(config.bridge.target)
        self._survey = survey(config.catalog, extra=paths, beside=beside, bridge=target)
        own = {path.resolve() for path in (*paths, *beside)}
        stamps = dict.fromkeys(self._survey.stamps)
        found = {stamp: self._headers.get(stamp) for stamp in stamps}
        self._known = {stamp: known for stamp, known in found.items() if known is not None}
        unread = [stamp for stamp, known in found.items() if known is None]
        self._unread = sorted(unread, key=lambda stamp: stamp.path not in own)
        self._first = sum(stamp.path in own for stamp in unread)
        self.pending = len(unread)
        return tuple(problem for problem in problems if problem)

    def read(self, budget: Seconds = Seconds(math.inf), *, first_only: bool = False) -> None:
        """Read headers for so many seconds; `first_only`: only those of files that the config names."""
        end = time.monotonic() + budget
        while self._unread and time.monotonic() < end and (self._first > 0 or not first_only):
            stamp = self._unread.pop(0)
            self._known[stamp] = self._headers.read(stamp)
            self._first -= 1
            self.pending = len(self._unread)

    def snapshot(self) -> Snapshot:
        """The models, as far as is known."""
        found = build(self._survey, self._known, self._ids.given)
        self._ids.note(found.models)
        return found

    def save(self) -> str | None:
        """Save what was read for the next start; returns why that failed, or None."""
        return self._headers.save(self._known)

    def save_ids(self, served: Iterable[str]) -> str | None:
        """Save the ids of the served models for the next start; returns why that failed, or None."""
        return self._ids.save(served)


def scan_now(config: Config, on_progress: Callable[[int, int], None] | None = None) -> Snapshot:
    """Scan the disk completely, for commands that don't talk to a server.

    Args:
        on_progress: Called with the headers read and their total while headers are read for the first time.
    """
    library = Library(config.server.state_dir / HEADERS)
    library.survey(config)
    of = library.pending
    while library.pending:
        library.read(STEP)
        if on_progress is not None:
            on_progress(of - library.pending, of)
    library.save()
    return library.snapshot()


def configured(config: Config) -> list[Path]:
    """The files that the config's paths mean; a path that matches none is reported in `merge`."""
    paths = []
    roots = model_roots(config.catalog)
    for spec in config.models.values():
        if spec.path:
            try:
                paths.append(resolve_path(spec, roots))
            except SetupError:
                continue
    return paths
