"""What `serve` would refuse or warn about on this machine: missing files and programs, too little memory.

`resolved` checks whether each model can be started.
"""

from __future__ import annotations

import os
import shutil
import socket
import ssl
from collections.abc import Iterable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from attrs import frozen

from ..catalog.described import preset_name
from ..catalog.entry import Entry
from ..catalog.resolver import Called, Names
from ..config.checks import parse_listen
from ..config.peers import about_peers
from ..config.schema import Catalog, Config, ModelSpec, RpcSpec
from ..config.wording import Place, did_you_mean, dotted
from ..engines.missing import lines_of
from ..errors import ModelNotFound, SetupError
from ..gateway.hosts import is_loopback
from ..gateway.keyring import names
from ..memory.cost.cost import cost
from ..memory.cost.estimate import estimate
from ..memory.machine.limits import ceiling, machine_total
from ..peers.address import Untrusted, believe
from ..process.server_file import servers_of
from ..units import Bytes, format_bytes
from ..web.certificate import context_of
from ..web.second_port import listen_as_ollama
from ..web.server import listen
from .peer_findings import of_peers, of_tables
from .peer_look import Look
from .running import NOTHING_TO_SERVE, OPEN

_NAMED = 3


@frozen
class Finding:
    """One thing found.

    Attributes:
        what: A sentence without its full stop.
        place: Its place in the config; () if it has none.
        lasting: Whether it is a mistake, which can't work as it is; else it is a warning, about what may pass by
            itself or be intended.
    """

    what: str
    place: Place = ()
    lasting: bool = True

    def line(self, source: str) -> str:
        """In the form that all mistakes of a config have."""
        return f"{self.what.rstrip('.')} @ {source}{': ' if self.place else ''}{dotted(self.place)}"


def findings(
    config: Config, served: Mapping[str, Entry], missing: Mapping[str, str], peers: Sequence[Look] = (), *, whole: bool
) -> Iterator[Finding]:
    """Everything found, in the order of the config.

    Args:
        served: Every model that would be served.
        missing: For models without a table that no engine can run: why.
        peers: What was seen of them.
        whole: Whether the config could be read as a whole; if not, what is missing from it may be in the part that
            couldn't.
    """
    yield from _listening(config)
    yield from _ollamas_port(config)
    yield from _certificate(config)
    yield from _state(config.server.state_dir)
    known = all(not peer.problem for peer in peers)
    tables = list(about_peers(config, served)) if whole else []
    if whole and served:
        if known:
            theirs = [name for table in tables for name in _names(table)]
            yield from _keys(config, served, [*theirs, *(name for peer in peers for name in peer.names)])
        yield from _presets(config, served)
    folders = list(_folders(config.catalog))
    if whole and config.server.default_model:
        yield from _default_model(config, served, peers, tables, surely=known and not folders)
    yield from folders
    yield from _peers(config, tables, peers)
    if whole and not served and not any(peer.models for peer in peers):
        yield Finding(NOTHING_TO_SERVE, lasting=False)
    for line in lines_of(missing):
        yield Finding(line, lasting=False)
    yield from _memory(config)
    yield from _too_large(config, served)
    if config.memory.probe != "auto":
        yield from _program(config.memory.probe, ("memory", "probe"))
    if config.bridge.command:
        yield from _program(config.bridge.command, ("bridge", "command"))
    yield from _workers(config.rpc)


def _workers(workers: Mapping[str, RpcSpec]) -> Iterator[Finding]:
    for name, worker in workers.items():
        if worker.ssh:
            yield from _program(("ssh",), ("rpc", name, "ssh"))
        elif worker.command:
            yield from _program(worker.command, ("rpc", name, "command"))
        elif worker.url and (problem := _unanswered(worker.url)):
            yield Finding(f"RPC worker {name} can't be used now: {problem}", ("rpc", name, "url"), lasting=False)


def _unanswered(url: str) -> str:
    """Why nothing answers at HOST:PORT on this machine; "" if something does."""
    try:
        socket.create_connection(parse_listen(url), timeout=2).close()
    except OSError as error:
        return f"nothing answers at {url} ({(error.strerror or str(error)).lower()})"
    return ""


