"""What words of commands can be, for the shell that completes them. It waits, so all of this is quick or gives up."""

from __future__ import annotations

import click
from click.shell_completion import CompletionItem

from ..units import Seconds

PATIENCE = Seconds(1)
"""How long a server may take to answer."""


def files(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Any file; the shell knows them."""
    return [CompletionItem(incomplete, type="file")]


def models(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[str]:
    """The names of the server's models that begin like this; to be unloaded, of those that are loaded. None if no
    server answers: the words of a command are no place for errors.
    """
    from ..errors import Error
    from .target import connect

    try:
        client = connect(ctx.params.get("url"))
        if ctx.info_name == "unload":
            names = [entry["model"] for entry in client.get("/running", PATIENCE)]
        else:
            names = [entry["id"] for entry in client.get("/v1/models", PATIENCE)["data"]]
    except (Error, click.ClickException, KeyError, TypeError):
        return []
    return [name for name in names if name.startswith(incomplete) and name.isprintable() and " " not in name]
