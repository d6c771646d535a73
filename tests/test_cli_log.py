"""The log of `serve`: one record is one line, whatever is in it, on stderr and in the book."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Iterator
from contextlib import aclosing
from datetime import datetime

import pytest
import trio
import trio.testing

from llmsup.cli.logsetup import JsonFormatter, TextFormatter, set_up
from llmsup.process.logbook import LogBook


@pytest.fixture(autouse=True)
def root() -> Iterator[None]:
    """Put the root logger back as it was."""
    logger, hypercorn = logging.getLogger(), logging.getLogger("hypercorn.error")
    before = logger.handlers, logger.level, hypercorn.level
    yield
    logger.handlers, logger.level = before[0], before[1]
    hypercorn.setLevel(before[2])


def record(level: int = logging.INFO, message: str = "path %s", *args: object, **fields: object) -> logging.LogRecord:
    made = logging.LogRecord("llmsup.web", level, __file__, 1, message, args, None)
    made.__dict__.update(fields)
    return made


def failure() -> logging.LogRecord:
    error = ValueError("one\n22:15:03 INFO  forged")
    return record(logging.ERROR, "broke", exc_info=(type(error), error, None))


def test_text() -> None:
    line = TextFormatter().format(record(logging.WARNING, "path %s", "/a\r\n22:15:03 INFO  forged\x1b[2J"))
    assert line[8:] == r" WARN  path /a\r\n22:15:03 INFO  forged\x1b[2J"
    assert time.strptime(line[:8], "%H:%M:%S")


def test_a_traceback_is_indented() -> None:
    first, *rest = TextFormatter().format(failure()).splitlines()
    assert first.endswith("ERROR broke")
    assert rest == ["    ValueError: one", "    22:15:03 INFO  forged"]


def test_json() -> None:
    line = JsonFormatter().format(record(logging.INFO, "path %s", "/a\n\u2028b"))
    assert len(line.splitlines()) == 1
    read = json.loads(line)
    assert read.keys() == {"time", "level", "logger", "message"}
    assert (read["level"], read["logger"], read["message"]) == ("info", "llmsup.web", "path /a\n\u2028b")
    assert datetime.fromisoformat(read["time"]).tzinfo
    assert json.loads(JsonFormatter().format(failure()))["exception"].startswith("ValueError: one\n")


@pytest.mark.parametrize(("verbose", "lines"), [(False, ["[llmsup] b", "[llmsup] WARN c"]), (True, None)])
def test_levels_and_the_book(verbose: bool, lines: list[str] | None) -> None:
    book = LogBook()
    set_up(book, style="text", verbose=verbose)
    log = logging.getLogger("llmsup.some")
    log.debug("a")
    log.info("b")
    log.warning("c")
    logging.getLogger("hypercorn.error").info("Running on ...")
    assert list(book.tail()) == (lines or ["[llmsup] a", "[llmsup] b", "[llmsup] WARN c"])


def test_the_book_gets_tracebacks_by_line() -> None:
    book = LogBook()
    set_up(book, style="json", verbose=False).handle(failure())
    assert book.tail()[:2] == ("[llmsup] ERROR broke", "[llmsup]     ValueError: one")


async def test_a_thread_may_log_while_somebody_follows() -> None:
    book = LogBook()
    handler = set_up(book, style="text", verbose=False)
    handler.token = trio.lowlevel.current_trio_token()
    log = logging.getLogger("llmsup.some")
    seen: list[str] = []

    async def follow() -> None:
        async with aclosing(book.follow(0)) as lines:
            async for line in lines:
                seen.append(line)
                if len(seen) == 2:
                    return

    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(follow)
            await trio.testing.wait_all_tasks_blocked()
            await trio.to_thread.run_sync(log.info, "from a thread")
            log.info("from a task")
    assert sorted(seen) == ["[llmsup] from a task", "[llmsup] from a thread"]


def test_what_a_thread_says_after_the_end_is_dropped() -> None:
    book = LogBook()
    handler = set_up(book, style="text", verbose=False)

    async def run() -> None:
        handler.token = trio.lowlevel.current_trio_token()

    trio.run(run)
    thread = threading.Thread(target=logging.getLogger("x").info, args=["late"])
    thread.start()
    thread.join()
    assert book.tail() == ()
