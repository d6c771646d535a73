"""What `load` draws while it waits."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from llmsup.cli.progress import Picture


def drawn(status: dict[str, Any], width: int = 60) -> str:
    picture = Picture("org/model")
    picture.update(status)
    out = io.StringIO()
    Console(file=out, width=width).print(picture)
    line: str
    (line,) = out.getvalue().splitlines()
    return line[2:].rstrip()  # the spinner turns


def test_before_anything_is_known() -> None:
    assert drawn({}) == "loading org/model 0 s"


def test_the_engines_words_are_cut_to_the_width() -> None:
    status = {"progress": None, "seconds": 3.4, "last_line": "load_tensors:\x1b[2J " + "x" * 100}
    line = drawn(status)
    assert line.startswith(r"loading org/model 3 s load_tensors:\x1b[2J xxx")
    assert line.endswith("…")
    assert len(line) == 58


def test_what_a_model_waits_for() -> None:
    """The last engine's words say nothing of that."""
    status = {"seconds": 3.4, "last_line": "old words", "waits_for": "it needs 8 GiB (in memory: a)"}
    assert drawn(status, width=80) == "loading org/model 3 s waits: it needs 8 GiB (in memory: a)"


@pytest.mark.parametrize(("fraction", "full"), [(0.0, 0), (0.5, 15), (1.0, 30)])
def test_a_fraction_is_a_bar(fraction: float, full: int) -> None:
    line = drawn({"progress": fraction, "seconds": 3.4, "last_line": "words"}, width=80)
    assert line.count("━") in (full, 30)  # without colours the rest is either blank or drawn too
    assert line.endswith(f"{fraction:4.0%} 3 s")
