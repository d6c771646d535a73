"""From what lies on the disk, and what is known of it so far, to models with names that last.

It opens nothing and does not know the time: the same files have the same names, in whatever order they were seen; and
keep them when others come (`ids` remembers them).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

from attrs import evolve

from .disk.folders import NO_MODEL, Headers, sort_out
from .disk.survey import Stored, Survey
from .found import Found, LeftOut, Snapshot, Stamp
from .gguf.facts import Facts
from .labels import printable
from .ollama.compat import ollama_only
from .sources import Source, Sources, fame, places
from .unserved import names_of

Key = tuple[Path, tuple[Path, ...]]
"""What makes a model one: its first real file, and the adapters that Ollama puts on it."""


def build(survey: Survey, known: Headers, before: Mapping[Key, str] | None = None) -> Snapshot:
    """Put the models together. A folder comes in as a whole, once all its headers were read, and nothing comes in whose
    name or files could still change by what is read later.

    Args:
        known: The headers that were read so far.
        before: The ids that models had until now. Those that are still names of theirs stay.
    """
    models: dict[Key, Sources] = {}
    left_out: dict[Path, LeftOut] = {}
    waiting: set[Path] = set()
    claimed: set[str] = set()
    for place in places(survey):
        if all(candidate.stamp in known for candidate in place.candidates):
            contents = sort_out(place.candidates, known)
            for candidate, reason in contents.left_out:
                gone = LeftOut(candidate.path, reason, names_of(candidate.published))
                left_out.setdefault(candidate.stamp.path, gone)
            for bundle, label in zip(contents.models, place.labels(contents.models), strict=True):
                way = Source(place.rank, bundle, label)
                models.setdefault((bundle.first.stamp.path, ()), Sources()).folders.append(way)
        else:
            waiting.update(candidate.stamp.path for candidate in place.candidates)
            claimed.update(place.claims())
    for stored in sorted(survey.ollama, key=lambda one: fame(one.model.name)):
        if reason := _why_not(stored, known):
            names = (stored.model.name, *stored.model.aliases)
            gone = left_out.setdefault(stored.blob.path, LeftOut(stored.model.blob, reason))
            left_out[stored.blob.path] = evolve(gone, names=(*gone.names, *map(printable, names)))
            continue
        if not all(stamp in known for stamp in (stored.blob, *stored.projectors.values())):
            waiting.add(stored.blob.path)
        key = (stored.blob.path, stored.model.adapters)
        models.setdefault(key, Sources()).stored.append(stored)
    for key, ways in models.items():
        ways.sort()
        ways.before = (before or {}).get(key, "")
    settled = _settled(models, waiting, claimed)
    named, nameless = _name(settled, survey.asked)
    everything = {*survey.left_out, *left_out.values(), *nameless}
    return Snapshot(
        models={id_: _found(id_, ways, survey, known) for id_, ways in named.items()},
        left_out=tuple(sorted(everything, key=lambda left: (str(left.path), left.reason))),
        beside={path: (stamp, known.get(stamp)) for path, stamp in survey.beside.items()},
        complete=all(stamp in known for stamp in survey.stamps),
    )


def _why_not(stored: Stored, known: Headers) -> str:
    """Why what Ollama's store has is no model, as far as is known; "" if it is one."""
    header = known.get(stored.blob)
    if header is None or (isinstance(header, Facts) and header.role == "model"):
        return ""
    reason = NO_MODEL[header.role] if isinstance(header, Facts) else header.reason
    return f"{printable(stored.model.name)} in Ollama's store: {reason}"


def _settled(models: Mapping[Key, Sources], waiting: set[Path], claimed: Iterable[str]) -> dict[Key, Sources]:
    """The models whose ids are certain, though some files are still to be read: none of these can be a better way to
    one of them, or take its id, or take the id of another that would then take its id.
    """
    claimed = set(claimed)
    certain = dict(models)
    unsure = {key: ways for key, ways in certain.items() if key[0] in waiting}
    while waiting:
        for key, ways in unsure.items():
            claimed.update(_all_ids(ways))
            del certain[key]
        unsure = {key: ways for key, ways in certain.items() if any(_is_claimed(id_, claimed) for id_ in ways.ids)}
        if not unsure:
            break
    return certain


