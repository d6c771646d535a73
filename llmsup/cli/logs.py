"""`llmsup logs`: recent and live log lines of the engines and of llmsup itself."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import click

from .client import Client, model_path
from .options import model_argument, url_option
from .target import connect


@click.command("logs")
@model_argument(required=False)
@click.option("-f", "--follow", is_flag=True, help="Keep printing new lines as they come.")
@click.option(
    "-n", "--lines", type=click.IntRange(min=0), help="Show only the last N of the recent lines.", metavar="N"
)
@url_option
def command(model: str | None, follow: bool, lines: int | None, url: str | None) -> None:
    """Show the log lines of the engines and of llmsup itself.

    With MODEL only those of its engine. Lines of llmsup itself begin with [llmsup].

    \b
    Example:
      llmsup logs -f -n 20 qwen3-4b
    """
    client = connect(url)
    shown = live(client, model, lines) if follow else recent(client, model, lines)
    for line in shown:
        click.echo(line)  # flushes each line


def recent(client: Client, model: str | None, count: int | None) -> list[str]:
    """The newest `count` lines, or all that the server keeps."""
    kept = list(client.lines(_path("/logs", model)))
    return kept if count is None else kept[max(0, len(kept) - count) :]


def live(client: Client, model: str | None, count: int | None) -> Iterator[str]:
    """The newest `count` lines, or all, then new ones until the server ends.

    The stream begins with all the lines that the server keeps. How many of those to skip is counted in a request just
    before, so that a line written in between is neither lost nor shown twice.
    """
    skipped = 0 if count is None else max(0, len(recent(client, model, None)) - count)
    return islice(client.lines(_path("/logs/stream", model)), skipped, None)


def _path(prefix: str, model: str | None) -> str:
    return model_path(prefix, model) if model else prefix
