"""`llmsup ls`: the available models, and the memory that each would take, as the server tells or would tell."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from typing import Any

import click

from ..config import Config, find
from ..config.live import LiveConfig
from ..process.lines import visible
from ..units import Bytes, format_bytes
from .client import Client, NoServer, Refused
from .configs import load
from .options import json_option, url_option
from .peers import asked
from .peers import notes as notes_of_peers
from .table import Column, Table
from .target import connect

Entry = dict[str, Any]

NOTHING = "-"


@click.command("ls")
@url_option
@click.option("-l", "--long", "parts", is_flag=True, help="Show what the memory is used for.")
@click.option("--names", is_flag=True, help="Show all names that each model answers to.")
@click.option("--left-out", is_flag=True, help="Show the files that are not served, and why.")
@json_option
def command(url: str | None, parts: bool, names: bool, left_out: bool, as_json: bool) -> None:
    """Show the available models.

    MEMORY is what a model takes once loaded, its context included; FITS tells whether this machine has that much.
    PROMPTS (-l) is what it can grow by for cached prompts, where there is room. KEPT (-l) is whether conversations
    survive an unload: yes, no, or exact, if only for requests that go on exactly where they were. WHERE, if there are
    peers, names those that have a model. If no server is running, this shows what one would serve.

    \b
    Example:
      llmsup ls -l
      llmsup ls --names
      llmsup ls --left-out
    """
    silent: list[str] = []
    try:
        client = connect(url)
        catalog = _catalog(client, needed=left_out)
        models = [] if left_out else client.get("/v1/models")["data"]
        silent = [] if left_out or models else _silent(client)
    except NoServer:
        if url:
            raise
        click.echo("No server is running; this is what one would serve.", err=True)
        catalog, models = look()
    if as_json:
        click.echo(json.dumps(catalog["left_out"] if left_out else models, indent=2))
        return
    if left_out:
        for file in catalog["left_out"]:
            click.echo(f"{visible(file['path'])}: {visible(file['reason'])}")
        if not catalog["left_out"]:
            click.echo("No file is left out.")
        return
    if models:
        (names_table(models) if names else table(models, parts=parts)).show()
    else:
        click.echo("There are no models. `llmsup pull NAME` fetches one, `llmsup demo` serves one to try.")
        for line in silent:
            click.echo(visible(line))
    for line in notes(models, catalog):
        click.echo(visible(line), err=True)


def _silent(client: Client) -> list[str]:
    """Of the peers that don't answer: their models may be all that there are. Not for a key that may not see them."""
    try:
        return notes_of_peers(asked(client), time.time())
    except Refused as refused:
        if refused.refusal != "admin_required":
            raise
        return []


def _catalog(client: Client, *, needed: bool) -> Entry:
    """`/catalog`; unless it is needed, one without anything for a key that may not see it."""
    try:
        catalog: Entry = client.get("/catalog")
    except Refused as refused:
        if needed or refused.refusal != "admin_required":
            raise
        return {"complete": True, "left_out": []}
    return catalog


def look() -> tuple[Entry, list[Entry]]:
    """What a server would answer to `/catalog` and `/v1/models`."""
    import trio

    from ..catalog.described import preset_name, presets
    from ..catalog.library import scan_now
    from ..catalog.merge import Disk, entries
    from ..catalog.resolver import Names
    from ..engines.kinds import KINDS
    from ..engines.llama_server.flag_probe import FlagProbe
    from ..engines.missing import without_engine
    from ..engines.selector import EngineSelector
    from ..memory.cost.cost import cost
    from ..memory.cost.estimate import estimate
    from ..memory.machine.limits import ceiling
    from ..prompt_cache.ability import Ability, ability
    from ..web.listing import listing
    from .progress import counting

    path = find(None)
    config = load(path) if path else Config()
    with counting("reading model files") as count:
        snapshot = scan_now(config, count)
    served = entries(config, Disk(snapshot=snapshot, engines=KINDS))
    called = Names({name: each.called for name, each in served.items()})
    missing = trio.run(without_engine, EngineSelector(config=LiveConfig(config), probe=FlagProbe()), served.values())
    most = ceiling(config.memory)
    models: list[Entry] = []
    for name, entry in served.items():
        status = {"value": "failed", "error": entry.refusal} if entry.refusal else {"value": "unloaded"}
        if name in missing:
            status["no_engine"] = missing[name]
        estimated = estimate(entry.spec, entry.found)
        able = ability(entry, KINDS) if config.prompt_cache.disk else Ability("no", "[prompt_cache] disk is 0")
        facts = listing(entry, estimated, cost(entry, estimated, None), most, called.own(name, entry.also), able)
        listed = () if entry.spec.unlisted else presets(entry.spec)
        models += [{"id": preset_name(name, preset), "status": status, **facts} for preset in listed]
    left_out = [{"path": str(left.path), "reason": left.reason} for left in snapshot.left_out]
    return {"complete": True, "left_out": left_out}, sorted(models, key=lambda entry: entry["id"].casefold())


