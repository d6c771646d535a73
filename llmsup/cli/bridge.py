"""`llmsup bridge`: have the server link Ollama's models into LM Studio's folder now.

It does not link anything itself: the server's config counts, and only one at a time may do it.
"""

from __future__ import annotations

import json
from typing import Any

import click

from ..units import format_seconds
from .options import json_option, url_option
from .target import connect
from .visible import visible


@click.command("bridge")
@click.option("--dry-run", is_flag=True, help="Only tell what would be done.")
@url_option
@json_option
def command(dry_run: bool, url: str | None, as_json: bool) -> None:
    """Link Ollama's models into LM Studio's folder now.

    The server does so by itself, too, on the schedule of its config's [bridge], and looks for new models then. If a
    run is going on, its result is waited for. The exit code is 1 if it failed, or if something stood in the way of a
    link.

    \b
    Example:
      llmsup bridge --dry-run
    """
    done = connect(url).post("/bridge", {"dry_run": True} if dry_run else {})
    if as_json:
        click.echo(json.dumps(done, indent=2))
    else:
        for line in told(done):
            click.echo(visible(line))
        for problem in done["problems"]:
            click.echo(f"llmsup: {visible(problem)}", err=True)
    if done["problems"]:
        raise click.exceptions.Exit(1)


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
