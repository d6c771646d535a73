"""Errors as lines on stderr, and commands that do the same for several models."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import click

from ..errors import Error
from ..process.lines import visible


def tell(error: Error) -> None:
    """Print an error on stderr, and the engine's last lines if it has them."""
    click.echo(visible(f"llmsup: {error}"), err=True)
    for line in error.log_tail:
        click.echo(f"    {visible(line)}", err=True)


class Several:
    """Goes on with the others when one of them fails, and fails at the end."""

    def __init__(self) -> None:
        self._failed = False

    @contextlib.contextmanager
    def each(self) -> Iterator[None]:
        """The part of one: an error of it is printed, and the block is left."""
        try:
            yield
        except Error as error:
            if error.code == "no_server":  # the others would only say the same
                raise
            tell(error)
            self._failed = True

    def end(self) -> None:
        """Raises Exit with code 1 if one has failed."""
        if self._failed:
            raise click.exceptions.Exit(1)