def _listening(config: Config) -> Iterator[Finding]:
    """Try to listen on the host, at any port: the configured one may be in use by the running server."""
    host, _ = parse_listen(config.server.listen)
    try:
        sockets = listen(f"[{host}]:0" if ":" in host else f"{host}:0")
    except SetupError as error:
        yield Finding(error.message.replace(f"{host}:0", config.server.listen), ("server", "listen"), lasting=False)
        return
    others = [each for each in sockets if not is_loopback(each.getsockname()[0])]
    for each in sockets:
        each.close()
    if others and not config.wants_key:
        yield Finding(OPEN % config.server.listen, ("server", "listen"), lasting=False)


def _keys(config: Config, served: Mapping[str, Entry], of_peers: Iterable[str]) -> Iterator[Finding]:
    """Patterns that fit no model; one may yet be found that they fit."""
    known = {name.casefold() for name in of_peers} | {
        name.casefold()
        for id_, entry in served.items()
        for preset in ("", *entry.spec.presets)
        for name in names(id_, entry.called, preset)
    }
    for key in config.keys.values():
        for number, pattern in enumerate(key.models):
            if not any(fnmatchcase(name, pattern.casefold()) for name in known):
                what = f"{pattern!r} fits no model that is served now{did_you_mean(pattern, known)}"
                yield Finding(what, ("keys", key.name, "models", number), lasting=False)


def _presets(config: Config, served: Mapping[str, Entry]) -> Iterator[Finding]:
    """Presets that another model's name hides; the config itself was checked for those of its own models."""
    known = Names({name: entry.called for name, entry in served.items()})
    given = {*config.models, *(alias for model in config.models.values() for alias in model.aliases)}
    for id_, model in config.models.items():
        for name in (id_, *model.aliases):
            for preset in model.presets:
                whole = preset_name(name, preset)
                other = known.find(whole)
                if other is not None and other.id != id_ and whole not in given:
                    what = f"{whole} is a name of the model {other.id!r}, too: give the preset another one"
                    yield Finding(what, ("models", id_, "presets", preset))


def _ollamas_port(config: Config) -> Iterator[Finding]:
    """That port is wanted as it is, so it has to be free, but for a server of ours that has it already."""
    address, place = config.server.ollama_listen, ("server", "ollama_listen")
    if not address:
        return
    port = parse_listen(address)[1]
    if any(url.endswith(f":{port}") for each in servers_of(config.server.state_dir) for url in each.urls):
        return
    try:
        sockets = listen_as_ollama(address)
    except SetupError as error:
        yield Finding(str(error).rstrip("."), place, lasting=False)
        return
    others = [each for each in sockets if not is_loopback(each.getsockname()[0])]
    for each in sockets:
        each.close()
    if others and not config.wants_key:
        yield Finding(OPEN % address, place, lasting=False)


def _certificate(config: Config) -> Iterator[Finding]:
    server = config.server
    if server.certfile and server.keyfile:
        try:
            context_of(server.certfile, server.keyfile)
        except SetupError as error:
            for each in error.each:
                key = "keyfile" if each.message.startswith("server.keyfile") else "certfile"
                yield Finding(str(each), ("server", key))


def _peers(config: Config, tables: Iterable[ModelSpec], peers: Sequence[Look]) -> Iterator[Finding]:
    """Whom to believe that it is a peer must be readable; all else may pass, as peers come and go."""
    unbelieved = dict(_authorities(config))
    for name, what in unbelieved.items():
        yield Finding(what, ("peers", name, "ca"))
    others = [peer for peer in peers if peer.name not in unbelieved]
    for what, place in (*of_peers(config, others), *of_tables(tables, peers)):
        yield Finding(what, place, lasting=False)


