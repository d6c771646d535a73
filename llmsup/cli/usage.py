"""`llmsup usage`: what each key has used since the server started."""

from __future__ import annotations

import json
from typing import Any

import click

from ..units import Seconds, format_seconds
from .options import json_option, url_option
from .table import Column, Table
from .target import connect


@click.command("usage")
@url_option
@json_option
def command(url: str | None, as_json: bool) -> None:
    """Show what each key has used since the server started.

    TIME is from each request's beginning to its end, waiting included. Tokens are as engines report them; how
    many answers came without is in --json. The keys in `api_keys` are counted together.

    \b
    Example:
      llmsup usage
    """
    told = connect(url).get("/usage")
    if as_json:
        click.echo(json.dumps(told, indent=2))
        return
    if not told["keys"]:
        click.echo("No key was used yet.")
        return
    titles = ("KEY", "REQUESTS", "REFUSED", "TOKENS IN", "TOKENS OUT", "TIME")
    Table([Column(title, right=title != "KEY") for title in titles], [_row(key) for key in told["keys"]]).show()


def _row(key: dict[str, Any]) -> tuple[str, ...]:
    numbers = (str(key[name]) for name in ("requests", "refused", "tokens_in", "tokens_out"))
    return key["key"], *numbers, format_seconds(Seconds(key["seconds"]))
