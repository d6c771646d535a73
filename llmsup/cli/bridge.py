"""`llmsup bridge`: have the server link Ollama's models into LM Studio's folder now.

It does not link anything itself: the server's config counts, and only one at a time may do it. Where no server runs
it can still tell what one would do.
"""

from __future__ import annotations

import json
import time
from typing import Any

import click

from ..config import Config, find
from ..process.line import visible
from ..units import format_seconds
from .client import NoServer
from .configs import load
from .options import json_option, url_option
from .target import connect


@click.command("bridge")
@click.option("--dry-run", is_flag=True, help="Only tell what would be done.")
@url_option
@json_option
def command(dry_run: bool, url: str | None, as_json: bool) -> None:
    """Link Ollama's models into LM Studio's folder now.

    The server does so by itself, too, on the schedule of its config's [bridge], and looks for new models then. If a
    run is going on, its result is waited for. The exit code is 1 if it failed, or if something stood in the way of a
    link. What would be done can also be told where no server runs.

    \b
    Example:
      llmsup bridge --dry-run
    """
    try:
        done = connect(url).post("/bridge", {"dry_run": True} if dry_run else {})
    except NoServer:
        if url or not dry_run:
            raise
        click.echo("No server runs; this is what one would do.", err=True)
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
    """What a server with the config that is found here would do."""
    import trio

    from ..bridge.bridging import try_out

    path = find(None)
    return trio.run(try_out, load(path) if path else Config(), time.time).told()


def told(done: dict[str, Any]) -> list[str]:
    """What a person wants to know of a run, less its problems."""
    would = "would be " if done["dry_run"] else ""
    lines = [f"{would}{what}: {path}" for what in ("made", "removed") for path in done[what]]
    lines += [f"not linked: {one['model']}: {one['reason']}" for one in done["skipped"]]
    lines += [f"  {line}" for line in done["lines"]]
    lines += [done["note"]] if done.get("note") else []
    made, removed, kept = len(done["made"]), len(done["removed"]), done["kept"]
    links = "link" if made == 1 else "links"
    counts = f"{made} {links} {would}made, {removed} removed, {kept} kept"
    return [*lines, f"{counts} in {format_seconds(done['seconds'])}"]
