"""What a program is seen to do: real processes behind a shell, and the arithmetic."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from pathlib import Path

import pytest
import trio
from serving import PATIENCE

from llmsup.engines.address import UnixAddress
from llmsup.engines.launch import Launch
from llmsup.fleet.engine.process_engine import RunningEngine
from llmsup.process import child
from llmsup.process.activity import GROWTH, ActivitySample, look
from llmsup.process.child import run_child
from llmsup.process.logbook import LogBook
from llmsup.process.orphans import Orphans
from llmsup.units import Seconds

ENV = dict(os.environ)
GRACE = Seconds(1)


@pytest.fixture
async def orphans(nursery: trio.Nursery, tmp_path: Path) -> AsyncIterator[Orphans]:
    async with trio.open_nursery() as own:
        orphans = Orphans(tmp_path / "sockets")
        await own.start(orphans.run)
        yield orphans
        own.cancel_scope.cancel()


def test_cores() -> None:
    """Over all processes; one that is new counts with all it used, one that is gone takes nothing back."""
    before = ActivitySample(at=10, cpu={1: 5.0, 2: 7.0})
    assert ActivitySample(at=20, cpu={1: 5.0, 2: 7.0}).cores(before) == 0
    assert ActivitySample(at=20, cpu={1: 6.0, 2: 7.5}).cores(before) == pytest.approx(0.15)
    assert ActivitySample(at=20, cpu={1: 5.0, 3: 20.0}).cores(before) == pytest.approx(2)
    assert ActivitySample(at=10, cpu={1: 9.0}).cores(before) == 0


def test_growth() -> None:
    """Both ways: a load may give back what it needed for a moment."""
    before = ActivitySample(at=0, loaded=100 * GROWTH)
    assert not ActivitySample(at=1, loaded=101 * GROWTH - 1).grown(before)
    assert ActivitySample(at=1, loaded=101 * GROWTH).grown(before)
    assert ActivitySample(at=1, loaded=99 * GROWTH).grown(before)


async def until_seen(pid: int, seen: Callable[[ActivitySample], bool]) -> ActivitySample:
    """Look again and again: another process has no way to tell that it has grown."""
    with trio.fail_after(PATIENCE):
        while not seen(now := await look(pid)):  # noqa: ASYNC110 -- another process's doing
            await trio.sleep(0.01)
    return now


GROWS = "import time; data = b'x' * 60_000_000; print('up', flush=True); time.sleep(600)"
WORKS = "print('up', flush=True)\nwhile True: pass"
HIDES = {
    "a shell": '"$0" -c "$1"; true',
    "a double fork": '( "$0" -c "$1" & ); sleep 600',
}


@pytest.mark.slow
@pytest.mark.parametrize("how", HIDES)
async def test_a_program_behind_a_shell_grows(orphans: Orphans, how: str) -> None:
    """The leader doesn't, and need not."""
    argv = ("sh", "-c", HIDES[how], sys.executable, GROWS)
    kept = run_child(argv, orphans=orphans, env=ENV, stop_grace=GRACE)
    async with kept as running, aclosing(running.lines()) as lines:
        await anext(lines)
        await until_seen(running.pid, lambda now: now.loaded > 60_000_000)


@pytest.mark.slow
@pytest.mark.parametrize("how", HIDES)
async def test_a_program_behind_a_shell_computes(orphans: Orphans, how: str) -> None:
    argv = ("sh", "-c", HIDES[how], sys.executable, WORKS)
    kept = run_child(argv, orphans=orphans, env=ENV, stop_grace=GRACE)
    async with kept as running, aclosing(running.lines()) as lines:
        await anext(lines)
        first = await look(running.pid)
        await until_seen(running.pid, lambda now: now.cores(first) > 0)


async def test_one_that_is_gone() -> None:
    """Nothing is left to be seen."""
    assert (await look(2**22 + 1)).cpu == {}


@pytest.mark.parametrize("mark", [".", "\\r50%%"])
async def test_output_without_an_end_is_a_sign_and_reaches_the_log(
    orphans: Orphans, monkeypatch: pytest.MonkeyPatch, mark: str
) -> None:
    """Dots, and a bar: each byte counts, and what there is can be read before the line ends."""
    monkeypatch.setattr(child, "UNFINISHED_EVERY", 0.05)
    argv = ("sh", "-c", f"printf '{mark}'; read -r go; exit 1")
    book = LogBook()
    async with run_child(argv, orphans=orphans, env=ENV, stop_grace=GRACE) as running:
        engine = RunningEngine(Launch(engine="x", argv=argv, address=UnixAddress(Path("/nowhere"))), running, book)
        before = await engine.activity()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(engine.pump)
            with trio.fail_after(PATIENCE):
                await book.until(lambda: book.written)
            assert (await engine.activity()).output != before.output
            await engine.pool.close()
            nursery.cancel_scope.cancel()
    assert book.tail() == (mark.replace("\\r", "").replace("%%", "%"),)
