"""The log of `serve`: one record is one line, whatever is in it, on stderr and in the book."""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import re
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import aclosing
from datetime import datetime
from typing import Literal

import h11
import pytest
import trio
import trio.testing
from hypercorn.protocol.h11 import H2CProtocolRequiredError, H2ProtocolAssumedError

from llmsup.cli.failure import summary, told
from llmsup.cli.logsetup import JsonFormatter, TextFormatter, set_up
from llmsup.errors import SetupError
from llmsup.process import quick_log
from llmsup.process.lines import MAX_LINE
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


def failure(error: BaseException | None = None) -> logging.LogRecord:
    error = error or SetupError("one\n22:15:03 INFO  forged")
    return record(logging.ERROR, "broke", exc_info=(type(error), error, error.__traceback__))


def raised(error: Exception, cause: Exception | None = None) -> Exception:
    """The error, with a traceback."""
    with contextlib.suppress(type(error)):
        raise error from cause
    return error


def everywhere(error: BaseException) -> str:
    """Every form in which a failure is written down."""
    book = LogBook()
    set_up(book, style="text", verbose=True).book.handle(failure(error))
    texts = TextFormatter().format(failure(error)), json.loads(JsonFormatter().format(failure(error)))["exception"]
    assert all("broke" in text for text in (texts[0], book.tail()[0]))
    return "\n".join((*texts, *book.tail()))


def test_text() -> None:
    line = TextFormatter().format(record(logging.WARNING, "path %s", "/a\r\n22:15:03 INFO  forged\x1b[2J"))
    assert line[8:] == r" WARN  path /a\r\n22:15:03 INFO  forged\x1b[2J"
    assert time.strptime(line[:8], "%H:%M:%S")


def test_a_traceback_is_indented() -> None:
    first, *rest = TextFormatter().format(failure()).splitlines()
    assert first.endswith("ERROR broke")
    assert rest == [r"    SetupError: one\n22:15:03 INFO  forged"]


def test_json() -> None:
    line = JsonFormatter().format(record(logging.INFO, "path %s", "/a\n\u2028b"))
    assert len(line.splitlines()) == 1
    read = json.loads(line)
    assert read.keys() == {"time", "level", "logger", "message"}
    assert (read["level"], read["logger"], read["message"]) == ("info", "llmsup.web", "path /a\n\u2028b")
    assert datetime.fromisoformat(read["time"]).tzinfo
    assert json.loads(JsonFormatter().format(failure()))["exception"].startswith("SetupError: one\\n")


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
    set_up(book, style="json", verbose=False).book.handle(failure())
    assert book.tail()[:2] == ("[llmsup] ERROR broke", r"[llmsup]     SetupError: one\n22:15:03 INFO  forged")


REQUEST = h11.Request(
    method="POST", target="/v1/chat/completions", headers=[("Host", "x"), ("Authorization", "Bearer sk-secret")]
)


@pytest.mark.parametrize(
    "error",
    [
        ValueError("Bearer sk-secret"),
        KeyError("sk-secret"),
        H2CProtocolRequiredError(b"my prompt, Bearer sk-secret", REQUEST),
        H2ProtocolAssumedError(b"my prompt, Bearer sk-secret"),
        h11.RemoteProtocolError("illegal request line: bytearray(b'my prompt sk-secret')"),
        UnicodeDecodeError("utf-8", b"sk-secret", 0, 1, "sk-secret"),
        OSError(errno.ENOENT, "sk-secret", "sk-secret"),
        ExceptionGroup("sk-secret", [ValueError("sk-secret"), raised(KeyError("my prompt"))]),
        raised(RuntimeError("my prompt"), cause=raised(ValueError("sk-secret"))),
    ],
    ids=lambda error: type(error).__name__,
)
def test_what_an_exception_says_is_not_logged(error: Exception) -> None:
    """It may be the request that could not be understood, with its key and its prompt. Its type and place are."""
    with contextlib.suppress(Exception):
        error.add_note("sk-secret")
        try:
            raise KeyError("my " + "prompt")
        finally:
            raise error
    text = everywhere(error)
    assert "sk-secret" not in text
    assert "my prompt" not in text
    assert text.count(f"{type(error).__name__}") >= 3
    assert text.count("ValueError" if error.__cause__ else "KeyError") >= 3, "what it came from is told, too"
    assert "in test_what_an_exception_says_is_not_logged" in text


def test_what_an_exception_of_ours_or_the_systems_says_is_logged() -> None:
    """Its words are chosen by us, or by the system."""
    assert summary(SetupError("no good.", hint="Try.")) == "SetupError: no good. Try."
    assert summary(OSError(errno.ENOSPC, "x", "/secret")) == "OSError: No space left on device"
    assert summary(ssl.SSLError(1, "x")) == "SSLError"
    assert summary(OSError("x")) == "OSError"


def test_causes_that_turn_in_a_circle_end() -> None:
    one, two = ValueError(), KeyError()
    one.__cause__, two.__cause__ = two, one
    assert 2 <= everywhere(one).count("KeyError") < 100


def test_a_deep_recursion_is_told_briefly() -> None:
    def deeper(n: int) -> int:
        return deeper(n + 1) + 1

    with pytest.raises(RecursionError) as caught:
        deeper(0)
    assert len(list(told(caught.value))) < 200


