"""`llmsup resume`: serve requests again after `llmsup pause`, or in spite of a program that llmsup makes way for."""

from __future__ import annotations

import json
import time

import click

from ..process.lines import visible
from ..units import format_seconds
from .options import json_option, url_option
from .target import connect


@click.command("resume")
@url_option
@json_option
def command(url: str | None, as_json: bool) -> None:
    """Serve requests again after a pause.

    Models that were pinned or preloaded are loaded again where there is room; others with their next request. If the
    server is paused because of a program in `yield_to`, it doesn't mind that program until it runs the next time.

    \b
    Example:
      llmsup resume
    """
    done = connect(url).post("/resume", {})
    if as_json:
        click.echo(json.dumps(done, indent=2))
    elif (ended := done["ended"]) is None:
        click.echo("The server is not paused.")
    else:
        click.echo(visible(f"Resumed after {format_seconds(max(time.time() - ended['since'], 0))}."))
