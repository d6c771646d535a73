"""What words of commands can be, for the shell that completes them. It waits, so all of this is quick or gives up."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import click
from click.shell_completion import CompletionItem

from ..units import Seconds

if TYPE_CHECKING:
    from .client import Client

PATIENCE = Seconds(1)
"""How long a server may take to answer."""


def files(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Any file; the shell knows them."""
    return [CompletionItem(incomplete, type="file")]


def models(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[str]:
    """The names of the server's models that begin like this; to be unloaded, of those that are loaded. None if no
    server answers: the words of a command are no place for errors.
    """

    def ask(client: Client) -> list[str]:
        if ctx.info_name == "unload":
            return [entry["model"] for entry in client.get("/running", PATIENCE)]
        return [entry["id"] for entry in client.get("/v1/models", PATIENCE)["data"]]

    return _told(ctx, incomplete, ask)


def peers(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[str]:
    """The names of the server's peers that begin like this; none if no server answers."""
    return _told(ctx, incomplete, lambda client: [peer["name"] for peer in client.get("/peers", PATIENCE)["peers"]])


def _told(ctx: click.Context, incomplete: str, ask: Callable[[Client], list[str]]) -> list[str]:
    from ..errors import Error
    from .target import connect

    try:
        names = ask(connect(ctx.params.get("url")))
    except (Error, click.ClickException, KeyError, TypeError):
        return []
    return [name for name in names if name.startswith(incomplete) and name.isprintable() and " " not in name]
