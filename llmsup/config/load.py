"""From a file's text to a `Config`, or to a list of every mistake in it."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs

from ..errors import ConfigError, ConfigUnreadable
from .consistency import Draft, check
from .engine_words import EngineWord
from .keys import with_variable
from .rpc import home_of_another
from .schema import (
    Bridge,
    Catalog,
    Config,
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
from .sound import sound
from .tables import NOT_KEYS, Read, read_table
from .wording import Place, Report, did_you_mean, got

_TABLES = tuple(field.name for field in attrs.fields(Config) if field.name not in NOT_KEYS)
_SETTINGS = tuple(field.name for field in attrs.fields(Settings))
_TOO_LARGE = "a whole number is larger than 64 bits"
_MERGED = ("env", "sampling")  # merged key by key; the model's value wins


def load(path: Path, environ: Mapping[str, str] = os.environ, *, engines: Iterable[EngineWord]) -> Config:
    """Read a config file. Arguments as for `parse`.

    Raises:
        ConfigError: The file has mistakes; all are listed, except what only a check against this machine can find.
        ConfigUnreadable: The file can't be read.
    """
    return parse(read_text(path), str(path), environ, engines=engines)


def read_text(path: Path) -> str:
    """Return the text of a config file.

    Raises:
        ConfigError: The file isn't text.
        ConfigUnreadable: The file can't be read.
    """
    try:
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError((f"not UTF-8 text: {error.reason} at byte {error.start} @ {path}",), str(path)) from None
    except OSError as error:
        raise ConfigUnreadable(
            f"The config {path} can't be read: {error.strerror or error}.",
            hint="Check the path and its permissions, or name another one with --config.",
        ) from error


def tables_of(text: str, source: str) -> dict[str, Any]:
    """Parse TOML. Raises ConfigError, with the first mistake only, if the text is not TOML."""
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError((f"not valid TOML: {error} @ {source}",), source) from None
    except ValueError:  # Python refuses integers of more than 4,300 digits
        raise ConfigError((f"not valid TOML: {_TOO_LARGE} @ {source}",), source) from None
    except RecursionError:
        raise ConfigError((f"not valid TOML: it nests too deeply @ {source}",), source) from None
    report = Report(source)
    for place in _too_large(tables, ()):
        report.add(_TOO_LARGE, *place)
    if report.lines:
        raise ConfigError(tuple(report.lines), source)
    return tables


def _too_large(value: Any, place: Place) -> Iterator[Place]:
    """Find integers beyond TOML's 64 bits: tomllib accepts any size, but the code that computes with them doesn't."""
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        yield place
    for key, item in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from _too_large(item, (*place, key))


def parse(
    text_or_table: str | Mapping[str, Any],
    source: str,
    environ: Mapping[str, str] = os.environ,
    *,
    engines: Iterable[EngineWord],
) -> Config:
    """Read a config from TOML text or from already parsed tables.

    Args:
        source: The file's name in error messages.
        environ: The variables that `${env:NAME}` may refer to.
        engines: The built-in kinds of engines.

    Raises:
        ConfigError: The config has mistakes; all are listed, but of TOML syntax errors only the first.
    """
    config, mistakes = understand(text_or_table, source, environ, engines=engines)
    if mistakes:
        raise ConfigError(mistakes, source)
    return config


def understand(
    text_or_table: str | Mapping[str, Any],
    source: str,
    environ: Mapping[str, str] = os.environ,
    *,
    engines: Iterable[EngineWord],
) -> tuple[Config, tuple[str, ...]]:
    """Like `parse`, but return the usable part of a config together with all its mistakes.

    This lets a caller go on to check the rest. A key with a mistake gets its default, and models for which that default
    would lead to false reports are left out.

    Raises:
        ConfigError: The text isn't TOML.
    """
    raw = tables_of(text_or_table, source) if isinstance(text_or_table, str) else dict(text_or_table)
    report = Report(source)
    draft = _read(raw, environ, engines, report)
    between = list(check(draft))
    for what, place in between:
        report.add(what, *place)
    defaults = draft.defaults.value
    fine = sound(draft, [place for _, place in between])
    config = Config(
        server=draft.server.value,
        catalog=draft.catalog.value,
        defaults=defaults,
        models={name: with_defaults(draft.models[name], defaults) for name in fine},
        memory=draft.memory.value,
        history=draft.history.value,
        bridge=draft.bridge.value,
        prompt_cache=draft.prompt_cache.value,
        engines={name: engine.value for name, engine in draft.engines.items()},
        keys={name: key.value for name, key in draft.keys.items()},
        peers={name: peer.value for name, peer in draft.peers.items()},
        rpc={name: worker.value for name, worker in draft.rpc.items()},
        secret_variables=frozenset().union(*(table.secrets for table in _tables(draft))),
    )
    return config, tuple(report.lines)


def _tables(draft: Draft) -> Iterator[Read[Any]]:
    for name, part in attrs.asdict(draft, recurse=False).items():
        if name == "words":  # not a table of the file
            continue
        yield from part.values() if isinstance(part, dict) else (part,)


def with_defaults(model: Read[ModelSpec], defaults: Settings) -> ModelSpec:
    """Fill the keys missing from a model's table from [defaults]."""
    filled = {key: getattr(defaults, key) for key in _SETTINGS if key not in model.given}
    merged = {key: {**getattr(defaults, key), **getattr(model.value, key)} for key in _MERGED}
    given = model.given | {f"{key}.{name}" for key in _MERGED for name in getattr(model.value, key)}
    return attrs.evolve(model.value, **{**filled, **merged}, given=given)


