"""One run of the built-in bridge: Ollama's store is read, and the links are as they should be.

It does not know when it runs. It blocks on the disk, so it is for a worker thread.
"""

from __future__ import annotations

import os
from pathlib import Path

from attrs import frozen

from ..catalog import ollama
from ..catalog.facts import Facts
from ..catalog.found import Stamp, Unreadable
from ..catalog.headers import HeaderCache
from ..catalog.library import HEADERS
from ..config.schema import Config
from ..errors import SetupError
from . import ledger
from .links import Outcome, bring_about
from .lock import locked
from .plan import Look, Plan, Skipped, plan


@frozen
class Bridged:
    """What a run came to; `skipped`: the models that have no link, and why."""

    outcome: Outcome
    skipped: tuple[Skipped, ...] = ()


def run(config: Config, *, dry_run: bool = False) -> Bridged:
    """Bridge once.

    Raises:
        Locked: Another llmsup is at it, in the same folder.
        SetupError: The folder can't be used, or its ledger can't.
    """
    # Ollama's store is bridged also if the catalog doesn't read it itself.
    store = ollama.store(config.catalog.ollama) or ollama.store(ollama.DEFAULT)
    assert store is not None
    known = HeaderCache(config.server.state_dir / HEADERS)
    known.load()  # what the catalog has read already; what we read is not kept, as it reads that, too
    return bridge(
        Path(os.path.abspath(store)), Path(os.path.abspath(config.bridge.target)), look(known), dry_run=dry_run
    )


def bridge(store: Path, target: Path, look: Look, *, dry_run: bool = False) -> Bridged:
    """`run`, with the places given. Both must be absolute: links are read from elsewhere."""
    try:
        if not any((store / folder).is_dir() for folder in ("manifests", "manifests-v2")):
            return Bridged(_without_store(store, target))
        if target.resolve().is_relative_to(store.resolve()):
            raise SetupError(f"bridge.target {target} lies in Ollama's store.", hint="Choose another folder.")
        wanted = _plan(store, look)
        if not wanted.links and not ledger.read(target):
            return Bridged(Outcome(), wanted.skipped)  # nothing to do: no folder is made for it
        if dry_run:
            return Bridged(bring_about(wanted, target, store, dry_run=True), wanted.skipped)
        target.mkdir(parents=True, exist_ok=True)
        with locked(target):
            # Read again under the lock: somebody else may have made them meanwhile.
            return Bridged(bring_about(wanted, target, store), wanted.skipped)
    except FileExistsError:
        raise SetupError(f"bridge.target {target} is not a folder.", hint="Move it away, or choose another.") from None
    except OSError as error:
        raise SetupError(
            f"bridge.target {target} can't be used: {error.strerror or error}.",
            hint="It must be a folder that llmsup may write to.",
        ) from None


def look(known: HeaderCache) -> Look:
    """What a blob's header says: from what was read before, else from the file."""

    def header(path: Path) -> Facts | Unreadable:
        try:
            status = path.stat()
            stamp = Stamp(Path(os.path.realpath(path)), status.st_size, status.st_mtime_ns)
        except OSError as error:
            return Unreadable(f"they can't be read: {error.strerror or error}")
        return known.get(stamp) or known.read(stamp)

    return header


def _plan(store: Path, look: Look) -> Plan:
    models, left_out = ollama.read_store(store)
    return plan(models, left_out, look, blind=any(left.path.is_dir() for left in left_out))


def _without_store(store: Path, target: Path) -> Outcome:
    """A disk that isn't there now may come back: its links are left."""
    links = len(ledger.read(target))
    if not links:
        return Outcome()
    them = "one link into it is" if links == 1 else f"{links} links into it are"
    return Outcome(problems=(f"Ollama's store {store} is not there; {them} left alone.",))
