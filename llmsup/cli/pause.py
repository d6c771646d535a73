"""`llmsup pause`: unload everything and refuse requests, for a while or until `llmsup resume`."""

from __future__ import annotations

import json
from typing import Any

import click

from ..process.lines import visible
from ..units import format_bytes, format_seconds, parse_seconds
from .options import json_option, url_option
from .target import connect


def _duration(_ctx: click.Context, _param: click.Parameter, value: str | None) -> str | None:
    if value is not None:
        try:
            seconds = parse_seconds(value)
        except ValueError as error:
            raise click.BadParameter(str(error)) from None
        if not seconds:
            raise click.BadParameter("a pause can't be 0 seconds long; `llmsup resume` ends one.")
    return value


@click.command("pause")
@click.option("--for", "how_long", metavar="TIME", callback=_duration, help='How long: "90s", "30m", "1h30m".')
@click.option("--force", is_flag=True, help="Cancel requests in flight instead of letting them finish.")
@url_option
@json_option
def command(how_long: str | None, force: bool, url: str | None, as_json: bool) -> None:
    """Unload everything and refuse requests for a while.

    For when something else needs the machine. Requests in flight can finish first; new ones get the error 503 with
    the reason. It ends after the time in --for, with `llmsup resume`, or when the server is restarted. The config can
    have the server do this by itself while certain programs run: `yield_to` in [memory].

    \b
    Example:
      llmsup pause --for 1h
    """
    asked: dict[str, Any] = {"force": force, **({"for": how_long} if how_long and how_long != "never" else {})}
    done = connect(url).post("/pause", asked)
    if as_json:
        click.echo(json.dumps(done, indent=2))
        return
    models = len(done["models"])
    if done["paused"]:
        click.echo(visible(f"{done['paused']['reason']}; `llmsup resume` ends that."))
    else:
        click.echo("The pause was ended meanwhile.")
    if models:
        freed, took = format_bytes(done["freed_bytes"]), format_seconds(done["seconds"])
        click.echo(f"{models} model{'' if models == 1 else 's'} unloaded: {freed} back in {took}")
