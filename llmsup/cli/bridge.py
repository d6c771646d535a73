"""`llmsup bridge`: have the server link Ollama's models into LM Studio's folder now.

The server makes the links, by its own config and in one run at a time. Without a server this can only do a dry run.
"""

from __future__ import annotations

import json
import time
from typing import Any

import click

from ..config import Config, find
from ..process.lines import visible
from ..units import format_seconds
from .client import NoServer
from .configs import load
from .options import json_option, url_option
from .target import connect


@click.command("bridge")
@click.option("--dry-run", is_flag=True, help="Show what would be done, and change nothing.")
@url_option
@json_option
def command(dry_run: bool, url: str | None, as_json: bool) -> None:
    """Link Ollama's models into LM Studio's folder now.

    The server also does this by itself, on the schedule in [bridge] of its config, and looks for new models
    afterwards. If a run is in progress, this waits for it and then runs once more. The exit code is 1 if the run
    failed or something was in the way of a link. --dry-run also works while no server runs.

    \b
    Example:
      llmsup bridge --dry-run
    """
    try:
        done = connect(url).post("/bridge", {"dry_run": True} if dry_run else {})
    except NoServer:
        if url or not dry_run:
            raise
        click.echo("No server is running; this is what one would do.", err=True)
        done = try_here()
    if as_json:
        click.echo(json.dumps(done, indent=2))
    else:
        for line in told(done):
            click.echo(visible(line))
        for problem in done["problems"]:
            click.echo(f"llmsup: {visible(problem)}", err=True)
    if done["problems"]:
        raise click.exceptions.Exit(1)


def try_here() -> dict[str, Any]:
    """What a server with this user's config would do."""
    import trio

    from ..bridge.bridging import try_out

    path = find(None)
    return trio.run(try_out, load(path) if path else Config(), time.time).as_json()


def told(done: dict[str, Any]) -> list[str]:
    """A run as lines for people; its problems are printed apart."""
    would = "would be " if done["dry_run"] else ""
    lines = [f"{would}{what}: {path}" for what in ("made", "removed") for path in done[what]]
    lines += [f"not linked: {one['model']}: {one['reason']}" for one in done["skipped"]]
    lines += [f"  {line}" for line in done["lines"]]
    lines += [done["note"]] if done.get("note") else []
    made, removed, kept = len(done["made"]), len(done["removed"]), done["kept"]
    links = "link" if made == 1 else "links"
    counts = f"{made} {links} {would}made, {removed} removed, {kept} kept"
    return [*lines, f"{counts} in {format_seconds(done['seconds'])}"]
