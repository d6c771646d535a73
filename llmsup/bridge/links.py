"""Makes the planned links and removes those of ours that are no longer planned; nothing else is ever touched.

Which links there should be is decided in `plan`. It blocks on the disk, so run it in a worker thread.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from attrs import Factory, define, evolve, frozen

from . import own_links
from .own_links import LinkRecord
from .plan import Link, Plan


@frozen(kw_only=True)
class LinkChange:
    """What was changed; paths are relative to the target.

    Attributes:
        made: New links, and those that lead elsewhere now.
        removed: Links whose model is gone.
        kept: Links that were already right.
        problems: What couldn't be done and why, each a sentence.
    """

    made: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()


@define
class _Work:
    """What there is to do, and what was learnt on the way; `make` says whether a link of ours is replaced."""

    make: dict[str, tuple[Link, bool]] = Factory(dict)
    remove: list[str] = Factory(list)
    forget: list[str] = Factory(list)
    kept: list[str] = Factory(list)
    problems: list[str] = Factory(list)


def bring_about(plan: Plan, target: Path, store: Path, *, dry_run: bool = False) -> LinkChange:
    """Make the links match the plan; what can't be done is reported and the rest is done. Hold `lock` around it.

    Args:
        store: Ollama's. A link of ours into another store is only removed once it is dangling.
        dry_run: Only report what would be done.

    Raises:
        SetupError: The list of our links can't be read; nothing was changed.
        OSError: The list can't be written. What was made by then is on it.
    """
    ours = own_links.read(target)
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
                continue  # unreadable now, but still ours
            if there not in entry.targets:
                work.forget.append(path)  # someone has removed or changed it
            elif not os.path.exists(there) or (Path(there).is_relative_to(store) and plan.is_gone(entry.model)):
                work.remove.append(path)
    return work


def _what_is_at(target: Path, path: str) -> tuple[str, str]:
    """Where the link at a path leads, or a clause on what else is there; both "" if nothing is. Raises OSError."""
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
    """Make and remove links; returns those made and those removed."""
    ours = {path: entry for path, entry in before.items() if path not in work.forget}
    planned = dict(ours)
    for path, (link, _) in work.make.items():
        old = ours[path].targets if path in ours else ()
        planned[path] = LinkRecord(link.model, tuple(dict.fromkeys((*old, str(link.blob)))))
    if planned != before:
        own_links.write(
            target, planned
        )  # before the links: if we are killed half-way, the next run still recognises ours
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
    # A link that was being changed when an earlier run was killed may still have two targets.
    ours |= {path: evolve(ours[path], targets=(os.readlink(target / path),)) for path in work.kept if path in ours}
    if ours != planned:
        own_links.write(target, ours)
    return made, removed


def _make(path: Path, blob: Path, *, replaces: bool) -> None:
    path.parent.mkdir(exist_ok=True)
    if not replaces:
        path.symlink_to(blob)  # atomic, and fails if something has appeared there meanwhile
        return
    scratch = path.with_name(f".{path.name}.new")  # no clash: we hold the lock
    if scratch.is_symlink():
        scratch.unlink()
    scratch.symlink_to(blob)
    try:
        os.replace(scratch, path)
    except OSError:
        scratch.unlink()
        raise


def _remove(path: Path, entry: LinkRecord) -> None:
    if os.readlink(path) in entry.targets:  # checked again, right before the removal
        path.unlink()
    with suppress(OSError):  # not empty
        path.parent.rmdir()
