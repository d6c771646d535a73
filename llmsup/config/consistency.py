"""Checks between the config's keys: names, engines, commands, addresses.

Keys that could not be read are skipped here; their mistakes are already reported.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from attrs import frozen

from . import keys, peers, rpc
from .checks import check_name
from .engine_words import AUTO, EngineWord
from .schema import (
    Bridge,
    Catalog,
    EngineSpec,
    History,
    KeySpec,
    Memory,
    ModelSpec,
    PeerSpec,
    PromptCacheSpec,
    RpcSpec,
    Server,
    Settings,
)
from .tables import Read
from .wording import Place, did_you_mean

PLACEHOLDERS = ("PORT", "SOCKET", "PATH", "NAME", "ARGS")
_PLACEHOLDER = re.compile(r"\$\{([^}]*)\}")

Mistakes = Iterator[tuple[str, Place]]


@frozen(kw_only=True)
class Draft:
    """The whole file, table by table, before [defaults] are applied.

    Attributes:
        words: The engines, besides "auto", that need no [engines.NAME] table.
    """

    server: Read[Server]
    catalog: Read[Catalog]
    defaults: Read[Settings]
    models: Mapping[str, Read[ModelSpec]]
    memory: Read[Memory]
    history: Read[History]
    bridge: Read[Bridge]
    prompt_cache: Read[PromptCacheSpec]
    engines: Mapping[str, Read[EngineSpec]]
    keys: Mapping[str, Read[KeySpec]]
    peers: Mapping[str, Read[PeerSpec]]
    rpc: Mapping[str, Read[RpcSpec]]
    words: Mapping[str, EngineWord]


def check(draft: Draft) -> Mistakes:
    """Find every mistake between keys."""
    yield from _server(draft)
    yield from _engine_known(draft, draft.defaults, ("defaults",))
    for name, model in draft.models.items():
        yield from _name(name, ("models", name))
        yield from _model(draft, name, model)
    yield from _aliases(draft)
    yield from _presets(draft)
    if draft.bridge.has("every") and draft.bridge.value.cron:
        yield "both 'every' and 'cron' are set: keep one", ("bridge",)
    for name, engine in draft.engines.items():
        yield from _engine(draft, name, engine)
    yield from keys.check(draft.keys, draft.server.value.api_keys)
    yield from peers.check(draft.peers)
    yield from rpc.check(draft.rpc, draft.models)


def _server(draft: Draft) -> Mistakes:
    server = draft.server
    for key, other in (("certfile", "keyfile"), ("keyfile", "certfile")):
        if getattr(server.value, key) and not getattr(server.value, other) and other not in server.bad:
            yield f"{key!r} needs {other!r}, too", ("server",)
    same = server.value.ollama_listen == server.value.listen and "listen" not in server.bad
    if same and not server.value.listen.endswith(":0"):  # which are two free ports
        yield "it is the address of 'listen', where Ollama's API is anyway: take this out", ("server", "ollama_listen")
    name = server.value.default_model
    served_by_catalog = draft.catalog.value.serve_all or "serve_all" in draft.catalog.bad
    if name and not served_by_catalog and not _is_known(draft, name):
        known = [*draft.models, *(alias for model in draft.models.values() for alias in model.value.aliases)]
        yield f"no model is called {name!r}{did_you_mean(name, known)}", ("server", "default_model")


def _is_known(draft: Draft, name: str) -> bool:
    """Tell whether a request for `name` would find a [models.NAME] table; a table with mistakes counts."""
    folded = name.casefold()
    for key, model in draft.models.items():
        names = [key, *model.value.aliases]
        names += [f"{each}:{preset}" for each in names for preset in model.value.presets]
        if folded in (each.casefold() for each in names) or {"aliases", "presets"} & model.bad:
            return True
    return False


def _engine_known(draft: Draft, table: Read[Settings] | Read[ModelSpec], place: Place) -> Mistakes:
    known = list(dict.fromkeys((AUTO, *draft.words, *draft.engines)))
    name = table.value.engine
    if table.has("engine") and name not in known:
        words = did_you_mean(name, known) or f" (there are: {', '.join(known)})"
        yield f"no engine is called {name!r}{words}", (*place, "engine")


def _name(name: str, place: Place) -> Mistakes:
    try:
        check_name(name)
    except ValueError as error:
        yield str(error), place


def _model(draft: Draft, name: str, model: Read[ModelSpec]) -> Mistakes:
    place, spec = ("models", name), model.value
    yield from _engine_known(draft, model, place)
    nowhere = not (draft.peers or _may_be_found(draft.catalog))
    if nowhere and not (spec.path or spec.command or {"path", "command"} & model.bad):
        yield "a model needs 'path' or 'command', as [catalog] has no place to find it in", place
    if spec.command:
        at = (*place, "command")
        yield from _command(spec.command, at)
        if "${PATH}" in " ".join(spec.command) and not spec.path and "path" not in model.bad:
            yield "the command uses ${PATH}, but the model has no 'path'", at
        if "engine" in model.given:
            yield "both 'command' and 'engine' are set: keep one", place


def _may_be_found(catalog: Read[Catalog]) -> bool:
    """Whether a table without a path may refer to a model that the catalog finds under that name."""
    return bool(catalog.value.roots or catalog.value.ollama or {"roots", "ollama"} & catalog.bad)


def _aliases(draft: Draft) -> Mistakes:
    owners: dict[str, str] = {}
    for name, model in draft.models.items():
        for alias in dict.fromkeys(model.value.aliases):
            place = ("models", name, "aliases")
            if alias in draft.models and alias != name:
                yield f"alias {alias!r} is the name of another model", place
            elif owners.setdefault(alias, name) != name:
                yield f"alias {alias!r} is an alias of {owners[alias]!r}, too", place


def _presets(draft: Draft) -> Mistakes:
    """A preset that no request could ever reach: what is given a name of its own wins over `model:preset`."""
    given = {alias: (name, "an alias") for name, model in draft.models.items() for alias in model.value.aliases}
    given |= {name: (name, "the name") for name in draft.models}
    for name, model in draft.models.items():
        for each in dict.fromkeys((name, *model.value.aliases)):
            for preset in model.value.presets:
                if owner := given.get(f"{each}:{preset}"):
                    what = f"{each}:{preset} is {owner[1]} of the model {owner[0]!r}, too: rename one of them"
                    yield what, ("models", name, "presets", preset)


def _engine(draft: Draft, name: str, engine: Read[EngineSpec]) -> Mistakes:
    place = ("engines", name)
    word = draft.words.get(name)
    if name == AUTO or (word is not None and not word.own_table):
        yield f"the engine {name!r} is built in: give this one another name", place
        return
    yield from _name(name, place)
    if "command" in engine.bad:
        return
    command = engine.value.command
    if not command:
        yield "an engine needs 'command'", place
        return
    # a built-in kind gets its address through its own flags
    yield from _command(command, (*place, "command"), says_where=word is None)


def _command(command: tuple[str, ...], place: Place, *, says_where: bool = True) -> Mistakes:
    used = [name for word in command for name in _PLACEHOLDER.findall(word)]
    unknown = [name for name in dict.fromkeys(used) if name not in PLACEHOLDERS]
    for name in unknown:
        hint = did_you_mean(name, PLACEHOLDERS) or f" (there are: {', '.join(PLACEHOLDERS)}, env:NAME)"
        yield f"unknown placeholder '${{{name}}}'{hint}", place
    if says_where and not unknown and not {"PORT", "SOCKET"} & set(used):
        yield "the command uses neither ${PORT} nor ${SOCKET}, so llmsup can't tell where it answers", place
