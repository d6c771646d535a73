"""`llmsup show`: what is known of a model, from its file and from the server."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from typing import Any

import click

from ..process.lines import visible
from ..units import Bytes, format_bytes
from .client import Client, Refused, model_path
from .ls import where
from .options import json_option, model_argument, url_option
from .table import width
from .target import connect
from .why import state_lines

Entry = Mapping[str, Any]


@click.command("show")
@model_argument(required=True)
@url_option
@json_option
def command(model: str, url: str | None, as_json: bool) -> None:
    """Show what is known of a model.

    That is what its file says, what it takes, and its state; `llmsup why MODEL` tells more about the latter.

    \b
    Example:
      llmsup show qwen3-4b
    """
    client = connect(url)
    entry = client.get(model_path("/v1/models", model))
    if as_json:
        click.echo(json.dumps(entry, indent=2))
        return
    for line in facts(entry):
        click.echo(line)
    if "peer" in entry:  # of its memory, nothing is known here
        click.echo()
        click.echo(visible(f"{entry['id']}: {entry['status'].get('error') or entry['status']['reason']}."))
    elif lines := state(client, model):
        click.echo()
        click.echo(click.wrap_text(visible(lines[0]), width() or 10_000))


def facts(entry: Entry) -> Iterator[str]:
    """An entry of `/v1/models`, a fact a line."""
    also = [name for name in (*entry["aliases"], *entry["names"]) if name != entry["id"]]
    told = {
        "model": entry["id"],
        "also answers to": ", ".join(dict.fromkeys(also)),
        "description": entry["description"],
        "kind": entry["kind"],
        "can": ", ".join(entry["capabilities"]),
        "architecture": entry["architecture"],
        "parameters": _count(entry["parameters"]),
        "quantization": entry["quantization"],
        "context": f"{entry['context_length']:,} tokens" if entry["context_length"] else "",
        "size": _size(entry["size_bytes"]),
        "memory": _memory(entry),
        "source": entry["source"],
        "where": where(entry) if "peer" in entry or entry.get("peers") else "",
    }
    titles = max(map(len, told))
    for title, value in told.items():
        if value:
            yield f"{title:{titles}}  {visible(str(value))}"


def state(client: Client, model: str) -> list[str]:
    """What the server says of its state, in sentences; nothing for a key that may not know."""
    try:
        return list(state_lines(client.get(model_path("/memory", model)), time.time()))
    except Refused as refused:
        if refused.refusal != "admin_required":
            raise
        return []


def _memory(entry: Entry) -> str:
    if entry["needs_bytes"] is None:
        return ""
    fits = {True: "fits", False: "more than this machine has for models", None: ""}[entry["fits"]]
    return " · ".join(filter(None, (f"{_size(entry['needs_bytes'])} {entry['needs_source']}", fits)))


def _size(size: int | None) -> str:
    return "" if size is None else format_bytes(Bytes(size))


def _count(number: int | None) -> str:
    if number is None:
        return ""
    return f"{number / 1e9:.1f} billion" if number >= 1e9 else f"{number / 1e6:.0f} million"
