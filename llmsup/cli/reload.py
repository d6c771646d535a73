"""`llmsup reload`: have the server read its own config again, and look for models."""

from __future__ import annotations

import json
from typing import Any

import click

from ..errors import ConfigError
from ..process.lines import visible
from .client import Refused
from .options import json_option, url_option
from .target import connect


@click.command("reload")
@url_option
@json_option
def command(url: str | None, as_json: bool) -> None:
    """Apply the current config and look for new models.

    A changed config is applied without this, too, a few seconds after it was saved (unless `server.watch_config` is
    false); this does it at once, and tells what has changed.

    Models that did not change keep running. One that changed finishes its requests, is unloaded, and is loaded anew
    by its next request. If the config has mistakes, nothing changes; all of them are shown, and the exit code is 2.

    \b
    Example:
      llmsup reload
    """
    try:
        done = connect(url).post("/reload-config", {})
    except Refused as error:
        if error.mistakes:
            raise ConfigError(error.mistakes, "the config") from None
        raise
    if as_json:
        click.echo(json.dumps(done, indent=2))
        return
    for line in told(done):
        click.echo(visible(line))


def told(done: dict[str, Any]) -> list[str]:
    """A reload's answer as lines for people."""
    lines = [f"{what}: {', '.join(done[what])}" for what in ("added", "removed", "changed") if done[what]]
    if settings := done.get("settings"):  # an older server doesn't tell
        lines.append(f"settings changed: {', '.join(settings)}")
    count = len(done["unchanged"])
    if count or not lines:
        lines.append(f"unchanged: {count} model{'' if count == 1 else 's'}")
    new = {*done["added"], *done["changed"]}
    lines += [f"{name} can't be served: {why}" for name, why in done["refused"].items() if name in new]
    if others := sum(name not in new for name in done["refused"]):
        lines.append(f"{others} of the unchanged models can't be served; `llmsup ls` tells why")
    if done["restart_needed"]:
        lines.append(f"takes effect when llmsup is restarted: {', '.join(done['restart_needed'])}")
    return lines
