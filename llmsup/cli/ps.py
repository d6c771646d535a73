"""`llmsup ps`: which models are loaded, the memory that they take, and which could not be loaded."""

from __future__ import annotations

import json
import time
from collections.abc import Collection, Sequence
from typing import Any

import click

from ..process.lines import visible
from ..units import Bytes, Seconds, format_bytes, format_seconds
from .bar import bar
from .loads import load_rate
from .ls import without_engines
from .options import json_option, url_option
from .table import Column, Table, width
from .target import connect

Entry = dict[str, Any]

NOTHING = "-"
NAMED = 5


@click.command("ps")
@click.option("-l", "--long", "long", is_flag=True, help="Show how long each load took, and how fast it was.")
@url_option
@json_option
def command(url: str | None, long: bool, as_json: bool) -> None:
    """Show the loaded models.

    The model most worth keeping comes first. TTL LEFT is the time until a model is unloaded unless it is used. The bar
    shows how much of the memory for models is taken; `llmsup why MODEL` tells more about one.

    \b
    Example:
      llmsup ps --url http://127.0.0.1:5005
    """
    client = connect(url)
    running = client.get("/running")
    if as_json:
        click.echo(json.dumps(running, indent=2))
        return
    models, memory = client.get("/v1/models")["data"], client.get("/memory")
    paused = memory.get("paused")  # older servers don't have it
    if running:
        table(running, time.time(), loads=long).show()
        click.echo()
        for line in bar(memory, width()).splitlines():
            click.echo(visible(line))
        if memory["nothing_unloaded"]:
            click.echo(visible(f"Nothing is unloaded for it: {memory['nothing_unloaded']}."))
    elif not paused:
        click.echo(nothing_loaded(models))
        for line in without_engines(models):
            click.echo(visible(line))
    if paused:
        click.echo(visible(f"{paused['reason']}; `llmsup resume` ends that."))
    for line in (*waits(running), *failures(models)):
        click.echo(visible(line))


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
            _state(entry),
            NOTHING if entry["pid"] is None else str(entry["pid"]),
            f"{entry['in_flight']} (+{entry['waiting']})" if entry["waiting"] else str(entry["in_flight"]),
            _idle(entry, now),
            _ttl_left(entry, now),
            _memory(entry),
        ]
        for entry in running
    ]
    if any(_priority(entry) != "normal" for entry in running):
        columns.append(Column("PRIORITY"))
        rows = [[*row, _priority(entry)] for row, entry in zip(rows, running, strict=True)]
    if loads:
        columns.append(Column("LOADED IN", prose=True))
        rows = [[*row, _load(entry)] for row, entry in zip(rows, running, strict=True)]
    return Table(columns, rows)


def nothing_loaded(models: Sequence[Entry]) -> str:
    """The line instead of an empty table."""
    if not models:
        ways = "`llmsup pull NAME` fetches one, `llmsup demo` serves one to try."
        return f"No model is loaded, and none is available. {ways}"
    names = without_presets([str(entry["id"]) for entry in models])
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    shown = visible(", ".join(names[:NAMED]) + more)
    return f"No model is loaded. A request or `llmsup load` loads one of these: {shown}."


def failures(models: Sequence[Entry]) -> list[str]:
    """A line for each model of `/v1/models` that could not be loaded."""
    failed = {
        str(entry["id"]): entry["status"]
        for entry in models
        if entry["status"]["value"] == "failed" and entry["status"].get("servable", True)  # `ls` lists the others
    }
    lines = []
    for name in without_presets(failed):
        status = failed[name]
        why = str(status.get("error") or "").removeprefix(f"{name} ").rstrip(".")
        wait = status.get("retry_in") or 0
        when = f"Requests retry it in {format_seconds(round(wait))}" if wait >= 1 else "The next request retries it"
        lines.append(f"{name} failed: {why}. {when}; `llmsup load {name}` does so now.")
    return lines


def without_presets(names: Collection[str]) -> list[str]:
    """These names without presets: "model:preset" shares its model's process, and so its state."""
    known = set(names)
    return [name for name in names if name.rpartition(":")[0] not in known]


def waits(running: Sequence[Entry]) -> list[str]:
    """A line for each entry of `/running` that can't be started yet."""
    return [f"{entry['model']} waits: {entry['waits_for'].rstrip('.')}." for entry in running if _waits(entry)]


def _waits(entry: Entry) -> bool:
    return entry["state"] == "starting" and bool(entry.get("waits_for"))  # older servers don't have it


def _state(entry: Entry) -> str:
    if _waits(entry):
        return "waiting"
    progress = entry.get("progress")
    known = entry["state"] == "starting" and progress is not None
    return f"starting {progress:.0%}" if known else str(entry["state"])


def _idle(entry: Entry, now: float) -> str:
    if entry["in_flight"]:
        return "busy"
    since = max(entry["loaded_at"] or 0, entry["last_used"] or 0)
    return _whole(now - since) if entry["loaded_at"] else NOTHING


def _ttl_left(entry: Entry, now: float) -> str:
    if entry["expires_at"] is not None:
        return _whole(entry["expires_at"] - now)
    return "never" if entry["pinned"] or entry["ttl"] is None else NOTHING  # it is in use, or not loaded yet


def _memory(entry: Entry) -> str:
    size, source = entry["footprint_bytes"], entry["footprint_source"]
    if size is None:
        return NOTHING
    return format_bytes(Bytes(size)) + ("" if source == "measured" else f" {source}")


def _load(entry: Entry) -> str:
    if entry.get("load_seconds") is None or entry["loaded_at"] is None:
        return NOTHING
    took, load = format_seconds(entry["load_seconds"]), entry.get("load")  # older servers don't have it
    return f"{took}, {load_rate(load)}" if load else took


def _priority(entry: Entry) -> str:
    parts = [entry["priority"]] if entry["priority"] != "normal" else []
    return ", ".join([*parts, *(["pinned"] if entry["pinned"] else [])]) or "normal"


def _whole(seconds: float) -> str:
    """A duration without fractions; below zero, where the server's clock is ahead of ours, it is 0."""
    whole = max(0, round(seconds))
    return f"{whole} s" if whole < 120 else format_seconds(Seconds(whole))
