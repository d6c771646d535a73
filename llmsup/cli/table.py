"""Rows for people: a table on a terminal, aligned text everywhere else.

It does not know what is in the rows.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import click
from attrs import frozen
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from .visible import visible


@frozen
class Column:
    """One column; numbers stand right."""

    title: str
    right: bool = False


@frozen
class Table:
    """Columns and rows of plain text."""

    columns: Sequence[Column]
    rows: Sequence[Sequence[str]]

    def show(self) -> None:
        """Print it on stdout."""
        if sys.stdout.isatty():
            Console().print(self.for_terminal())
        else:
            click.echo(self.as_text())

    def for_terminal(self) -> RichTable:
        """As a table of rich's; where it doesn't fit, cells are folded rather than cut."""
        table = RichTable(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
        for column in self.columns:
            table.add_column(column.title, justify="right" if column.right else "left", overflow="fold")
        for row in self.rows:
            table.add_row(*(Text(visible(cell)) for cell in row))
        return table

    def as_text(self) -> str:
        """As lines, aligned with spaces."""
        lines = [[column.title for column in self.columns], *([visible(cell) for cell in row] for row in self.rows)]
        widths = [max(cell_len(line[n]) for line in lines) for n in range(len(self.columns))]
        return "\n".join(self._line(line, widths) for line in lines)

    def _line(self, cells: Sequence[str], widths: Sequence[int]) -> str:
        padded = []
        for column, cell, width in zip(self.columns, cells, widths, strict=True):
            space = " " * (width - cell_len(cell))
            padded.append(space + cell if column.right else cell + space)
        return "  ".join(padded).rstrip()