def _authorities(config: Config) -> Iterator[tuple[str, str]]:
    """The peers whose `ca` can't be used, and why."""
    for name, peer in config.peers.items():
        if peer.ca and peer.url.startswith("https:"):
            try:
                believe(peer, ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
            except Untrusted as error:
                yield name, f"{error}: {peer.ca}"


def _state(path: Path) -> Iterator[Finding]:
    """The directory is created when it is needed, so the nearest existing one above it must allow that."""
    place = ("server", "state_dir")
    there = next((each for each in (path, *path.parents) if os.path.lexists(each)), Path("/"))
    if not there.is_dir():
        yield Finding(f"{there} is not a directory: what llmsup remembers can't be written to {path}", place)
    elif not os.access(there, os.W_OK | os.X_OK):
        yield Finding(f"{there} can't be written to: name another folder, or change its permissions", place)


def _folders(catalog: Catalog) -> Iterator[Finding]:
    """Check the folders that the config names; of the default ones hardly any machine has all."""
    usual = Catalog()
    named: list[tuple[Path, Place]] = [
        (root, ("catalog", "roots", number)) for number, root in enumerate(catalog.roots) if root not in usual.roots
    ]
    if catalog.ollama is not None and catalog.ollama != usual.ollama:
        named.append((catalog.ollama, ("catalog", "ollama")))
    for path, place in named:
        if not path.exists():
            yield Finding(f"there is no {path}: its models are served once it is there", place, lasting=False)
        elif not path.is_dir():
            yield Finding(f"{path} is a file: name the folder that models are in", place)
        elif not os.access(path, os.R_OK | os.X_OK):
            yield Finding(f"{path} can't be looked into: check its permissions", place, lasting=False)


def _default_model(
    config: Config, served: Mapping[str, Entry], peers: Sequence[Look], tables: Iterable[ModelSpec], *, surely: bool
) -> Iterator[Finding]:
    called = {name: Called() for peer in peers for name in peer.names}
    called |= {table.name: Called(table.aliases, table.presets) for table in tables}
    called |= {name: entry.called for name, entry in served.items()}
    try:
        Names(called).resolve(config.server.default_model)
    except ModelNotFound as error:
        yield Finding(error.message, ("server", "default_model"), lasting=surely)


def _names(table: ModelSpec) -> Iterator[str]:
    """What patterns for keys are compared with, of a model that can only be at peers."""
    for preset in ("", *table.presets):
        yield from names(table.name, Called(table.aliases), preset)


def _memory(config: Config) -> Iterator[Finding]:
    memory, total = config.memory, machine_total()
    if memory.probe != "auto":
        return  # a probe may report another machine's memory
    has = f"and this machine has {format_bytes(total)}"
    if memory.limit != "auto" and memory.limit > total:
        what = f"models may use {format_bytes(memory.limit)} together, {has}: it will swap before that is reached"
        yield Finding(what, ("memory", "limit"), lasting=False)
    if memory.limit == "auto" and memory.reserve != "auto" and memory.reserve >= total:
        what = f"{format_bytes(memory.reserve)} are kept free, {has}: no model will fit"
        yield Finding(what, ("memory", "reserve"), lasting=False)


def _too_large(config: Config, served: Mapping[str, Entry]) -> Iterator[Finding]:
    """Models that don't fit even alone; those without a table count only if the config limits the memory."""
    most = ceiling(config.memory)
    large = {name: least for name, entry in served.items() if (least := _least(entry)) > most}
    for name in (name for name in large if name in config.models):
        what = f"it will never fit: it needs {format_bytes(large[name])}, and all models together may use"
        remedy = "give it less context (ctx_size), or models more memory ([memory] limit)"
        yield Finding(f"model {name}: {what} {format_bytes(most)}; {remedy}", ("models", name), lasting=False)
    others = [name for name in large if name not in config.models]
    if others and (config.memory.limit, config.memory.reserve) != ("auto", "auto"):
        found = sum(name not in config.models for name in served)
        text = f"{_some(others)} of {found} found on the disk will never fit, as models may use {format_bytes(most)}"
        key = "limit" if config.memory.limit != "auto" else "reserve"
        yield Finding(f"{text} together: `llmsup ls` shows what each needs", ("memory", key), lasting=False)


def _least(entry: Entry) -> Bytes:
    elsewhere = entry.refusal or entry.spec.rpc  # what its workers take of it only they can say
    return Bytes(0) if elsewhere else cost(entry, estimate(entry.spec, entry.found), None).least


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f"{', '.join(names[:_NAMED])}{more}"


def _program(words: Sequence[str], place: Place) -> Iterator[Finding]:
    if not shutil.which(os.path.expanduser(words[0])):
        yield Finding(f"{words[0]} is not on PATH, or can't be run", place)
