"""The command `top`."""

from __future__ import annotations

import sys

import click

from ...errors import Error
from ..options import url_option
from ..target import connect


@click.command("top")
@url_option
def command(url: str | None) -> None:
    """Watch the models, and load, unload and pin them by a key.

    The loaded models come first, the one most worth keeping at the top. Below the table is why the chosen one is in its
    state. A wide terminal shows more columns.

    \b
    Keys:
      up, down, j, k  choose a model      w  why it is so: its history and numbers
      l, Enter        load it             o  its log, live
      u               unload it           O  the log of llmsup and all models
      U               ... at once         /  find models by a part of their names
      p               pin or unpin it     ?  these keys
      q, Ctrl-C       leave               q, Esc  back to the table

    \b
    Example:
      llmsup top --url http://127.0.0.1:5005
    """
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise click.UsageError("top needs a terminal; `llmsup ps --watch` prints elsewhere.")
    import trio

    from .app import App

    try:
        trio.run(App(connect(url)).run)
    except* Error as errors:  # the command's, which tells one
        raise _first(errors) from None


def _first(errors: BaseExceptionGroup[Error]) -> Error:
    first = errors.exceptions[0]
    return _first(first) if isinstance(first, BaseExceptionGroup) else first
