"""Which models are served: joins the config's tables with what was found on the disk."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

from attrs import evolve, fields, frozen

from ..config.schema import Config, EngineSpec, ModelSpec, Settings
from ..errors import ModelNotFound, SetupError
from .disk.companions import companions
from .disk.lmstudio import model_roots
from .disk.model_path import resolve_path
from .entry import Entry
from .found import Found, Snapshot
from .gguf.facts import Facts
from .resolver import Called, Names
from .tensors import tensors_at

_FETCH = "nothing is downloaded at a start (`hf download NAME --local-dir PATH` does that)"

_SETTINGS = tuple(field.name for field in fields(Settings))


class Engines(Protocol):
    """What the catalog asks about the kinds of engines, which it can't see itself (`engines.registry.Kinds`)."""

    def table_of(self, spec: ModelSpec, tables: Mapping[str, EngineSpec]) -> EngineSpec | None:
        """The [engines.NAME] table that a model uses, if any."""

    def takes_directories(self, spec: ModelSpec) -> bool:
        """Whether a model's path may be anything, and not only a GGUF."""

    def reads_tensors(self, spec: ModelSpec) -> bool:
        """Whether a model's path is a directory of safetensors."""

    def word_for(self, spec: ModelSpec, found: Found) -> str:
        """The `engine` that a model is served with, when [defaults] and its file disagree."""

    def refusal(self, spec: ModelSpec, found: Found) -> str:
        """Why no engine on this machine can serve a model's file: a sentence; "" if one can. May use the disk."""


@frozen(kw_only=True)
class Disk:
    """What is on this machine to serve.

    Attributes:
        snapshot: The models that were found, including those at the config's paths.
        engines: What they can be served by.
    """

    snapshot: Snapshot
    engines: Engines

    def unreadable(self, path: Path) -> str:
        """Why a file was left out, a clause; "" if it wasn't."""
        real = os.path.realpath(path)
        return next((left.reason for left in self.snapshot.left_out if os.path.realpath(left.path) == real), "")


def entries(config: Config, disk: Disk) -> dict[str, Entry]:
    """Every model that is served here, by id: first the config's, in its order, then the others, by name.

    With peers, a table without a path whose model isn't here is about a model of theirs, and so not among these.
    It looks up the config's paths on the disk, so run it in a worker thread.
    """
    config = evolve(config, catalog=evolve(config.catalog, roots=model_roots(config.catalog)))
    plain_last = sorted(disk.snapshot.models.values(), key=lambda found: not found.adapters)
    by_file: dict[object, Found] = {}
    for found in plain_last:
        by_file |= {key: found for stamp in found.files[:1] for key in (stamp.path, stamp.node)}
    called = Names({found.id: Called(also=dict.fromkeys(found.names, "")) for found in disk.snapshot.models.values()})
    served: dict[str, Entry] = {}
    taken: set[str] = set()
    for spec in config.models.values():
        entry = _configured(config, spec, disk, by_file, called)
        if entry is None:
            continue
        first = entry.found is not None and entry.found.id not in taken
        served[spec.name] = entry if first else evolve(entry, also={})
        if entry.found is not None:
            taken.add(entry.found.id)
    if config.catalog.serve_all:
        for found in sorted(disk.snapshot.models.values(), key=lambda found: found.id.casefold()):
            if found.id not in taken and found.id not in served:
                served[found.id] = _on_its_own(config, found, disk)
    return served


def _configured(
    config: Config, spec: ModelSpec, disk: Disk, by_file: Mapping[object, Found], called: Names
) -> Entry | None:
    """The model of a table; None while its file's header is still unread, or if it can only be a model of peers."""
    engine = disk.engines.table_of(spec, config.engines)
    foreign = disk.engines.takes_directories(spec)
    if not spec.path:
        if spec.command:
            return Entry(spec=spec, engine=engine)
        return None if config.peers and called.is_free(spec.name) else _by_name(spec, engine, disk, called)
    try:
        path = resolve_path(spec, config.catalog.roots, directories=foreign)
    except SetupError as error:
        why = str(error).removeprefix(f"model {spec.name}: ")
        if disk.engines.reads_tensors(spec):
            return Entry(spec=spec, engine=engine, refusal=f"{why} It must be a directory that is here: {_FETCH}.")
        return Entry(spec=spec, engine=engine, refusal="" if foreign else why)
    if disk.engines.reads_tensors(spec):
        own = evolve(spec, upstream_model=spec.upstream_model or spec.name)  # such a server knows no other name
        return _of_file(own, engine, tensors_at(path, spec.name), disk)
    if found := by_file.get(path.resolve()) or by_file.get(_node(path)):
        return _of_file(spec, engine, evolve(found, path=path), disk)
    if foreign or ((why := disk.unreadable(path)) == "" and disk.snapshot.complete):
        return Entry(spec=spec, engine=engine)
    return Entry(spec=spec, engine=engine, refusal=f"{path} can't be used: {why}.") if why else None


