"""`llmsup unload`: unload models and get their memory back."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import click

from ..process.lines import visible
from ..units import format_bytes, format_seconds, parse_seconds
from .client import Client
from .options import json_option, models_argument, ttl_option, url_option
from .several import Several
from .target import connect

Answer = Mapping[str, Any]


@click.command("unload")
@models_argument(required=False)
@click.option("--all", "everything", is_flag=True, help="Unload every model.")
@click.option("--force", is_flag=True, help="Cancel requests in flight instead of letting them finish.")
@ttl_option("Not now, but once it has been idle for so long: 10m; 0 is as soon as it is idle.")
@url_option
@json_option
def command(
    models: tuple[str, ...], everything: bool, force: bool, ttl: str | None, url: str | None, as_json: bool
) -> None:
    """Unload models, or all of them.

    Requests in flight can finish first. The command returns when the engines have ended and their memory is free.
    A pin by hand is over with it. --json prints an object for one model and for --all, a list for several.

    \b
    Example:
      llmsup unload qwen3-4b
      llmsup unload --ttl 10m qwen3-4b llama3.1:8b
    """
    if bool(models) == everything:
        raise click.UsageError("Name the models, or give --all.")
    if force and ttl is not None:
        raise click.UsageError("--force is at once, --ttl is not: give one of them.")
    client, several, answers = connect(url), Several(), []
    how = {"force": force} if ttl is None else {"ttl": ttl}
    before = {entry["model"] for entry in client.get("/running")}
    for which in [{"all": True}] if everything else [{"model": model} for model in models]:
        with several.each():
            answer = client.post("/models/unload", {**which, **how})
            answers.append(answer)
            if not as_json:
                for line in _told(answer, before) if ttl is None else _later(client, answer, before, ttl):
                    click.echo(visible(line))
    if as_json and answers:
        click.echo(json.dumps(answers if len(models) > 1 else answers[0], indent=2))
    several.end()


def _told(answer: Answer, before: set[str]) -> Iterator[str]:
    """What an unload did; `before` it these were loaded."""
    gone = before & {answer["model"]} if "model" in answer else before
    if not gone:
        yield f"{answer['model']} was not loaded." if "model" in answer else "No model was loaded."
        return
    what = next(iter(gone)) if len(gone) == 1 else f"{len(gone)} models"
    freed, took = answer["freed_bytes"], format_seconds(answer["seconds"])
    yield f"{what} unloaded: {format_bytes(freed)} back in {took}" if freed else f"{what} unloaded in {took}"


def _later(client: Client, answer: Answer, before: set[str], ttl: str) -> Iterator[str]:
    """What an unload will do once its models are idle."""
    names = [name for name in answer.get("models", [answer.get("model")]) if name in before]
    if not names:
        yield from _told(answer, set())
    pinned = {entry["model"] for entry in client.get("/running") if entry["pinned"]}
    seconds = parse_seconds(ttl)
    when = f"once it has been idle for {format_seconds(seconds)}" if seconds else "as soon as it is idle"
    for name in names:
        yield f"{name} stays: its config has it pinned." if name in pinned else f"{name} will be unloaded {when}."