def _all_ids(ways: Sources) -> Iterable[str]:
    return [*ways.ids, *(id_ for way in ways.folders for id_ in way.label.ids), *ways.names]


def _is_claimed(id_: str, claimed: set[str]) -> bool:
    """Whether an id, or the folder that it is a quantisation in, is claimed."""
    return id_ in claimed or any(id_[:at] in claimed for at, letter in enumerate(id_) if letter == "@")


def _name(models: Mapping[Key, Sources], asked: Collection[Path]) -> tuple[dict[str, Sources], list[LeftOut]]:
    """Each model's id, and the models that have none since an earlier root has it. What was asked for by its path is
    then called so, as the config may have a better name for it.
    """
    named: dict[str, Sources] = {}
    nameless: list[LeftOut] = []
    for key, ways in sorted(models.items(), key=lambda item: item[1].order):
        free = next((id_ for id_ in ways.ids if id_ not in named), "")
        holders = [named[id_] for id_ in ways.ids if id_ in named]
        if free and all(holder.rank == ways.rank for holder in holders[: ways.ids.index(free)]):
            named[free] = ways
        elif key[0] in asked:
            named[printable(str(ways.path))] = ways
        else:
            holder = printable(str(holders[0].path))
            reason = f"its name {ways.ids[0]!r} is taken by {holder}"
            nameless.append(LeftOut(ways.path, reason, tuple(ways.paths)))
    return named, nameless


def _found(id_: str, ways: Sources, survey: Survey, known: Headers) -> Found:
    if ways.best:
        bundle = ways.best.bundle
        files, facts, problem = tuple(part.stamp for part in bundle.parts), bundle.facts, bundle.problem
    else:
        blob = ways.stored[0].blob
        header = known[blob]
        assert isinstance(header, Facts)
        files, facts, problem = (blob,), header, _problem(ways.stored, header)
    adapted = ways.stored[0] if ways.stored and ways.stored[0].model.adapters else None
    projector = _projector(ways, known)
    path, stamp, projector_facts = projector or (None, None, None)
    within = survey.store is not None and any(file.path.is_relative_to(survey.store) for file in files)
    from_ollama = within or bool(ways.stored)
    questionable = [one for one in (facts, projector_facts) if one and (from_ollama or one.vision_inside)]
    return Found(
        id=id_,
        path=ways.path,
        files=(*files, *((stamp,) if stamp else ()), *(adapted.adapters if adapted else ())),
        facts=facts,
        names=tuple(name for name in ways.names if name != id_),
        paths=tuple(ways.paths),
        projector=path,
        projector_facts=projector_facts,
        adapters=adapted.model.adapters if adapted else (),
        source="folder" if ways.best else "ollama",
        ollama={printable(one.model.name): one.model.sampling for one in ways.stored},
        ctx_size=max((one.model.ctx_size for one in ways.stored), default=0),
        ollama_only=next(filter(None, map(ollama_only, questionable)), ""),
        problem=problem,
    )


def _projector(ways: Sources, known: Headers) -> tuple[Path, Stamp, Facts] | None:
    """The projector of the best way that has one."""
    beside = [
        (way.bundle.projector.path, way.bundle.projector.stamp, way.bundle.projector_facts)
        for way in ways.folders
        if way.bundle.projector and way.bundle.projector_facts
    ]
    stored = [
        (path, stamp, header)
        for one in ways.stored
        for path, stamp in one.projectors.items()
        if isinstance(header := known[stamp], Facts)
    ]
    return next(iter([*beside, *stored] if ways.best else [*stored, *beside]), None)


def _problem(stored: Iterable[Stored], facts: Facts) -> str:
    """Why a model of the store can't be served, a clause; "" if it can."""
    if facts.split[1] > 1:
        return f"it is part {facts.split[0] + 1} of {facts.split[1]}, and Ollama's store names no parts"
    problems = [one.model.problem for one in stored]
    return problems[0] if all(problems) else ""