@pytest.mark.parametrize("message", ["x" * 10_000_000, "\x00" * 1_000_000])
def test_a_line_has_a_bound_wherever_it_goes(message: str) -> None:
    book = LogBook()
    set_up(book, style="text", verbose=False).book.handle(record(logging.WARNING, "%s", message))
    assert len(TextFormatter().format(record(logging.WARNING, "%s", message))) < MAX_LINE + 50
    assert len(JsonFormatter().format(record(logging.WARNING, "%s", message))) < 6 * MAX_LINE + 500
    assert len(book.last) <= MAX_LINE
    long = SetupError(message)
    assert max(map(len, TextFormatter().format(failure(long)).splitlines())) <= MAX_LINE + 10
    assert len(json.loads(JsonFormatter().format(failure(long)))["exception"]) <= MAX_LINE + 10


async def test_a_thread_may_log_while_somebody_follows() -> None:
    book = LogBook()
    handler = set_up(book, style="text", verbose=False).book
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
    handler = set_up(book, style="text", verbose=False).book

    async def run() -> None:
        handler.token = trio.lowlevel.current_trio_token()

    trio.run(run)
    thread = threading.Thread(target=logging.getLogger("x").info, args=["late"])
    thread.start()
    thread.join()
    assert book.tail() == ()


class Written:
    """A stderr that keeps each write."""

    def __init__(self) -> None:
        self.writes: list[str] = []

    def write(self, text: str) -> None:
        self.writes.append(text)

    def flush(self) -> None:
        pass


async def test_lines_that_follow_closely_are_one_write(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.testing.MockClock
) -> None:
    """The first is written at once; who must be heard at once takes along what waits; the end leaves nothing."""
    stderr = Written()
    monkeypatch.setattr("sys.stderr", stderr)
    monkeypatch.setattr("llmsup.cli.logsetup.TOGETHER", 3600)
    logs, log = set_up(LogBook(), style="text", verbose=False), logging.getLogger("llmsup.some")
    async with trio.open_nursery() as nursery:
        await nursery.start(logs.run)
        await trio.testing.wait_all_tasks_blocked()
        for text in ("one", "two", "three"):
            log.info(text)
        assert [write.count("\n") for write in stderr.writes] == [1]
        await trio.sleep(3601)
        assert [write.count("\n") for write in stderr.writes] == [1, 2]
        log.info("four")
        log.warning("five")
        assert [write.count("\n") for write in stderr.writes] == [1, 2, 2]
        log.info("six")
        await trio.to_thread.run_sync(log.info, "seven, from a thread")
        log.info("eight")
        nursery.cancel_scope.cancel()
    log.info("nine")
    words = [line.split()[2].rstrip(",") for line in "".join(stderr.writes).splitlines()]
    assert words == ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]


class Unwritable(Written):
    """As on a full disk, until there is room again."""

    full = True

    def write(self, text: str) -> None:
        if self.full:
            raise OSError(errno.ENOSPC, "No space left on device")
        super().write(text)


async def test_a_log_that_can_not_be_written_ends_nothing(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.testing.MockClock
) -> None:
    """Neither lines that are written at once nor those that wait; and later ones are written again."""
    stderr = Unwritable()
    monkeypatch.setattr("sys.stderr", stderr)
    logs, log = set_up(LogBook(), style="text", verbose=False), logging.getLogger("llmsup.some")
    async with trio.open_nursery() as nursery:
        await nursery.start(logs.run)
        await trio.testing.wait_all_tasks_blocked()
        for text in ("one", "two", "three"):
            log.info(text)
        await trio.sleep(60)
        stderr.full = False
        log.warning("four")
        nursery.cancel_scope.cancel()
    assert [line.split()[2] for line in "".join(stderr.writes).splitlines()] == ["four"]


@pytest.mark.parametrize("style", ["text", "json"])
async def test_each_requests_line_looks_like_any_other(
    capsys: pytest.CaptureFixture[str], style: Literal["text", "json"]
) -> None:
    """It goes another way, but not where somebody else listens, too."""
    shown = []
    for say in (quick_log.info, logging.Logger.info):
        book = LogBook()
        set_up(book, style=style, verbose=False)
        say(logging.getLogger("llmsup.gateway.passage"), "POST /v1/x m\n\x1b[0m: 200 in 0.001 s")
        text = re.sub(r"\d\d:\d\d:\d\d(\.\d+)?", "", capsys.readouterr().err)
        shown.append((text, book.tail()))
    assert shown[0] == shown[1]
    assert len(shown[0][0].splitlines()) == len(shown[0][1]) == 1


async def test_each_requests_line_reaches_other_handlers(capsys: pytest.CaptureFixture[str]) -> None:
    set_up(book := LogBook(), style="text", verbose=False)
    seen: list[logging.LogRecord] = []

    class Other(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            seen.append(record)

    logging.getLogger().addHandler(Other())
    quick_log.info(logging.getLogger("llmsup.gateway.passage"), "a line")
    logging.getLogger().setLevel(logging.WARNING)
    quick_log.info(logging.getLogger("llmsup.gateway.passage"), "not wanted")
    assert [each.getMessage() for each in seen] == ["a line"]
    assert book.tail() == ("[llmsup] a line",)
    assert capsys.readouterr().err.count("\n") == 1
