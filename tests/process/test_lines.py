"""Output cut into lines, as a terminal would have shown it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmsup.process.lines import LONGEST, Lines


def cut(*pieces: bytes) -> list[str]:
    """All lines of an output that comes in these pieces."""
    lines = Lines()
    return [line for piece in pieces for line in lines.feed(piece)] + lines.close()


@pytest.mark.parametrize(
    ("pieces", "expected"),
    [
        ((b"one\ntwo\r\n\nlast",), ["one", "two", "", "last"]),
        ((b"one\r", b"\ntwo\r", b"\n"), ["one", "two"]),
        ((b"10%\r20%\r30%\ndone\n",), ["30%", "done"]),
        ((b"\r10%", b"\r20%", b"\r30", b"%\r", b"\n"), ["30%"]),
        ((b"\r 90%|##|\r        \r", b"\nnext\n"), [" 90%|##|", "next"]),
        ((b"\r100%\r",), ["100%"]),
        ((b"caf\xc3", b"\xa9\n"), ["café"]),
        ((b"",), []),
    ],
)
def test_lines(pieces: tuple[bytes, ...], expected: list[str]) -> None:
    """Both ends of lines; what is overwritten is gone, and what wipes a bar doesn't count."""
    assert cut(*pieces) == expected


def test_a_bar_that_is_not_finished() -> None:
    """It can be had as it stands, once for each state, and its end isn't told twice."""
    lines = Lines()
    assert not lines.pending
    assert lines.feed(b"\r10%\r20%") == []
    assert lines.pending
    assert lines.unfinished() == "20%"
    assert not lines.pending
    assert lines.feed(b"\r20%") == []
    assert not lines.pending
    assert lines.feed(b"\r30%") == []
    assert lines.unfinished() == "30%"
    assert lines.feed(b"\nnext\n") == ["next"]


def test_dots_that_are_not_finished() -> None:
    """Each is told once, also if one piece is like the one before."""
    lines = Lines()
    assert lines.feed(b"loading ...") == []
    assert lines.unfinished() == "loading ..."
    assert not lines.pending
    lines.feed(b"...")
    assert lines.unfinished() == "..."
    assert lines.feed(b"...\n\n") == ["...", ""]
    lines.feed(b"...")
    assert lines.unfinished() == "..."
    assert lines.feed(b"\n...\n") == ["..."]
    lines.feed(b"...")
    lines.unfinished()
    assert lines.close() == []


def test_no_line_fills_our_memory() -> None:
    """Neither one that grows nor one that is overwritten."""
    for piece in (b"x" * 50_000, b"\r" + b"x" * 50_000, b"x" * 1000 + b"\r"):
        lines = Lines()
        for _ in range(100):
            lines.feed(piece)
        assert sum(map(len, lines.close())) <= LONGEST


@given(st.binary(max_size=60).map(lambda data: data.replace(b"\r", b"") + b"\r\n\r5%"), st.data())
def test_it_does_not_matter_how_it_is_cut(data: bytes, draw: st.DataObject) -> None:
    """The same lines, whatever the pipe makes of it."""
    cuts = sorted(draw.draw(st.lists(st.integers(0, len(data)))))
    assert cut(*(data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True))) == cut(data)
