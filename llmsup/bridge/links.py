"""Makes the links that should be there, and removes those of ours that should not: nothing else is ever touched.

It does not know why a link should be there (`plan`). It blocks on the disk, so it is for a worker thread.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from attrs import Factory, define, evolve, frozen

from . import ledger
from .ledger import LinkRecord
from .plan import Link, Plan


@frozen(kw_only=True)
class LinkChange:
    """What became of the links; paths are relative to the target.

    Attributes:
        made: New ones, and those that lead elsewhere now.
        removed: Those whose model is gone.
        kept: Those that were right already.
        problems: What stood in the way, each a sentence.
    """

    made: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()


@define
class _Work:
    """What there is to do, and what was found out on the way; `make` tells whether one of ours is replaced."""

    make: dict[str, tuple[Link, bool]] = Factory(dict)
    remove: list[str] = Factory(list)
    forget: list[str] = Factory(list)
    kept: list[str] = Factory(list)
    problems: list[str] = Factory(list)


def bring_about(plan: Plan, target: Path, store: Path, *, dry_run: bool = False) -> LinkChange:
    """Have the links as planned. What can't be done is told, and the rest is done. One at a time (`lock`).

    Args:
        store: Ollama's: a link of ours into another one is only removed once it leads nowhere.
        dry_run: Only tell.

    Raises:
        SetupError: The ledger can't be read; nothing was changed.
        OSError: The ledger can't be written. What was made by then is in it.
    """
    ours = ledger.read(target)
    work = _sort_out(plan, target, store, ours)
    if dry_run:
        made, removed = list(work.make), work.remove
    else:
        made, removed = _do(work, target, ours)
    return LinkChange(made=tuple(made), removed=tuple(removed), kept=tuple(work.kept), problems=tuple(work.problems))


def _sort_out(plan: Plan, target: Path, store: Path, ours: Mapping[str, LinkRecord]) -> _Work:
    work = _Work()
    for link in plan.links:
        try:
            there, obstacle = _what_is_at(target, link.path)
        except OSError as error:
            there, obstacle = "", error.strerror or str(error)
        ours_there = link.path in ours and there in ours[link.path].targets
        if there == str(link.blob):
            work.kept.append(link.path)
        elif obstacle or (there and not ours_there):
            what = obstacle or "it is a link that llmsup did not make"
            work.problems.append(f"{target / link.path} can't be a link to {link.model}: {what}.")
        else:
            work.make[link.path] = (link, ours_there)
    planned = {link.path for link in plan.links}
    for path, entry in ours.items():
        if path not in planned:
            try:
                there, _ = _what_is_at(target, path)
            except OSError:
                continue  # what can't be seen now is still ours
            if there not in entry.targets:
                work.forget.append(path)  # removed or changed by somebody
            elif not os.path.exists(there) or (Path(there).is_relative_to(store) and plan.is_gone(entry.model)):
                work.remove.append(path)
    return work


def _what_is_at(target: Path, path: str) -> tuple[str, str]:
    """Where the link at a path leads, or what else is there, a clause; both "" if nothing is. Raises OSError."""
    try:
        if not stat.S_ISDIR(os.lstat(target / path.partition("/")[0]).st_mode):
            return "", "its folder is a file, or a link to elsewhere"
        status = os.lstat(target / path)
        if stat.S_ISLNK(status.st_mode):
            return os.readlink(target / path), ""
    except FileNotFoundError:
        return "", ""
    return "", "a folder is there" if stat.S_ISDIR(status.st_mode) else "a file that llmsup did not make is there"


def _do(work: _Work, target: Path, before: Mapping[str, LinkRecord]) -> tuple[list[str], list[str]]:
    """Make and remove; returns what was."""
    ours = {path: entry for path, entry in before.items() if path not in work.forget}
    planned = dict(ours)
    for path, (link, _) in work.make.items():
        old = ours[path].targets if path in ours else ()
        planned[path] = LinkRecord(link.model, tuple(dict.fromkeys((*old, str(link.blob)))))
    if planned != before:
        ledger.write(target, planned)  # first: whatever happens to us then, we shall know our own
    made: list[str] = []
    removed: list[str] = []
    for path, (link, replaces) in work.make.items():
        try:
            _make(target / path, link.blob, replaces=replaces)
        except OSError as error:
            work.problems.append(f"{target / path} can't be made: {error.strerror or error}.")
            continue
        made.append(path)
        ours[path] = LinkRecord(link.model, (str(link.blob),))
    for path in work.remove:
        try:
            _remove(target / path, ours[path])
        except OSError as error:
            work.problems.append(f"{target / path} can't be removed: {error.strerror or error}.")
            continue
        removed.append(path)
        del ours[path]
    # One that was being changed when an earlier run ended may have two targets still.
    ours |= {path: evolve(ours[path], targets=(os.readlink(target / path),)) for path in work.kept if path in ours}
    if ours != planned:
        ledger.write(target, ours)
    return made, removed


def _make(path: Path, blob: Path, *, replaces: bool) -> None:
    path.parent.mkdir(exist_ok=True)
    if not replaces:
        path.symlink_to(blob)  # whole at once, and it fails where something has come to be there meanwhile
        return
    scratch = path.with_name(f".{path.name}.new")  # nobody else's: we hold the lock
    if scratch.is_symlink():
        scratch.unlink()
    scratch.symlink_to(blob)
    try:
        os.replace(scratch, path)
    except OSError:
        scratch.unlink()
        raise


def _remove(path: Path, entry: LinkRecord) -> None:
    if os.readlink(path) in entry.targets:  # still
        path.unlink()
    with suppress(OSError):  # something else is in it
        path.parent.rmdir()
