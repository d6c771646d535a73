"""`llmsup load --dry-run`: what would have to go for a load, before it is done."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import click

from ..process.lines import visible
from ..units import format_bytes
from .client import Client


def rehearse(client: Client, model: str, *, as_json: bool) -> None:
    """Ask the server, and print what it says. Exits with 1 if the model could never be loaded.

    Raises:
        Error: There is no such model, or it can't be served.
    """
    answer = client.post("/models/load?dry_run=1", {"model": model})
    if as_json:
        click.echo(json.dumps(answer, indent=2))
    else:
        for line in told(answer):
            click.echo(visible(line))
    if answer["would"] == "never_fits":
        raise click.exceptions.Exit(1)


def told(answer: dict[str, Any]) -> Iterator[str]:
    """The answer as lines for people."""
    yield str(answer["sentence"])
    for victim in answer["victims"]:
        yield f"  {victim['model']} would give back {format_bytes(victim['frees'])}: {victim['reason']}"
