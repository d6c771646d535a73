"""The last lines that something wrote."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock, assert_no_checkpoints, wait_all_tasks_blocked

from llmsup.process.lines import MAX_LINE
from llmsup.process.logbook import LogBook


def written(*lines: str, capacity: int = 1000) -> LogBook:
    """A book with lines in it."""
    book = LogBook(capacity)
    for line in lines:
        book.write(line)
    return book


async def some(lines: AsyncGenerator[str, None], count: int) -> list[str]:
    """The next lines."""
    with trio.fail_after(60):
        return [await anext(lines) for _ in range(count)]


# Keeping...


def test_the_newest_lines_are_kept() -> None:
    """As many as there is room for; all are counted."""
    book = written("a", "b", "c", "d", capacity=3)
    assert (book.tail(), book.last, book.written) == (("b", "c", "d"), "d", 4)
    assert [book.tail(count) for count in (0, 1, 2, 99)] == [(), ("d",), ("c", "d"), ("b", "c", "d")]


def test_an_empty_book() -> None:
    """Has no lines, which is no error."""
    book = LogBook()
    assert (book.tail(), book.tail(5), book.last, book.written, book.after(0)) == ((), (), "", 0, (0, ()))


@pytest.mark.parametrize(
    ("line", "kept"),
    [
        ("plain", "plain"),
        ("line end \r\n", "line end"),
        ("  indented", "  indented"),
        ("tab\there", "tab\there"),
        ("\x1b[31mred\x1b[0m", "\\x1b[31mred\\x1b[0m"),
        ("50 %\r100 %", "50 %\\r100 %"),
        ("two\nlines", "two\\nlines"),
        ("nul\x00bell\x07del\x7f", "nul\\x00bell\\x07del\\x7f"),
        ("c1 \x9b31m", "c1 \\x9b31m"),
        ("rtl \u202e sep \u2028", "rtl \\u202e sep"),
        ("not utf-8 \udcff", "not utf-8 \\udcff"),
        ("é ☃ 日本 😀", "é ☃ 日本 😀"),
        ("", ""),
    ],
)
def test_control_characters_are_made_visible(line: str, kept: str) -> None:
    """No engine can control the terminal on which its log is read, nor forge a line; text is left alone."""
    assert written(line).tail() == (kept,)


def test_a_long_line_is_cut() -> None:
    """One dump must not push out all the rest."""
    assert written("x" * MAX_LINE).last == "x" * MAX_LINE
    assert written("x" * 10_000_000).last == "x" * MAX_LINE


@settings(deadline=None)
@given(st.text(max_size=50), st.integers(1, MAX_LINE))
def test_every_line_kept_is_one_line_of_bounded_length(line: str, times: int) -> None:
    """Printable but for tabs, encodable, and not longer than MAX_LINE, whatever was written."""
    kept = written(line * times).last
    assert kept.replace("\t", "").isprintable()
    kept.encode()
    assert len(kept) <= MAX_LINE


def test_a_parent_gets_every_line() -> None:
    """With a prefix that says whose it is; the other way nothing goes."""
    parent = LogBook(2)
    child = LogBook(1, parent=parent, prefix="[qwen] ")
    for line in ("one", "tw\x00", "three"):
        child.write(line)
    parent.write("own")
    assert (child.tail(), parent.tail(), parent.written) == (("three",), ("[qwen] three", "own"), 4)


def test_what_is_new_since_a_line() -> None:
    """And how much of it is lost already."""
    book = written("1", "2", "3", "4", "5", capacity=3)
    assert [book.after(seen) for seen in (0, 1, 2, 4, 5)] == [
        (2, ("3", "4", "5")),
        (1, ("3", "4", "5")),
        (0, ("3", "4", "5")),
        (0, ("5",)),
        (0, ()),
    ]


@settings(deadline=None)
@given(st.integers(1, 8), st.integers(0, 30), st.integers(0, 30))
def test_no_line_is_unaccounted_for(capacity: int, before: int, after: int) -> None:
    """Lost and shown together are all that was written since."""
    book = written(*map(str, range(before)), capacity=capacity)
    seen = book.written
    for number in range(before, before + after):
        book.write(str(number))
    lost, lines = book.after(seen)
    assert lost + len(lines) == after
    assert lines == tuple(map(str, range(before + lost, before + after)))


# Following...


async def test_a_follower_gets_what_was_and_what_comes(autojump_clock: MockClock) -> None:
    """In order, each line once, as soon as it is there."""
    book = written("a", "b", "c")
    async with aclosing(book.follow(1)) as lines:
        assert await some(lines, 2) == ["b", "c"]
        got: list[str] = []

        async def read() -> None:
            got.extend(await some(lines, 2))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(read)
            await wait_all_tasks_blocked()
            assert not got
            book.write("d")
            book.write("e")
        assert got == ["d", "e"]


async def test_a_slow_follower_is_told_what_it_missed() -> None:
    """The writer never waits for it, and lines that are lost are counted, not silently dropped."""
    book = written("0", capacity=3)
    async with aclosing(book.follow(0)) as lines:
        assert await some(lines, 1) == ["0"]
        with assert_no_checkpoints():
            for number in range(1, 11):
                book.write(str(number))
        assert await some(lines, 4) == ["... 7 lines were too fast to follow ...", "8", "9", "10"]
        book.write("11")
        assert await some(lines, 1) == ["11"]


async def test_lines_that_come_while_a_follower_is_busy_are_not_lost() -> None:
    """Between two of its lines there is all the time it wants, as long as the book has room."""
    book = written("a", "b", capacity=10)
    async with aclosing(book.follow(0)) as lines:
        assert await some(lines, 1) == ["a"]
        book.write("c")
        assert await some(lines, 2) == ["b", "c"]


async def test_followers_do_not_disturb_each_other() -> None:
    """Each has its own pace; one that leaves is not missed."""
    book = written("a", "b")
    async with aclosing(book.follow(0)) as slow, aclosing(book.follow(0)) as fast:
        assert await some(fast, 2) == ["a", "b"]
        await fast.aclose()
        book.write("c")
        assert await some(slow, 3) == ["a", "b", "c"]
