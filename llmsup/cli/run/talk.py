"""Asks and answers: once, or until the user leaves."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import click

from ...errors import Error
from ...units import format_seconds
from ..progress import spinning
from ..several import tell
from .chat import Chat, Figures, Piece
from .prompt import read
from .slash import Commands
from .writer import Writer

HINT = "(Ctrl-C again, Ctrl-D or /bye leaves.)"


def once(chat: Chat, text: str, writer: Writer, *, verbose: bool) -> None:
    """Ask one thing, and write the answer. Raises Error."""
    chat.load()
    try:
        with contextlib.closing(chat.ask(text)) as pieces:
            _write(pieces, writer)
    finally:
        writer.end()
    if verbose:
        _tell(chat.figures)


def talk(chat: Chat, writer: Writer, commands: Commands, reading: Callable[[], str] = read) -> None:
    """Ask what the user types, until they leave. Errors are shown, and the chat goes on."""
    leaving = False
    while True:
        try:
            line = reading()
        except EOFError:
            click.echo()
            return
        except KeyboardInterrupt:
            click.echo(f"\n{HINT}" if not leaving else "")
            if leaving:
                return
            leaving = True
            continue
        leaving = False
        try:
            if line.startswith("/"):
                if not commands.obey(line):
                    return
            elif line:
                once(chat, line, writer, verbose=commands.verbose)
        except KeyboardInterrupt:
            click.echo(click.style("(stopped)", dim=True))
        except Error as error:
            tell(error)
        if line:
            click.echo()


def _write(pieces: Iterator[Piece], writer: Writer) -> None:
    with contextlib.ExitStack() as waiting:
        waiting.enter_context(spinning())
        for piece in pieces:
            waiting.close()  # with the first one
            writer.piece(piece)


def _tell(figures: Figures) -> None:
    """How long an answer took, on stderr: as far as the engine tells."""
    usage, timings = figures.usage, figures.timings
    parts = []
    if tokens := usage.get("completion_tokens"):
        speed = timings.get("predicted_per_second")
        parts.append(f"{tokens} tokens" + (f" at {speed:.1f}/s" if speed else ""))
    if prompt := usage.get("prompt_tokens"):
        cached = (usage.get("prompt_tokens_details") or {}).get("cached_tokens")
        parts.append(f"prompt {prompt} tokens" + (f", {cached} of them cached" if cached else ""))
    if figures.first_token is not None:
        parts.append(f"began after {format_seconds(figures.first_token)}")
    click.echo(click.style(" · ".join(parts), dim=True), err=True)
