"""`llmsup list`: `llmsup ls`, as Ollama's users type it."""

from __future__ import annotations

import click

from . import ls

command = click.Command(
    "list",
    callback=ls.command.callback,
    params=ls.command.params,
    help="""Ollama's word for `ls`. Show the available models.

    \b
    Example:
      llmsup list
    """,
)
