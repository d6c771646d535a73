"""`llmsup load`: have the server load a model, and watch. Ending the command doesn't end the load."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from typing import Any

import click

from ..errors import Error, ModelFailed
from ..process.lines import visible
from ..units import Seconds, format_seconds
from .client import Client, model_path
from .load_dry_run import rehearse
from .options import json_option, model_argument, url_option
from .target import connect

Entry = dict[str, Any]

EVERY = Seconds(0.2)
"""How often the server is asked for progress."""

BY_ITSELF = ("crashed", "failed")
"""Causes of an unload that lie with the engine itself."""


@click.command("load")
@model_argument(required=True)
@click.option("--dry-run", is_flag=True, help="Show what would have to be unloaded for it, and change nothing.")
@url_option
@json_option
def command(model: str, dry_run: bool, url: str | None, as_json: bool) -> None:
    """Load a model now, before a request asks for it.

    The server loads it; Ctrl-C only stops the waiting. A model that has failed is tried again at once. The exit code
    of --dry-run is 1 if the model could never be loaded.

    \b
    Examples:
      llmsup load qwen3-4b
      llmsup load --dry-run qwen3-4b
    """
    client, name = connect(url), model
    if dry_run:
        rehearse(client, model, as_json=as_json)
        return
    try:
        answer = client.post("/models/load", {"model": model, "wait": False})
        name, already = str(answer["model"]), answer["state"] == "ready"
        entry = wait(client, name, quiet=as_json)
    except KeyboardInterrupt:
        click.echo(f"\nNo longer waiting. {visible(name)} is still loading; `llmsup unload` stops that.", err=True)
        raise click.exceptions.Exit(130) from None
    if as_json:
        click.echo(json.dumps(entry, indent=2))
    elif already:
        click.echo(f"{visible(name)} is already loaded.")
    else:
        click.echo(f"{visible(name)} loaded in {format_seconds(entry['load_seconds'] or 0)}")


def wait(client: Client, name: str, *, quiet: bool) -> Entry:
    """Wait for the model; returns its entry of `/running`. On a terminal its progress is shown on stderr.

    Raises:
        Error: It can't be loaded; the error says why, in the engine's words.
    """
    if not sys.stderr.isatty():
        if not quiet:
            click.echo(f"loading {visible(name)}", err=True)
        return _poll(client, name, None)
    from .progress import showing_progress

    with showing_progress(name) as show:
        return _poll(client, name, show)


def _poll(client: Client, name: str, show: Callable[[Entry], None] | None) -> Entry:
    while True:
        status = client.get(model_path("/v1/models", name))["status"]
        if status["value"] == "failed":
            raise ModelFailed(str(status.get("error") or f"{name} failed."), log_tail=tuple(status.get("log_tail", ())))
        if status["value"] == "unloaded" and not _wanted(client, name):
            raise _gone(client, name, str(status.get("reason") or ""))
        if status["value"] == "loaded":
            # That includes a model that is being unloaded; our load follows.
            entries: list[Entry] = client.get("/running")
            for entry in entries:
                if entry["model"] == name and entry["state"] == "ready":
                    return entry
        if show:
            show(status)
        time.sleep(EVERY)  # /v1/models can only be polled


def _wanted(client: Client, name: str) -> bool:
    """Whether the server is about to load it again: a load that ran out of memory is retried once."""
    return any(entry["model"] == name for entry in client.get("/running"))


def _gone(client: Client, name: str, reason: str) -> Error:
    past = client.get(model_path("/memory", name))["history"]
    last: Entry = past[-1] if past else {"what": "", "reason": "", "cause": None}
    if reason and last["what"] == "refuse" and last["reason"].startswith(reason):
        return ModelFailed(last["reason"])  # the load never began
    tail: tuple[str, ...] = ()
    if last["what"] == "unload" and last["cause"] in BY_ITSELF:  # then the engine's log says more
        tail = tuple(client.lines(model_path("/logs", name)))[-10:]
    why = reason.removeprefix(f"{name} was unloaded: ")
    return ModelFailed(f"{name} is not loaded: {why}", hint="Its last lines:" if tail else "", log_tail=tail)
