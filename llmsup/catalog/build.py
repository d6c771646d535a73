"""Builds the catalog's models, with stable names, from a survey of the disk and the headers read so far: pure.

The same files get the same names in whatever order they were seen, and keep them when others appear (`ids` remembers
them between runs).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

from attrs import evolve

from .disk.folders import NO_MODEL, Headers, sort_out
from .disk.survey import Stored, Survey
from .found import Found, LeftOut, Snapshot, Stamp
from .gguf.facts import Facts
from .labels import unserved_names
from .name_parts import printable
from .ollama.compat import ollama_only
from .sources import Source, Sources, fame, model_folders

Key = tuple[Path, tuple[Path, ...]]
"""A model's identity: its first real file, and the adapters that Ollama puts on it."""


def build(survey: Survey, known: Headers, before: Mapping[Key, str] | None = None) -> Snapshot:
    """Put the models together.

    A folder is taken as a whole once all its headers were read, and no model is included whose name or files could
    still change by what is read later.

    Args:
        known: The headers that were read so far.
        before: The ids that models had until now. A model keeps its id as long as that is one of its names.
    """
    models: dict[Key, Sources] = {}
    left_out: dict[Path, LeftOut] = {}
    waiting: set[Path] = set()
    claimed: set[str] = set()
    for folder in model_folders(survey):
        if all(candidate.stamp in known for candidate in folder.candidates):
            contents = sort_out(folder.candidates, known)
            for candidate, reason in contents.left_out:
                gone = LeftOut(candidate.path, reason, unserved_names(candidate.published))
                left_out.setdefault(candidate.stamp.path, gone)
            for bundle, label in zip(contents.models, folder.labels(contents.models), strict=True):
                source = Source(folder.rank, bundle, label)
                models.setdefault((bundle.first.stamp.path, ()), Sources()).folders.append(source)
        else:
            waiting.update(candidate.stamp.path for candidate in folder.candidates)
            claimed.update(folder.claims())
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
    for key, sources in models.items():
        sources.sort()
        sources.before = (before or {}).get(key, "")
    settled = _settled(models, waiting, claimed)
    named, nameless = _name(settled, survey.asked)
    everything = {*survey.left_out, *left_out.values(), *nameless}
    return Snapshot(
        models={id_: _found(id_, sources, survey, known) for id_, sources in named.items()},
        left_out=tuple(sorted(everything, key=lambda left: (str(left.path), left.reason))),
        beside={path: (stamp, known.get(stamp)) for path, stamp in survey.beside.items()},
        complete=all(stamp in known for stamp in survey.stamps),
    )


def _why_not(stored: Stored, known: Headers) -> str:
    """Why an entry of Ollama's store is not a model, as far as is known; "" if it is one."""
    header = known.get(stored.blob)
    if header is None or (isinstance(header, Facts) and header.role == "model"):
        return ""
    reason = NO_MODEL[header.role] if isinstance(header, Facts) else header.reason
    return f"{printable(stored.model.name)} in Ollama's store: {reason}"


def _settled(models: Mapping[Key, Sources], waiting: set[Path], claimed: Iterable[str]) -> dict[Key, Sources]:
    """The models whose ids are certain, though some files are still unread: no unread file can be a better source for
    one of them, take its id, or take the id of another model that would then take its id.
    """
    claimed = set(claimed)
    certain = dict(models)
    unsure = {key: sources for key, sources in certain.items() if key[0] in waiting}
    while waiting:
        for key, sources in unsure.items():
            claimed.update(_all_ids(sources))
            del certain[key]
        unsure = {
            key: sources for key, sources in certain.items() if any(_is_claimed(id_, claimed) for id_ in sources.ids)
        }
        if not unsure:
            break
    return certain


def _all_ids(sources: Sources) -> Iterable[str]:
    return [*sources.ids, *(id_ for source in sources.folders for id_ in source.label.ids), *sources.names]


def _is_claimed(id_: str, claimed: set[str]) -> bool:
    """Whether an id is claimed, or the folder's id that it adds a quantisation to."""
    return id_ in claimed or any(id_[:at] in claimed for at, letter in enumerate(id_) if letter == "@")


def _name(models: Mapping[Key, Sources], asked: Collection[Path]) -> tuple[dict[str, Sources], list[LeftOut]]:
    """Each model's id, and the models that have none because an earlier root has it. One that the config asked for by
    path is then called by its path, as the config may have a better name for it.
    """
    named: dict[str, Sources] = {}
    nameless: list[LeftOut] = []
    for key, sources in sorted(models.items(), key=lambda item: item[1].order):
        free = next((id_ for id_ in sources.ids if id_ not in named), "")
        holders = [named[id_] for id_ in sources.ids if id_ in named]
        if free and all(holder.rank == sources.rank for holder in holders[: sources.ids.index(free)]):
            named[free] = sources
        elif key[0] in asked:
            named[printable(str(sources.path))] = sources
        else:
            holder = printable(str(holders[0].path))
            reason = f"its name {sources.ids[0]!r} is taken by {holder}"
            nameless.append(LeftOut(sources.path, reason, tuple(sources.paths)))
    return named, nameless


def _found(id_: str, sources: Sources, survey: Survey, known: Headers) -> Found:
    if sources.best:
        bundle = sources.best.bundle
        files, facts, problem = tuple(part.stamp for part in bundle.parts), bundle.facts, bundle.problem
    else:
        blob = sources.stored[0].blob
        header = known[blob]
        assert isinstance(header, Facts)
        files, facts, problem = (blob,), header, _problem(sources.stored, header)
    adapted = sources.stored[0] if sources.stored and sources.stored[0].model.adapters else None
    projector = _projector(sources, known)
    path, stamp, projector_facts = projector or (None, None, None)
    within = survey.store is not None and any(file.path.is_relative_to(survey.store) for file in files)
    from_ollama = within or bool(sources.stored)
    questionable = [one for one in (facts, projector_facts) if one and (from_ollama or one.vision_inside)]
    return Found(
        id=id_,
        path=sources.path,
        files=(*files, *((stamp,) if stamp else ()), *(adapted.adapters if adapted else ())),
        facts=facts,
        names=tuple(name for name in sources.names if name != id_),
        paths=tuple(sources.paths),
        projector=path,
        projector_facts=projector_facts,
        adapters=adapted.model.adapters if adapted else (),
        source="folder" if sources.best else "ollama",
        ollama={printable(one.model.name): one.model.sampling for one in sources.stored},
        ctx_size=max((one.model.ctx_size for one in sources.stored), default=0),
        ollama_only=next(filter(None, map(ollama_only, questionable)), ""),
        problem=problem,
    )


def _projector(sources: Sources, known: Headers) -> tuple[Path, Stamp, Facts] | None:
    """The projector of the best source that has one."""
    beside = [
        (source.bundle.projector.path, source.bundle.projector.stamp, source.bundle.projector_facts)
        for source in sources.folders
        if source.bundle.projector and source.bundle.projector_facts
    ]
    stored = [
        (path, stamp, header)
        for one in sources.stored
        for path, stamp in one.projectors.items()
        if isinstance(header := known[stamp], Facts)
    ]
    return next(iter([*beside, *stored] if sources.best else [*stored, *beside]), None)


def _problem(stored: Iterable[Stored], facts: Facts) -> str:
    """Why a model in Ollama's store can't be served, a clause; "" if it can."""
    if facts.split[1] > 1:
        return f"it is part {facts.split[0] + 1} of {facts.split[1]}, and Ollama's store names no parts"
    problems = [one.model.problem for one in stored]
    return problems[0] if all(problems) else ""