def _node(path: Path) -> tuple[int, int] | None:
    """Which file a path leads to, by device and inode."""
    with suppress(OSError):
        status = path.stat()
        return status.st_dev, status.st_ino
    return None


def _by_name(spec: ModelSpec, engine: EngineSpec | None, disk: Disk, called: Names) -> Entry | None:
    """A table without a path refers to the model that was found under its name."""
    try:
        found = disk.snapshot.models[called.resolve(spec.name).id]
    except ModelNotFound as error:
        if not disk.snapshot.complete:
            return None
        return Entry(spec=spec, engine=engine, refusal=f"[models] has no path or command for it. {error.message}")
    return _of_file(spec, engine, found, disk)


def _on_its_own(config: Config, found: Found, disk: Disk) -> Entry:
    settings = {name: getattr(config.defaults, name) for name in _SETTINGS}
    # [defaults] preload applies to the models listed in the config, not to every file on the disk.
    spec = ModelSpec(name=found.id, **{**settings, "preload": False})
    return _of_file(spec, disk.engines.table_of(spec, config.engines), found, disk)


def _of_file(spec: ModelSpec, engine: EngineSpec | None, found: Found, disk: Disk) -> Entry:
    """The settings, completed with what the file and Ollama's parameters say."""
    own = {name: value for name, value in spec.sampling.items() if f"sampling.{name}" in spec.given}
    shared, variants = _ollamas(found, own)
    filled = evolve(
        spec,
        path=str(found.path),
        kind=spec.kind or (None if found.facts.kind == "unknown" else found.facts.kind),
        engine=disk.engines.word_for(spec, found),
        ctx_size=spec.ctx_size if "ctx_size" in spec.given else found.ctx_size or spec.ctx_size,
        sampling={**spec.sampling, **shared, **own},
        presets={**variants, **spec.presets},
    )
    found = _with_companions(filled, found, disk)
    also = {name: _variant(name, variants) for name in (found.id, *found.names) if name != spec.name}
    preset = _variant(spec.name, variants)
    return Entry(
        spec=filled, found=found, engine=engine, preset=preset, also=also, refusal=_refusal(filled, found, disk)
    )


def _with_companions(spec: ModelSpec, found: Found, disk: Disk) -> Found:
    """The file, with the others that the model's `args` make an engine load."""
    named = companions(spec)
    there = {path: disk.snapshot.beside[path] for path in named.all if path in disk.snapshot.beside}
    if not there:
        return found

    def header(path: Path | None) -> Facts | None:
        facts = there[path][1] if path in there else None
        return facts if isinstance(facts, Facts) else None

    return evolve(
        found,
        files=tuple(dict.fromkeys((*found.files, *(stamp for stamp, _ in there.values())))),
        draft_facts=header(named.draft),
        projector_facts=header(named.projector) or found.projector_facts,
        extras=tuple(there[path][0] for path in named.others if path in there),
    )


def _ollamas(found: Found, own: Mapping[str, Any]) -> tuple[Mapping[str, Any], dict[str, Mapping[str, Any]]]:
    """Ollama's parameters, except those that the model's own table sets: those common to the file and, if its names
    differ in them, those of each name.
    """
    by_name = {name: {k: v for k, v in said.items() if k not in own} for name, said in found.ollama.items()}
    said = list(by_name.values())
    if all(each == said[0] for each in said):
        return (said[0] if said else {}), {}
    return {}, {name: each for name, each in by_name.items() if each}


def _variant(name: str, variants: Mapping[str, Any]) -> str:
    """Which of Ollama's names with separate parameters a name stands for; "" if none."""
    short = name.removeprefix("registry.ollama.ai/").removeprefix("library/")
    return next((tag for tag in (name, short, f"{short}:latest") if tag in variants), "")


def _refusal(spec: ModelSpec, found: Found, disk: Disk) -> str:
    return f"{found.path}: {found.problem}." if found.problem else disk.engines.refusal(spec, found)