def table(models: Sequence[Entry], *, parts: bool = False) -> Table:
    """The entries of `/v1/models` as a table; `parts` splits up the memory of each."""
    shown = _PARTS if parts else {}
    if not any(_part(entry, _DRAFT) for entry in models):  # few have a draft model
        shown = {title: keys for title, keys in shown.items() if keys != _DRAFT}
    columns = [Column("MODEL"), Column("KIND"), Column("QUANT"), Column("CONTEXT", right=True)]
    columns += [Column(title, right=True) for title in ("SIZE", *shown, "MEMORY", *(("PROMPTS",) if parts else ()))]
    columns += [Column("KEPT")] if parts else []
    rows = [
        [
            entry["id"],
            _kind(entry),
            entry["quantization"] or NOTHING,
            NOTHING if entry["context_length"] is None else str(entry["context_length"]),
            _size(entry["size_bytes"]),
            *(_size(_part(entry, keys)) for keys in shown.values()),
            _needs(entry),
            *((_size(entry["grows_bytes"]), entry["prompt_cache"]["able"]) if parts else ()),
            _fits(entry),
        ]
        for entry in models
    ]
    columns.append(Column("FITS"))
    if any(map(_peers, models)):
        columns.append(Column("WHERE", prose=True))
        rows = [[*row, where(entry)] for row, entry in zip(rows, models, strict=True)]
    return Table(columns, rows)


def where(entry: Mapping[str, Any]) -> str:
    """Where a model is: "here", or the names of peers; "here, studio (down)", "studio, box (down)"."""
    down = entry["peer"]["down"] if "peer" in entry else entry.get("peers_down", ())
    peers = [f"{name} (down)" if name in down else name for name in _peers(entry)]
    return ", ".join(peers if "peer" in entry else ["here", *peers])


def _peers(entry: Mapping[str, Any]) -> Sequence[str]:
    """The peers that have it; none from servers that know of none."""
    named: Sequence[str] = entry["peer"]["peers"] if "peer" in entry else entry.get("peers", ())
    return named


_DRAFT = ("draft_bytes",)
_PARTS = {
    "WEIGHTS": ("weights_bytes",),
    "CACHE": ("kv_bytes", "recurrent_bytes"),
    "COMPUTE": ("compute_bytes", "engine_bytes"),
    "DRAFT": _DRAFT,
    "PROJECTOR": ("projector_bytes",),
}
"""The columns of `--long`, and the keys that each adds up."""


def _needs(entry: Entry) -> str:
    size, source = _size(entry["needs_bytes"]), entry["needs_source"]
    return size if source in (None, "estimated") else f"{size} {source}"


def _part(entry: Entry, keys: Sequence[str]) -> int | None:
    memory = entry["memory"]
    return None if memory is None else sum(memory.get(key, 0) for key in keys)


def names_table(models: Sequence[Entry]) -> Table:
    """The models with all their names."""
    also = {
        entry["id"]: [each for each in (*entry["aliases"], *entry["names"]) if each != entry["id"]] for entry in models
    }
    rows = [[name, ", ".join(others) or NOTHING] for name, others in also.items()]
    return Table([Column("MODEL"), Column("ALSO ANSWERS TO", prose=True)], rows)


def notes(models: Sequence[Entry], catalog: Entry) -> list[str]:
    """The lines below the table."""
    here = [entry for entry in models if not ("peer" in entry or entry["status"].get("no_engine"))]
    errors = {entry["id"]: entry["status"].get("error") for entry in here if entry["status"]["value"] == "failed"}
    lines = [f"{name}: {why.removeprefix(f'{name} ')}" for name, why in errors.items() if why]
    lines += without_engines(models)
    special = {entry["id"]: entry["ollama_only"] for entry in models if entry["id"] not in errors}
    lines += [f"{name} runs with Ollama's llama-server: {why}." for name, why in special.items() if why]
    blind = {entry["id"]: entry.get("without_projector") for entry in models}
    lines += [f"{name} runs without its projector: {why}" for name, why in blind.items() if why]
    if not catalog["complete"]:
        lines.append(f"{catalog['read']} of {catalog['of']} files have been read so far; there may be more models.")
    if count := len(catalog["left_out"]):
        files = "1 file is not served on its own" if count == 1 else f"{count} files are not served on their own"
        lines.append(f"{files}; `llmsup ls --left-out` tells why.")
    return lines


def without_engines(models: Sequence[Entry]) -> list[str]:
    """Lines about the entries of `/v1/models` that no engine on this machine can run."""
    from ..engines.missing import lines_of  # here, because it imports trio

    return lines_of({entry["id"]: entry["status"]["no_engine"] for entry in models if entry["status"].get("no_engine")})


def _kind(entry: Entry) -> str:
    extra = [word for word in ("vision", "audio") if word in entry["capabilities"]]
    return " ".join([str(entry["kind"]), *(f"+{word}" for word in extra)])


def _size(size: int | None) -> str:
    return NOTHING if size is None else format_bytes(Bytes(size))


def _fits(entry: Entry) -> str:
    if "peer" in entry:
        return NOTHING
    if entry["status"].get("no_engine"):  # which every failure of it comes from
        return "no engine"
    if entry["status"]["value"] == "failed":
        return "can't run" if "error" in entry["status"] else NOTHING
    return NOTHING if entry["fits"] is None else "yes" if entry["fits"] else "no"
