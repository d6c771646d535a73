"""`llmsup unload`: unload a model and get its memory back."""

from __future__ import annotations

import json

import click

from ..process.lines import visible
from ..units import format_bytes, format_seconds
from .options import json_option, model_argument, url_option
from .target import connect


@click.command("unload")
@model_argument(required=False)
@click.option("--all", "everything", is_flag=True, help="Unload every model.")
@click.option("--force", is_flag=True, help="Cancel requests in flight instead of letting them finish.")
@url_option
@json_option
def command(model: str | None, everything: bool, force: bool, url: str | None, as_json: bool) -> None:
    """Unload a model, or all of them.

    Requests in flight can finish first. The command returns when the engines have ended and their memory is free.

    \b
    Example:
      llmsup unload qwen3-4b
    """
    if (model is not None) == everything:
        raise click.UsageError("Name one model, or give --all.")
    client = connect(url)
    before = {entry["model"] for entry in client.get("/running")}
    answer = client.post("/models/unload", {**({"all": True} if everything else {"model": model}), "force": force})
    if as_json:
        click.echo(json.dumps(answer, indent=2))
        return
    gone = before if everything else before & {answer["model"]}
    if not gone:
        click.echo("No model was loaded." if everything else f"{visible(answer['model'])} was not loaded.")
        return
    what = visible(next(iter(gone))) if len(gone) == 1 else f"{len(gone)} models"
    freed, took = answer["freed_bytes"], format_seconds(answer["seconds"])
    click.echo(f"{what} unloaded: {format_bytes(freed)} back in {took}" if freed else f"{what} unloaded in {took}")
