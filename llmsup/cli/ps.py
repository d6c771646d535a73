"""`llmsup ps`: which models are loaded, the memory that they take, and which could not be loaded."""

from __future__ import annotations

import json
import time
from collections.abc import Collection, Iterator, Sequence
from typing import Any

import click

from ..process.lines import visible
from ..units import format_seconds
from . import cells, workers
from .bar import bar
from .client import Client
from .ls import without_engines
from .options import json_option, url_option
from .peers import asked, notes
from .table import Column, Table, width
from .target import connect

Entry = dict[str, Any]

NAMED = 5


@click.command("ps")
@click.option("-l", "--long", "long", is_flag=True, help="Show how long each load took, and how fast it was.")
@click.option("-w", "--watch", "watched", is_flag=True, help="Show it anew each second, until Ctrl-C.")
@url_option
@json_option
def command(url: str | None, long: bool, watched: bool, as_json: bool) -> None:
    """Show the loaded models.

    The model most worth keeping comes first. TTL LEFT is the time until a model is unloaded unless it is used. The bar
    shows how much of the memory for models is taken; `llmsup why MODEL` tells more about one. Peers that are down, or
    have requests from here, and RPC workers are named below it. With --json, --watch prints a line each second.

    \b
    Example:
      llmsup ps --url http://127.0.0.1:5005
      llmsup ps --watch
    """
    client = connect(url)

    def picture() -> list[str]:
        if as_json:
            return [json.dumps(client.get("/running"), indent=None if watched else 2)]
        return list(lines(client, long=long))

    if watched:
        from .watch import watch

        watch(picture, apart=not as_json)
    for line in picture():
        click.echo(line)


def lines(client: Client, *, long: bool) -> Iterator[str]:
    """The table and what is below it, for stdout."""
    running = client.get("/running")
    models, memory = client.get("/v1/models")["data"], client.get("/memory")
    paused = memory.get("paused")  # older servers don't have it
    if running:
        head, *blocks = table(running, time.time(), loads=long).blocks(width())
        yield from (click.style(line, bold=True) for line in head)
        yield from (line for block in blocks for line in block)
        yield ""
        yield from map(visible, bar(memory, width()).splitlines())
        if memory["nothing_unloaded"]:
            yield visible(f"Nothing is unloaded for it: {memory['nothing_unloaded']}.")
    elif not paused:
        yield nothing_loaded(models)
        yield from map(visible, without_engines(models))
    if paused:
        yield visible(f"{paused['reason']}; `llmsup resume` ends that.")
    failed = failures(models)
    yield from map(visible, (*waits(running), *failed, *notes(asked(client), time.time())))
    yield from workers.lines(workers.workers(client), failed)


def table(running: Sequence[Entry], now: float, *, loads: bool = False) -> Table:
    """The entries of `/running` as a table; `now` is the wall clock, in Unix seconds."""
    columns = [
        Column("MODEL"),
        Column("STATE"),
        Column("PID", right=True),
        Column("IN FLIGHT", right=True),
        Column("IDLE", right=True),
        Column("TTL LEFT", right=True),
        Column("MEMORY", right=True),
    ]
    rows = [
        [
            entry["model"],
            cells.state(entry),
            cells.pid(entry),
            cells.requests(entry),
            cells.idle(entry, now),
            cells.ttl_left(entry, now),
            cells.memory(entry),
        ]
        for entry in running
    ]
    if any(cells.priority(entry) != "normal" for entry in running):
        columns.append(Column("PRIORITY"))
        rows = [[*row, cells.priority(entry)] for row, entry in zip(rows, running, strict=True)]
    if loads:
        columns.append(Column("LOADED IN", prose=True))
        rows = [[*row, cells.load(entry)] for row, entry in zip(rows, running, strict=True)]
    return Table(columns, rows)


def nothing_loaded(models: Sequence[Entry]) -> str:
    """The line instead of an empty table."""
    if not models:
        ways = "`llmsup pull NAME` fetches one, `llmsup demo` serves one to try."
        return f"No model is loaded, and none is available. {ways}"
    if all("peer" in entry for entry in models):
        return "No model is loaded, and none is on this machine; `llmsup ls` shows those of peers."
    able = [entry for entry in models if "peer" not in entry and _may_be_loaded(entry["status"])]
    names = without_presets([str(entry["id"]) for entry in able])
    if not names:
        return "No model is loaded, and none on this machine can be: `llmsup ls` tells why."
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    shown = visible(", ".join(names[:NAMED]) + more)
    return f"No model is loaded. A request or `llmsup load` loads one of these: {shown}."


def failures(models: Sequence[Entry]) -> list[str]:
    """A line for each model of `/v1/models` that could not be loaded."""
    failed = {
        str(entry["id"]): entry["status"]
        for entry in models
        if entry["status"]["value"] == "failed"
        and _may_be_loaded(entry["status"])  # `ls` lists the others, and the line about engines
        and "peer" not in entry  # why a peer doesn't answer is said once, not for each of its models
    }
    lines = []
    for name in without_presets(failed):
        status = failed[name]
        why = str(status.get("error") or "").removeprefix(f"{name} ").rstrip(".")
        wait = status.get("retry_in") or 0
        when = f"Requests retry it in {format_seconds(round(wait))}" if wait >= 1 else "The next request retries it"
        lines.append(f"{name} failed: {why}. {when}; `llmsup load {name}` does so now.")
    return lines


def _may_be_loaded(status: Entry) -> bool:
    return bool(status.get("servable", True)) and not status.get("no_engine")


def without_presets(names: Collection[str]) -> list[str]:
    """These names without presets: "model:preset" shares its model's process, and so its state."""
    known = set(names)
    return [name for name in names if name.rpartition(":")[0] not in known]


def waits(running: Sequence[Entry]) -> list[str]:
    """A line for each entry of `/running` that can't be started yet."""
    return [
        f"{entry['model']} waits: {entry['waits_for'].rstrip('.')}." for entry in running if cells.is_waiting(entry)
    ]
