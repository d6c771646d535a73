"""Which files and links there are in all places where models are looked for.

No model file is opened. Ollama's manifests are small, and are read (`ollama`).
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path

from attrs import Factory, evolve, frozen

from ...config.schema import Catalog
from ..found import LeftOut, Stamp
from ..ollama.store import OllamaModel, read_store, store
from .lmstudio import model_roots
from .pairing import siblings
from .walk import Candidate, Walk


@frozen
class Stored:
    """A model of Ollama's store, with those of its real files that exist."""

    model: OllamaModel
    blob: Stamp
    projectors: Mapping[Path, Stamp] = Factory(dict)
    adapters: tuple[Stamp, ...] = ()


@frozen(kw_only=True)
class Survey:
    """What there is at one moment.

    Attributes:
        roots: The catalog's roots, the most important first.
        candidates: The files under them.
        asked: Files that the config asks for by path, wherever they are.
        extra: For each of those that is under no root: itself and the files that may belong to it.
        ollama: The models of Ollama's store.
        beside: Files that models' `args` name, by the path written there.
        store: The real path of Ollama's store; None if it isn't read.
        left_out: What can be told not to be a model without opening it.
    """

    roots: tuple[Path, ...] = ()
    candidates: tuple[Candidate, ...] = ()
    asked: frozenset[Path] = frozenset()
    extra: tuple[tuple[Candidate, ...], ...] = ()
    ollama: tuple[Stored, ...] = ()
    beside: Mapping[Path, Stamp] = Factory(dict)
    store: Path | None = None
    left_out: tuple[LeftOut, ...] = ()

    @property
    def stamps(self) -> tuple[Stamp, ...]:
        """The files whose headers `build` asks for, each once."""
        stamps = dict.fromkeys(candidate.stamp for candidate in self.candidates)
        stamps |= dict.fromkeys(candidate.stamp for group in self.extra for candidate in group)
        stamps |= dict.fromkeys(self.beside.values())
        for stored in self.ollama:
            stamps |= dict.fromkeys((stored.blob, *stored.projectors.values()))
        return tuple(stamps)


def survey(
    settings: Catalog, *, extra: Iterable[Path] = (), beside: Iterable[Path] = (), bridge: Path | None = None
) -> Survey:
    """Scan the roots and Ollama's store. It blocks on the disk, so run it in a worker thread.

    Args:
        extra: Files that are wanted wherever they are; missing ones are skipped.
        beside: Files that models' `args` name.
        bridge: Where the bridge makes links into Ollama's store.
    """
    roots = tuple(dict.fromkeys(root.absolute() for root in model_roots(settings)))
    left_out: dict[str, LeftOut] = {}
    candidates: list[Candidate] = []
    for root in roots:
        walk = Walk(root)
        walk.run()
        candidates += walk.candidates
        left_out = walk.left_out | left_out  # the path under the first root wins
    place = store(settings.ollama)
    stored, not_stored = _stored(place)
    first: dict[tuple[int, int], Stamp] = {}  # hard links are one file: LM Studio's importer makes them
    candidates = [
        evolve(one, stamp=first.setdefault(one.stamp.node, one.stamp), bridged=_is_bridged(one, bridge))
        for one in candidates
    ]
    stored = tuple(evolve(one, blob=first.setdefault(one.blob.node, one.blob)) for one in stored)
    known = {candidate.stamp.path for candidate in candidates} | {one.blob.path for one in stored}
    groups: dict[Path, tuple[Candidate, ...]] = {}
    for path in sorted(extra):
        if group := _group(path.absolute()):
            group = (evolve(group[0], stamp=first.get(group[0].stamp.node, group[0].stamp)), *group[1:])
            groups.setdefault(group[0].stamp.path, group)
    return Survey(
        roots=roots,
        candidates=tuple(candidates),
        asked=frozenset(groups),
        extra=tuple(group for path, group in groups.items() if path not in known),
        ollama=stored,
        beside={path: stamp for path in beside if (stamp := _stamp_if_there(path))},
        store=place and Path(os.path.realpath(place)),
        left_out=(*left_out.values(), *not_stored),
    )


def _is_bridged(candidate: Candidate, bridge: Path | None) -> bool:
    if bridge is None or not candidate.linked:
        return False
    return Path(os.path.realpath(candidate.path.parent)).is_relative_to(os.path.realpath(bridge))


def _stored(place: Path | None) -> tuple[tuple[Stored, ...], list[LeftOut]]:
    if place is None:
        return (), []
    models, left_out = read_store(place)
    stored = []
    for model in models:
        try:
            blob = _stamp(model.blob)
        except OSError as error:
            reason = model.problem or f"the weights of Ollama's {model.name} can't be read: {error.strerror}"
            left_out.append(LeftOut(model.blob, reason, (model.name, *model.aliases)))
            continue
        projectors = {path: stamp for path in model.projectors if (stamp := _stamp_if_there(path))}
        adapters = tuple(stamp for path in model.adapters if (stamp := _stamp_if_there(path)))
        stored.append(Stored(model, blob, projectors, adapters))
    return tuple(stored), left_out


def _group(path: Path) -> tuple[Candidate, ...]:
    """A file and the ones next to it that may belong to it; () if there is no such file."""
    try:
        with os.scandir(path.parent) as listing:
            names = sorted(entry.name for entry in listing)
        found = [_alone(path)]
    except OSError:
        return ()
    for name in siblings(path.name, names):
        try:
            found.append(_alone(path.parent / name))
        except OSError:  # a dangling link, or a folder of that name: counts as missing
            continue
    return tuple(found)


def _alone(path: Path) -> Candidate:
    """A file that is under no root. Raises OSError: It doesn't exist, or isn't a regular file."""
    stamp = _stamp(path)
    return Candidate(path, stamp, path.parent, path.name, linked=stamp.path != path)


def _stamp(path: Path) -> Stamp:
    """The real file that a path leads to. Raises OSError: It doesn't exist, or isn't a regular file."""
    status = os.stat(path)
    if not stat.S_ISREG(status.st_mode):
        raise OSError(0, "it is not a regular file")
    return Stamp(Path(os.path.realpath(path)), status.st_size, status.st_mtime_ns, (status.st_dev, status.st_ino))


def _stamp_if_there(path: Path) -> Stamp | None:
    try:
        return _stamp(path)
    except OSError:
        return None