def _read(raw: Mapping[str, Any], environ: Mapping[str, str], engines: Iterable[EngineWord], report: Report) -> Draft:
    for key in raw:
        if key not in _TABLES:
            report.add(f"unknown key {key!r}{did_you_mean(key, _TABLES) or _belongs(key)}")

    def named(key: str) -> dict[str, Any]:
        tables = raw.get(key, {})
        if type(tables) is dict:
            return tables
        report.add(f"expected a table, {got(tables)}", key)
        return {}

    workers = named("rpc")
    for name, table in workers.items():
        for what, place in home_of_another(name, table):
            report.add(what, *place)
    return Draft(
        server=read_table(Server, raw.get("server", {}), ("server",), environ, report),
        catalog=read_table(Catalog, raw.get("catalog", {}), ("catalog",), environ, report),
        defaults=read_table(Settings, raw.get("defaults", {}), ("defaults",), environ, report),
        models={
            name: read_table(ModelSpec, table, ("models", name), environ, report, fixed={"name": name})
            for name, table in named("models").items()
        },
        memory=read_table(Memory, raw.get("memory", {}), ("memory",), environ, report),
        history=read_table(History, raw.get("history", {}), ("history",), environ, report),
        bridge=read_table(Bridge, raw.get("bridge", {}), ("bridge",), environ, report),
        prompt_cache=read_table(PromptCacheSpec, raw.get("prompt_cache", {}), ("prompt_cache",), environ, report),
        engines={
            name: read_table(EngineSpec, table, ("engines", name), environ, report, fixed={"name": name})
            for name, table in named("engines").items()
        },
        keys={
            name: with_variable(
                read_table(KeySpec, table, ("keys", name), environ, report, fixed={"name": name}), environ, report
            )
            for name, table in named("keys").items()
        },
        peers={
            name: read_table(PeerSpec, table, ("peers", name), environ, report, fixed={"name": name})
            for name, table in named("peers").items()
        },
        rpc={
            name: read_table(RpcSpec, table, ("rpc", name), environ, report, fixed={"name": name})
            for name, table in workers.items()
        },
        words={word.name: word for word in engines},
    )


def _belongs(key: str) -> str:
    """Say which table a key belongs in, when it stands above the first one."""
    homes: dict[str, type] = {"server": Server, "catalog": Catalog, "defaults": Settings, "memory": Memory}
    homes |= {"history": History, "bridge": Bridge, "prompt_cache": PromptCacheSpec}
    table = next((name for name, cls in homes.items() if key in attrs.fields_dict(cls)), None)
    return f" (it belongs in [{table}])" if table else ""
