"""Tables for people: aligned text, wrapped on a terminal so that names can be copied in one piece."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Sequence

import click
from attrs import frozen
from rich.cells import cell_len

from ..process.lines import visible

GAP = "  "
NARROWEST = 20
"""Columns of the terminal that prose needs to be readable beside the other cells."""


def width() -> int | None:
    """The columns of stdout's terminal, or $COLUMNS if that is exported. None is no limit: a program that reads the
    output wants one line for each row.
    """
    columns = os.environ.get("COLUMNS", "")
    if sys.stdout.isatty() or (columns.isdecimal() and int(columns)):
        return shutil.get_terminal_size().columns
    return None


@frozen
class Column:
    """One column; numbers are aligned right. The last can be prose, which is wrapped at spaces if it doesn't fit."""

    title: str
    right: bool = False
    prose: bool = False


@frozen
class Table:
    """Columns and rows of plain text. The first column says what a row is about."""

    columns: Sequence[Column]
    rows: Sequence[Sequence[str]]

    def show(self) -> None:
        """Print it on stdout."""
        if not sys.stdout.isatty():
            click.echo(self.as_text(width()))
            return
        head, *blocks = self.blocks(width())
        click.echo("\n".join(click.style(line, bold=True) for line in head))
        for block in blocks:
            click.echo("\n".join(block))

    def as_text(self, width: int | None = None) -> str:
        """The table as lines, aligned with spaces, for a terminal of `width` columns; None is no limit."""
        return "\n".join(line for block in self.blocks(width) for line in block)

    def blocks(self, width: int | None) -> list[list[str]]:
        """The lines of the head and of each row. Only prose is ever broken: cells that don't fit beside the first
        column go below it, and a name wider than the terminal is left for the terminal to wrap.
        """
        lines = [[column.title for column in self.columns], *([visible(cell) for cell in row] for row in self.rows)]
        if width is None or _fits(self.columns, lines, width):
            return _beside(self.columns, lines, width)
        blocks = [[line[0]] for line in lines]
        first, inside = 1, width - len(GAP)
        while first < len(self.columns):  # as many as fit into a line, then the next
            part = next(
                (
                    slice(first, last)
                    for last in range(len(self.columns), first + 1, -1)
                    if _fits(self.columns[first:last], [line[first:last] for line in lines], inside)
                ),
                slice(first, first + 1),
            )
            rest = _beside(self.columns[part], [line[part] for line in lines], inside)
            for block, texts in zip(blocks, rest, strict=True):
                block += [f"{GAP}{text}".rstrip() for text in texts]
            first = part.stop
        return blocks


def _fits(columns: Sequence[Column], lines: Sequence[Sequence[str]], width: int) -> bool:
    widths = _widths(lines)
    if _sum(widths) <= width:
        return True
    return columns[-1].prose and width - _sum([*widths[:-1], 0]) >= NARROWEST


def _beside(columns: Sequence[Column], lines: Sequence[Sequence[str]], width: int | None) -> list[list[str]]:
    """The cells of each row side by side; prose is wrapped if it doesn't fit."""
    widths = _widths(lines)
    if width is None or _sum(widths) <= width or not columns[-1].prose:
        return [[_aligned(columns, line, widths)] for line in lines]
    return [_wrapped(columns, line, widths, width) for line in lines]


def _widths(lines: Sequence[Sequence[str]]) -> list[int]:
    return [max(cell_len(line[n]) for line in lines) for n in range(len(lines[0]))]


def _sum(widths: Sequence[int]) -> int:
    return sum(widths) + len(GAP) * (len(widths) - 1)


def _aligned(columns: Sequence[Column], cells: Sequence[str], widths: Sequence[int]) -> str:
    padded = []
    for column, cell, width in zip(columns, cells, widths, strict=True):
        space = " " * (width - cell_len(cell))
        padded.append(space + cell if column.right else cell + space)
    return GAP.join(padded).rstrip()


def _wrapped(columns: Sequence[Column], cells: Sequence[str], widths: Sequence[int], width: int) -> list[str]:
    """One row, whose last cell is wrapped beside the others, or below them if one of its words has no room there."""
    start = _sum([*widths[:-1], 0])
    if max(map(cell_len, cells[-1].split(" "))) > width - start:
        row = _aligned(columns[:-1], cells[:-1], widths[:-1])
        return [row, *(GAP + line for line in _prose(cells[-1], width - len(GAP)))]
    first, *more = _prose(cells[-1], width - start)
    row = _aligned(columns, [*cells[:-1], first], [*widths[:-1], cell_len(first)])
    return [row, *(" " * start + line for line in more)]


def _prose(text: str, width: int) -> list[str]:
    """A text wrapped at spaces; a word longer than a line is left whole."""
    lines = [""]
    for word in text.split(" "):
        longer = f"{lines[-1]} {word}" if lines[-1] else word
        if lines[-1] and cell_len(longer) > width:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines
