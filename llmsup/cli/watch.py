"""Shows something anew each second: in the same place on a terminal, one after the other elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import NoReturn

import click
from rich.console import Console
from rich.live import Live
from rich.text import Text

from ..units import Seconds

EVERY = Seconds(1)
"""Between two pictures; nothing else goes on in this program, so it may sleep."""


def watch(picture: Callable[[], Sequence[str]], *, apart: bool) -> NoReturn:
    """Show the lines that `picture` returns, until Ctrl-C or until it raises. The last ones stay.

    Args:
        apart: Whether there is an empty line between two pictures where they follow one another.
    """
    console = Console()
    if not console.is_terminal:
        while True:
            for line in (*picture(), *([""] if apart else [])):
                click.echo(line)
            time.sleep(EVERY)
    with Live(console=console, auto_refresh=False) as live:  # what is higher than the screen is cut off
        while True:
            live.update(Text.from_ansi("\n".join(picture())), refresh=True)
            time.sleep(EVERY)
