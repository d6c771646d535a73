"""`llmsup stop`: `llmsup unload`, as Ollama's users type it."""

from __future__ import annotations

import click

from . import unload

command = click.Command(
    "stop",
    callback=unload.command.callback,
    params=unload.command.params,
    help="""Ollama's word for `unload`. Unload models; the server goes on.

    \b
    Example:
      llmsup stop llama3.1:8b
    """,
)
