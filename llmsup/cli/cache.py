"""`llmsup cache`: the conversations that are kept of unloaded models."""

from __future__ import annotations

import json
import time

import click

from ..process.lines import visible
from ..units import Bytes, format_bytes
from .groups import Group
from .options import json_option, model_argument, url_option
from .table import Column, Table
from .target import connect
from .why import ago


@click.group("cache", cls=Group)
def command() -> None:
    """Show or remove the conversations that are kept of unloaded models.

    \b
    Example:
      llmsup cache ls
      llmsup cache clear
    """


@command.command("ls")
@url_option
@json_option
def ls(url: str | None, as_json: bool) -> None:
    """Show what is kept, the most recently used first."""
    told = connect(url).get("/prompt-cache")
    if as_json:
        click.echo(json.dumps(told, indent=2))
        return
    if told["off"]:
        click.echo(visible(f"Nothing is kept: {told['off']}."))
        return
    now = time.time()
    if told["entries"]:
        columns = (
            Column("MODEL"),
            Column("TOKENS", right=True),
            Column("SIZE", right=True),
            Column("USED", right=True),
        )
        rows = [
            (
                each["model"],
                f"{each['tokens']:,}",
                format_bytes(Bytes(each["bytes"])),
                ago(each["used_at"], now),
            )
            for each in told["entries"]
        ]
        Table(columns, rows).show()
        click.echo()
    sizes = {name: format_bytes(Bytes(size)) for name, size in told.items() if name.endswith("bytes")}
    click.echo(
        f"{sizes['bytes']} of {sizes['disk_bytes']}; today {sizes['written_today_bytes']} of "
        f"{sizes['writes_per_day_bytes']} were written"
    )
    click.echo(visible(f"in {told['directory']}"))


@command.command("clear")
@model_argument(required=False)
@url_option
@json_option
def clear(model: str | None, url: str | None, as_json: bool) -> None:
    """Remove what is kept of a model, or of all.

    What a loaded model has in memory stays, and is saved again when it is unloaded.
    """
    told = connect(url).post("/prompt-cache/clear", {} if model is None else {"model": model})
    if as_json:
        click.echo(json.dumps(told, indent=2))
        return
    if told["off"] and not told["cleared"]:
        raise click.ClickException(visible(f"nothing was removed: {told['off']}."))
    many = "1 conversation" if told["cleared"] == 1 else f"{told['cleared']} conversations"
    click.echo(f"{many} removed, {format_bytes(Bytes(told['freed_bytes']))}")
