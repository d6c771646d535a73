"""One run of the built-in bridge: reads Ollama's store and brings the links up to date.

It blocks on the disk, so run it in a worker thread.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from attrs import evolve, frozen

from ..catalog.disk import lmstudio
from ..catalog.found import Stamp, Unreadable
from ..catalog.gguf.facts import Facts
from ..catalog.gguf.header_cache import HeaderCache
from ..catalog.library import HEADERS
from ..catalog.ollama import store as ollama
from ..config.schema import Config
from ..errors import SetupError
from . import own_links
from .elsewhere import Elsewhere
from .links import LinkChange, bring_about
from .lock import locked
from .plan import Look, Plan, Skipped, plan

_NO_LM_STUDIO = "LM Studio is not installed, so nothing was linked; bridge.target can name a folder all the same."


@frozen
class BridgeOutcome:
    """The result of a run.

    Attributes:
        skipped: The models that have no link, and why.
        note: Why there was nothing to do, a sentence; "" if there was something.
    """

    outcome: LinkChange
    skipped: tuple[Skipped, ...] = ()
    note: str = ""


def run(config: Config, *, dry_run: bool = False) -> BridgeOutcome:
    """Bridge once.

    Raises:
        Locked: Another llmsup is linking into the same folder.
        SetupError: The folder or the list of our links can't be used.
    """
    # Ollama's store is bridged even if the catalog doesn't read it.
    store = ollama.store(config.catalog.ollama) or ollama.store(ollama.DEFAULT)
    assert store is not None
    known = HeaderCache(config.server.state_dir / HEADERS)
    known.load()  # only read: the catalog reads the same headers and saves them itself
    store = Path(os.path.abspath(store))
    target, folder = lmstudio.bridge_target(config.bridge.target), lmstudio.models_folder()
    moved = _leave_former(store, target, dry_run=dry_run) if config.bridge.target == "auto" else ()
    if target is None:
        return BridgeOutcome(LinkChange(removed=moved), note=_NO_LM_STUDIO)
    if config.bridge.target == "auto" and not (target.parent.is_dir() or target.parent.parent.is_dir()):
        return BridgeOutcome(LinkChange(removed=moved), note=f"LM Studio's folder {target.parent} doesn't exist now.")
    done = bridge(store, target, look(known), folder=folder, dry_run=dry_run)
    return evolve(done, outcome=evolve(done.outcome, removed=(*done.outcome.removed, *moved)))


def _leave_former(store: Path, target: Path | None, *, dry_run: bool) -> tuple[str, ...]:
    """Remove our links from folders that LM Studio doesn't use, or no longer uses; returns the links removed."""
    removed: list[str] = []
    for former in (Path(os.path.expanduser(folder)) for folder in lmstudio.FORMER):
        if (target and former.resolve() == target.resolve()) or not (former / own_links.FILE).exists():
            continue
        with suppress(OSError, SetupError), locked(former):  # best effort: the links stay where they are
            outcome = bring_about(Plan(), former, store, dry_run=dry_run)
            removed += (str(former / path) for path in outcome.removed)
            if not dry_run and not own_links.read(former):
                own_links.forget(former)
        with suppress(OSError):  # not empty: other files are in it
            if not dry_run:
                former.rmdir()
    return tuple(removed)


def bridge(
    store: Path, target: Path, look: Look, *, folder: Path | None = None, dry_run: bool = False
) -> BridgeOutcome:
    """`run`, with the paths given; they must be absolute, since they end up in links.

    Args:
        folder: LM Studio's models folder, if it is installed.
    """
    try:
        if not any((store / folder).is_dir() for folder in ("manifests", "manifests-v2")):
            return BridgeOutcome(_without_store(store, target))
        if target.resolve().is_relative_to(store.resolve()):
            raise SetupError(f"bridge.target {target} is inside Ollama's store.", hint="Choose another folder.")
        wanted = _plan(store, look, Elsewhere.seen(folder, target))
        if not wanted.links and not own_links.read(target):
            return BridgeOutcome(LinkChange(), wanted.skipped)  # nothing to do, so don't create the folder
        if dry_run:
            return BridgeOutcome(bring_about(wanted, target, store, dry_run=True), wanted.skipped)
        target.mkdir(parents=True, exist_ok=True)
        with locked(target):
            # The list of our links is read again under the lock: another llmsup may have made the links meanwhile.
            return BridgeOutcome(bring_about(wanted, target, store), wanted.skipped)
    except FileExistsError:
        raise SetupError(f"bridge.target {target} is not a folder.", hint="Move it away, or choose another.") from None
    except OSError as error:
        raise SetupError(
            f"bridge.target {target} can't be used: {error.strerror or error}.",
            hint="It must be a folder that llmsup may write to.",
        ) from None


def look(known: HeaderCache) -> Look:
    """What a blob's header says: from the cache, else from the file."""

    def header(path: Path) -> Facts | Unreadable:
        try:
            status = path.stat()
            stamp = Stamp(Path(os.path.realpath(path)), status.st_size, status.st_mtime_ns)
        except OSError as error:
            return Unreadable(f"they can't be read: {error.strerror or error}")
        return known.get(stamp) or known.read(stamp)

    return header


def _plan(store: Path, look: Look, elsewhere: Elsewhere) -> Plan:
    models, left_out = ollama.read_store(store)
    blind = any(left.path.is_dir() for left in left_out)
    return plan(models, left_out, look, has=elsewhere.has, blind=blind)


def _without_store(store: Path, target: Path) -> LinkChange:
    """A disk that isn't mounted may come back, so links into it are left alone."""
    links = len(own_links.read(target))
    if not links:
        return LinkChange()
    them = "one link into it is" if links == 1 else f"{links} links into it are"
    return LinkChange(problems=(f"Ollama's store {store} is not there; {them} left alone.",))
