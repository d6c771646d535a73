"""The user's own program, with real processes: it ends in time, whatever it does, and leaves nobody behind."""

from __future__ import annotations

import sys
import tracemalloc
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from serving import PATIENCE

from llmsup.bridge import script
from llmsup.bridge.output import KEPT, LOGGED, Output
from llmsup.bridge.script import ScriptExit
from llmsup.errors import SetupError
from llmsup.process.orphans import Orphans
from llmsup.units import NEVER, Seconds


@pytest.fixture
async def orphans(nursery: trio.Nursery, tmp_path: Path) -> AsyncIterator[Orphans]:
    async with trio.open_nursery() as own:
        orphans = Orphans(tmp_path / "sockets")
        await own.start(orphans.run)
        yield orphans
        own.cancel_scope.cancel()


async def run(orphans: Orphans, *command: str, timeout: float = NEVER, said: list[str] | None = None) -> ScriptExit:
    with trio.fail_after(PATIENCE):
        say = (lambda _: None) if said is None else said.append
        return await script.run(command, orphans=orphans, timeout=Seconds(timeout), say=say)


def python(program: str) -> tuple[str, str, str]:
    return sys.executable, "-c", program


async def test_its_output_and_exit_code(orphans: Orphans) -> None:
    """Both outputs, control characters made visible, a last line without an end."""
    said: list[str] = []
    ended = await run(orphans, "sh", "-c", r"echo one; printf 'two\033[2J\n' >&2; printf three; exit 3", said=said)
    assert ended == ScriptExit(3, ("one", "two\\x1b[2J", "three"))
    assert said == ["one", "two\\x1b[2J", "three"]


async def test_it_may_ask_but_nobody_answers(orphans: Orphans) -> None:
    assert await run(orphans, "sh", "-c", "read answer || echo nobody") == ScriptExit(0, ("nobody",))


@pytest.mark.slow
async def test_one_that_never_ends_is_ended(orphans: Orphans) -> None:
    """With all that it started, however deaf they are; what it said is kept."""
    program = "trap '' TERM; (trap '' TERM; sleep 1000) & echo $!; while :; do sleep 1; done"
    ended = await run(orphans, "sh", "-c", program, timeout=0.3)
    assert ended.exit_code is None
    (child,) = ended.lines
    assert gone(int(child))


@pytest.mark.slow
async def test_a_daemon_that_it_leaves_behind_is_ended(orphans: Orphans) -> None:
    """It holds the pipe for ever, and is waited for a second at most."""
    ended = await run(orphans, "sh", "-c", "sleep 1000 & echo $!; exit 0")
    assert ended.exit_code == 0
    assert gone(int(ended.lines[0]))


async def test_a_daemon_that_gets_away_holds_nobody_up(orphans: Orphans) -> None:
    """One with a session of its own is out of reach; the run is over all the same."""
    program = "import os, time\npid = os.fork()\nif not pid:\n os.setsid()\n time.sleep(1000)\nprint(pid)"
    ended = await run(orphans, *python(program))
    assert ended.exit_code == 0
    psutil.Process(int(ended.lines[0])).kill()


@pytest.mark.slow
@pytest.mark.parametrize("line", ["x" * 1023, "y", ""])
async def test_100_mb_of_output(orphans: Orphans, line: str) -> None:
    """In lines of any length: all of it is read, the first and the last lines are kept, memory doesn't grow."""
    count = 100_000_000 // (len(line) + 1)
    program = (
        f"import sys\nblock = {line + chr(10)!r} * 10000\nfor _ in range({count // 10000}): sys.stdout.write(block)\n"
        "print('the end')"
    )
    said: list[str] = []
    tracemalloc.start()
    try:
        ended = await run(orphans, *python(program), said=said)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert ended.exit_code == 0
    assert ended.lines == (*[line] * (KEPT - 1), "the end")
    assert len(said) == LOGGED + 1
    assert said[-1] == f"... and {count // 10000 * 10000 + 1 - LOGGED} more lines"
    assert most < 20_000_000


async def test_100_mb_without_a_line_end(orphans: Orphans) -> None:
    program = "import sys\nfor _ in range(1600): sys.stdout.write('z' * 65536)"
    ended = await run(orphans, *python(program))
    assert ended.exit_code == 0
    (line,) = ended.lines
    assert set(line) == {"z"}
    assert len(line) <= 4096


@pytest.mark.parametrize(
    ("make", "what"),
    [
        (lambda path: None, "No such file"),
        (lambda path: path.mkdir(), "it is not a file"),
        (lambda path: path.write_text("#!/bin/sh\n"), "it is not executable. chmod [+]x"),
    ],
)
async def test_one_that_can_not_be_run(orphans: Orphans, tmp_path: Path, make: object, what: str) -> None:
    """Missing, a folder, not executable: told apart, with the path."""
    path = tmp_path / "bridge"
    assert callable(make)
    make(path)
    with pytest.raises(SetupError, match=f"bridge.command '{path}' can't be run: {what}"):
        await run(orphans, str(path))


async def test_one_that_is_not_on_the_path(orphans: Orphans) -> None:
    with pytest.raises(SetupError, match="'no-such-bridge' can't be run: there is no such program"):
        await run(orphans, "no-such-bridge")


async def test_one_killed_by_a_signal(orphans: Orphans) -> None:
    assert await run(orphans, "sh", "-c", "kill -9 $$") == ScriptExit(-9, ())


async def test_leaving_ends_it(orphans: Orphans, tmp_path: Path) -> None:
    """llmsup stops while it runs."""
    started = tmp_path / "pid"
    async with trio.open_nursery() as nursery:
        nursery.start_soon(
            lambda: run(orphans, "sh", "-c", f"echo $$ > {started}.new; mv {started}.new {started}; sleep 1000")
        )
        with trio.fail_after(PATIENCE):
            while not started.exists():  # noqa: ASYNC110 -- it is a file
                await trio.sleep(0.01)
        nursery.cancel_scope.cancel()
    assert gone(int(started.read_text()))


def gone(pid: int) -> bool:
    """Whether a process has ended; its parent, some init, may be slow to reap it."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


@given(st.lists(st.binary(max_size=8).map(lambda data: data.replace(b"\r", b"")), max_size=600), st.integers(0, 3))
def test_output_in_any_pieces_is_the_same(pieces: list[bytes], ends: int) -> None:
    """How a pipe cuts it up makes no difference."""
    data = b"\n".join(pieces) + b"\n" * ends
    results = []
    for size in (1, 7, len(data) or 1):
        said: list[str] = []
        output = Output(said.append)
        for at in range(0, len(data), size):
            output.take(data[at : at + size])
        results.append((output.end(), output.lines, said))
    assert results[0] == results[1] == results[2]
    lines, count, said = results[0]
    assert count == data.count(b"\n")
    assert len(lines) <= KEPT
    assert len(said) <= LOGGED + 1
