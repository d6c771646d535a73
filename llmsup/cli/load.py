"""`llmsup load`: have the server load models, and watch. Ending the command doesn't end the load."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from typing import Any

import click

from ..errors import Error, ModelFailed
from ..process.lines import visible
from ..units import NEVER, Seconds, format_seconds, parse_seconds
from .client import Client, model_path
from .load_dry_run import rehearse
from .options import json_option, models_argument, ttl_option, url_option
from .several import Several
from .target import connect

Entry = dict[str, Any]

EVERY = Seconds(0.2)
"""How often the server is asked for progress."""

BY_ITSELF = ("crashed", "failed")
"""Causes of an unload that lie with the engine itself."""


@click.command("load")
@models_argument(required=True)
@ttl_option("Unload it after being idle for so long, instead of its own ttl: 2h, never.")
@click.option("--pin/--no-pin", default=None, help="Never unload it to make room, nor when idle; or do again.")
@click.option("--dry-run", is_flag=True, help="Show what would have to be unloaded for it, and change nothing.")
@url_option
@json_option
def command(
    models: tuple[str, ...], ttl: str | None, pin: bool | None, dry_run: bool, url: str | None, as_json: bool
) -> None:
    """Load models now, before a request asks for them.

    The server loads them; Ctrl-C only stops the waiting. A model that has failed is tried again at once. --ttl and
    --pin count until the model is unloaded. --json prints an object for one model, a list for several. The exit code
    of --dry-run, which looks at one model, is 1 if that could never be loaded.

    \b
    Example:
      llmsup load qwen3-4b
      llmsup load --dry-run qwen3-4b
      llmsup load --ttl 2h qwen3-4b llama3.1:8b
    """
    if pin and ttl is not None:
        raise click.UsageError("--pin is for good, so --ttl would never count: give one of them.")
    client, several = connect(url), Several()
    if dry_run:
        if len(models) > 1:
            raise click.UsageError("--dry-run takes one model: what goes for two depends on which is loaded first.")
        rehearse(client, models[0], as_json=as_json)
        return
    how = {"wait": False} | ({} if ttl is None else {"ttl": ttl}) | ({} if pin is None else {"pinned": pin})
    begun: dict[str, bool] = {}
    done: list[Entry] = []
    name = models[0]
    try:
        for model in models:  # all of them, so that the server can load them side by side
            name = model
            with several.each():
                answer = client.post("/models/load", {"model": model, **how})
                begun[str(answer["model"])] = answer["state"] == "ready"
        for name, already in begun.items():
            with several.each():
                entry = wait(client, name, quiet=as_json)
                done.append(entry)
                if not as_json:
                    click.echo(visible(_told(entry, already=already, ttl=ttl, pin=pin)))
    except KeyboardInterrupt:
        click.echo(f"\nNo longer waiting. {visible(name)} is still loading; `llmsup unload` stops that.", err=True)
        raise click.exceptions.Exit(130) from None
    if as_json and done:
        click.echo(json.dumps(done if len(models) > 1 else done[0], indent=2))
    several.end()


def _told(entry: Entry, *, already: bool, ttl: str | None, pin: bool | None) -> str:
    """What a load has led to."""
    how = "is already loaded" if already else f"loaded in {format_seconds(entry['load_seconds'] or 0)}"
    stays = "" if ttl is None else f", unloaded after {format_seconds(parse_seconds(ttl))} idle"
    if ttl is not None and parse_seconds(ttl) == NEVER:
        stays = ", never unloaded for being idle"
    if entry["pinned"] and (pin or ttl is not None):
        stays = ", pinned"
    return f"{entry['model']} {how}{stays or (', not pinned' if pin is False else '')}{'.' if already else ''}"


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
