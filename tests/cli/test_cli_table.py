"""Tables: what stands where, and that what one copies stays in one piece, however narrow the terminal is."""

from __future__ import annotations

import os

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmsup.cli.table import Column, Table

ID = "lmstudio-community/gemma-3-12b-it-GGUF"
MODELS = Table(
    [Column("MODEL"), Column("KIND"), Column("CONTEXT", right=True), Column("MEMORY", right=True), Column("FITS")],
    [[ID, "chat +vision", "131072", "16.4 GiB", "yes"], ["b", "chat", "-", "-", "can't run"]],
)
WHY = Table(
    [Column("WHEN"), Column("FREED", right=True), Column("WHY", prose=True)],
    [["2 m ago", "1.0 GiB", "to make room for mid: it needs 492 MiB"], ["just now", "", "loaded"]],
)


def test_where_it_fits_it_is_a_table() -> None:
    wide = [
        "MODEL                                   KIND          CONTEXT    MEMORY  FITS",
        f"{ID}  chat +vision   131072  16.4 GiB  yes",
        "b                                       chat                -         -  can't run",
    ]
    assert MODELS.as_text().splitlines() == MODELS.as_text(82).splitlines() == wide


@pytest.mark.parametrize(("columns", "lines"), [("", 3), ("0", 3), ("x", 3), ("82", 3), ("40", 9)])
def test_where_nobody_looks_there_is_room_for_all(
    columns: str, lines: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A program that reads it wants a line for a row; whoever exports $COLUMNS wants no more than that."""
    monkeypatch.setenv("COLUMNS", columns)
    MODELS.show()
    assert len(capsys.readouterr().out.splitlines()) == lines


def test_where_it_does_not_the_id_stands_alone() -> None:
    assert MODELS.as_text(81).splitlines() == [
        "MODEL",
        "  KIND          CONTEXT    MEMORY  FITS",
        ID,
        "  chat +vision   131072  16.4 GiB  yes",
        "b",
        "  chat                -         -  can't run",
    ]
    assert ID in MODELS.as_text(10).splitlines(), "the terminal wraps it, and gives it back whole"


def test_what_does_not_fit_into_one_line_goes_on_in_the_next() -> None:
    assert MODELS.as_text(30).splitlines() == [
        "MODEL",
        "  KIND          CONTEXT",
        "    MEMORY  FITS",
        ID,
        "  chat +vision   131072",
        "  16.4 GiB  yes",
        "b",
        "  chat                -",
        "         -  can't run",
    ]


def test_prose_is_wrapped_beside_the_rest() -> None:
    assert WHY.as_text(45).splitlines() == [
        "WHEN        FREED  WHY",
        "2 m ago   1.0 GiB  to make room for mid: it",
        "                   needs 492 MiB",
        "just now           loaded",
    ]


def test_prose_that_has_no_room_beside_an_id_stands_below_it() -> None:
    table = Table([Column("MODEL"), Column("ALSO ANSWERS TO", prose=True)], [[ID, "gemma, gemma3:12b, gemma-3-12b-it"]])
    for width in (40, 59):
        assert table.as_text(width).splitlines() == [
            "MODEL", "  ALSO ANSWERS TO", ID, "  gemma, gemma3:12b, gemma-3-12b-it",
        ]  # fmt: skip


def test_a_word_that_would_be_broken_beside_an_id_stands_below_it() -> None:
    table = Table([Column("MODEL"), Column("ALSO ANSWERS TO", prose=True)], [[ID, "gemma, google/gemma-3-12b-it.gguf"]])
    assert table.as_text(65).splitlines()[1:] == [ID, "  gemma, google/gemma-3-12b-it.gguf"]
    assert table.as_text(66).splitlines()[1:] == [f"{ID}  gemma,", f"{'':40}google/gemma-3-12b-it.gguf"]


def test_only_the_row_that_has_no_room_goes_below() -> None:
    """A path that one wants to copy stays whole, and all others stay beside what they are about."""
    path = "/sys/fs/cgroup/user.slice/user-1000.slice/user@1000.service"
    columns = [Column("READING"), Column("VALUE"), Column("SOURCE", prose=True)]
    table = Table(columns, [["total", "23.5 GiB", "/proc/meminfo MemTotal"], ["oom_kills", "0", path]])
    assert table.as_text(60).splitlines() == [
        "READING    VALUE     SOURCE",
        "total      23.5 GiB  /proc/meminfo MemTotal",
        "oom_kills  0",
        f"  {path}",
    ]


def test_cells_stay_in_their_line() -> None:
    odd = Table([Column("A"), Column("B")], [["[bold]x[/bold]\n\x1b[2J", "y"]])
    for width in (None, 60, 5):
        assert r"[bold]x[/bold]\n\x1b[2J" in odd.as_text(width)


def test_a_terminal_has_a_bold_head(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setattr("llmsup.cli.table.shutil.get_terminal_size", lambda: os.terminal_size((81, 24)))
    MODELS.show()
    lines = capsys.readouterr().out.splitlines()
    assert [click.unstyle(line) for line in lines] == MODELS.as_text(81).splitlines()


CELLS = st.text(st.characters(categories=["L", "N", "P"]) | st.just(" "), max_size=30).map(str.strip)


@given(st.lists(st.lists(CELLS, min_size=3, max_size=3), max_size=4), st.integers(1, 120))
def test_no_cell_is_ever_broken(rows: list[list[str]], width: int) -> None:
    """Nor cut, but for prose, whose words are whole; and no line that could be shorter is too long."""
    table = Table([Column("A"), Column("B", right=True), Column("C", prose=True)], rows)
    lines = table.as_text(width).splitlines()
    for row in rows:
        assert all(any(cell in line for line in lines) for cell in row[:2])
        assert all(any(word in line for line in lines) for word in row[2].split(" "))
