"""Write etc/llmsup.1, the manual page, from the commands' own help texts.

    .venv/bin/python tools/man_page.py

A test compares the file with what this would write. `man etc/llmsup.1` shows it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from inspect import cleandoc
from pathlib import Path

import click

from llmsup import __version__
from llmsup.cli import main

FILE = Path(__file__).parents[1] / "etc" / "llmsup.1"

END = """\
.SH FILES
.TP
.I ~/.config/llmsup/llmsup.toml
The config; every key has a default. All keys and what they mean are in
.I etc/llmsup.toml
of the source.
.TP
.I ~/.local/state/llmsup
What llmsup remembers between runs, and where a running server is
.RI ( server\\-PID.json ).
.SH EXIT STATUS
.TP
.B 0
It is done.
.TP
.B 1
It failed.
.TP
.B 2
The command line or the config has mistakes.
.TP
.B 130
It was ended by Ctrl\\-C.
"""


def page() -> str:
    """The whole page."""
    name = main.help or ""
    first, _, rest = cleandoc(name).partition("\n\n")
    about, _, environment = rest.partition("\b\nEnvironment:\n")
    lines = [
        ".\\\" Written by tools/man_page.py from the commands' help texts.",
        f'.TH LLMSUP 1 "" "llmsup {__version__}" "User Commands"',
        ".SH NAME",
        f"llmsup \\- {escaped(first[:1].lower() + first[1:].rstrip('.'))}",
        ".SH SYNOPSIS",
        ".B llmsup",
        "COMMAND [\\fIOPTIONS\\fR] [\\fIARGUMENTS\\fR]",
        ".SH DESCRIPTION",
        *paragraphs(about),
        ".SH COMMANDS",
        *commands(click.Context(main, info_name="llmsup"), main),
        ".SH ENVIRONMENT",
        *listed(environment),
    ]
    return "\n".join(lines) + "\n" + END


def commands(parent: click.Context, group: click.Group) -> Iterator[str]:
    """A section for each command; for a group of them, one for itself and one for each of its own."""
    for name in group.list_commands(parent):
        command = group.get_command(parent, name)
        assert command is not None, name
        context = click.Context(command, info_name=name, parent=parent)
        yield f".SS {escaped(' '.join((context.command_path, *usage(context))))}"
        yield from paragraphs(cleandoc(command.help or ""))
        yield from options(context)
        if isinstance(command, click.Group):
            yield from commands(context, command)


def usage(context: click.Context) -> list[str]:
    """What follows the command's name, as its help has it."""
    return context.command.collect_usage_pieces(context)


def options(context: click.Context) -> Iterator[str]:
    """Each option and what it does, but for --help, which all have."""
    for parameter in context.command.get_params(context):
        record = parameter.get_help_record(context)
        if record is not None and "--help" not in parameter.opts:
            yield ".TP"
            yield f".B {escaped(record[0])}"
            yield escaped(record[1])


def paragraphs(text: str) -> Iterator[str]:
    """A help text: paragraphs, and after a line with a backspace (click's mark) one that is kept as it is."""
    for paragraph in text.split("\n\n"):
        kept = paragraph.startswith("\b\n")
        lines = paragraph.removeprefix("\b\n").split("\n")
        if not "".join(lines).strip():
            continue
        if kept:
            yield from (".PP", ".nf", *map(escaped, lines), ".fi")
        else:
            yield from (".PP", escaped(" ".join(line.strip() for line in lines)))


def listed(text: str) -> Iterator[str]:
    """Lines with a word and what it means."""
    for line in text.strip().splitlines():
        word, _, meaning = line.strip().partition(" ")
        yield from (".TP", f".B {escaped(word)}", escaped(meaning.strip()))


def escaped(text: str) -> str:
    """Text as roff reads it: its own signs, hyphens that can be copied, and no line that it takes for a request."""
    text = text.replace("\\", "\\e").replace("-", "\\-").replace("`", "\\(ga").replace('"', "\\(dq")
    text = re.sub("'", "\\\\(aq", text)
    return f"\\&{text}" if text.startswith(".") else text


if __name__ == "__main__":
    FILE.write_text(page(), "utf-8")
