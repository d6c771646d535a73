"""`llmsup reload`: have the server read its config again, and look for models.

It does not read the config itself: the server's is the one that counts.
"""

from __future__ import annotations

import json
from typing import Any

import click

from ..errors import ConfigError
from ..process.line import visible
from .client import Refused
from .options import json_option, url_option
from .target import connect


@click.command("reload")
@url_option
@json_option
def command(url: str | None, as_json: bool) -> None:
    """Apply the config as it is now, and look for new models.

    Models that stay the same keep running, with their requests. One that changed ends when its requests are done, and
    comes back with the next one. A config with mistakes changes nothing; all of them are told, and the exit code is 2.

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
    """What a person wants to know of a reload."""
    lines = [f"{what}: {', '.join(done[what])}" for what in ("added", "removed", "changed") if done[what]]
    count = len(done["unchanged"])
    if count or not lines:
        lines.append(f"unchanged: {count} model{'' if count == 1 else 's'}")
    new = {*done["added"], *done["changed"]}
    lines += [f"{name} can't be served: {why}" for name, why in done["refused"].items() if name in new]
    if others := sum(name not in new for name in done["refused"]):
        lines.append(f"{others} of those that did not change can't be served; `llmsup ls` tells why")
    if done["restart_needed"]:
        lines.append(f"takes effect when llmsup is started again: {', '.join(done['restart_needed'])}")
    return lines
