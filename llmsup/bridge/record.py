"""The record of one run of the bridge."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from attrs import frozen

from ..units import format_seconds
from .plan import Skipped


@frozen(kw_only=True)
class BridgeRun:
    """One run.

    Attributes:
        started_at: In Unix seconds.
        seconds: How long it took.
        command: The user's program; "" for the built-in bridge.
        dry_run: Nothing was changed, only reported.
        exit_code: The program's, -N for signal N; None if there was no program, or it was killed after its timeout.
        made: Links that are new or lead elsewhere now, by path under the target.
        removed: Links that are gone.
        kept: How many were left unchanged.
        skipped: Ollama's models that have no link, and why.
        problems: What couldn't be done and why, each a sentence; the rest was done.
        note: Why there was nothing to do, a sentence; "" if there was something.
        lines: The last lines that the program printed.
        error: Why it failed, a sentence; "" if it didn't.
    """

    started_at: float
    seconds: float = 0.0
    command: str = ""
    dry_run: bool = False
    exit_code: int | None = None
    made: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    kept: int = 0
    skipped: tuple[Skipped, ...] = ()
    problems: tuple[str, ...] = ()
    note: str = ""
    lines: tuple[str, ...] = ()
    error: str = ""

    def __str__(self) -> str:
        """One line: "2 links made, 1 removed, 5 kept in 0.12 s"."""
        links = "link" if len(self.made) == 1 else "links"
        done = f"{len(self.made)} {links} made, {len(self.removed)} removed, {self.kept} kept"
        took = f"{done} in {format_seconds(self.seconds)}"
        if self.error:
            return f"{took}; it failed: {self.error}"
        return f"{took}. {self.note}" if self.note else took

    def as_json(self) -> dict[str, Any]:
        """As JSON, for `/bridge` and the `bridge` event."""
        return {
            "success": not self.error,
            "started_at": round(self.started_at, 3),
            "seconds": round(self.seconds, 3),
            "command": self.command or None,
            "dry_run": self.dry_run,
            "exit_code": self.exit_code,
            "made": list(self.made),
            "removed": list(self.removed),
            "kept": self.kept,
            "skipped": [{"model": one.model, "reason": one.reason} for one in self.skipped],
            "problems": list(self.problems),
            "note": self.note or None,
            "lines": list(self.lines),
            "error": self.error or None,
        }


def links_in(target: Path) -> dict[str, str]:
    """All links under a target and where they lead, by path; comparing before and after shows what a program did.

    It blocks on the disk, so run it in a worker thread.
    """
    links: dict[str, str] = {}
    for folder in _entries(target):
        for entry in [folder] if folder.is_symlink() else _entries(Path(folder.path)):
            with suppress(OSError):  # removed while we were scanning
                if entry.is_symlink():
                    links[os.path.relpath(entry.path, target)] = os.readlink(entry.path)
    return links


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    with suppress(OSError), os.scandir(folder) as listing:
        return list(listing)
    return []
