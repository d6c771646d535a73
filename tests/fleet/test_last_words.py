"""What errors quote: this engine's words, and the best of them."""

from __future__ import annotations

from llmsup.fleet.model.last_words import first_complaint, last_words
from llmsup.fleet.model.run import Run
from llmsup.process.logbook import LogBook


async def test_only_this_life_is_quoted() -> None:
    """However little it said, nothing of what was said before it began, and nothing that the book has lost."""
    book = LogBook(5)
    book.write("error: of the one before")
    run = Run(book.written)
    assert last_words(run, book) == ()
    book.write("one")
    book.write("two")
    assert last_words(run, book) == ("one", "two")
    assert last_words(run, book, 1) == ("two",)
    for number in range(9):
        book.write(str(number))
    assert last_words(run, book) == ("4", "5", "6", "7", "8")


def test_the_first_complaint() -> None:
    """What follows is usually its echo; what llmsup wrote is no complaint of the engine's."""
    assert first_complaint(("llmsup: error", "hello", "E no such file", "exit: failed")) == "It said: E no such file"
    assert first_complaint(("0.00.004.299 E", "no merges", "load failed: x")) == "It said: load failed: x"
    assert first_complaint(("hello", "bye", "")) == "It said: bye"
    assert first_complaint(("llmsup: starting x",)) == "It said nothing."
