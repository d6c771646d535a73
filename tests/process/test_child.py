"""Child processes: started under guard, their output read, their whole group ended. Real processes, real clock."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest
import trio
from serving import PATIENCE

from llmsup.errors import SetupError
from llmsup.process.child import GATE, describe_exit, run_child
from llmsup.process.guard import alive
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


async def test_output_exit_code_and_an_empty_standard_input(orphans: Orphans) -> None:
    """Both outputs arrive in order, line by line, with a last line that has no end."""
    script = "echo one; echo two >&2; printf three; exit 5"
    async with run_child(("sh", "-c", script), orphans=orphans, env=ENV, stop_grace=GRACE) as child:
        assert [line async for line in child.lines()] == ["one", "two", "three"]
        assert await child.wait() == 5
        assert "exited with code 5" in repr(child)


async def test_a_missing_program_is_a_plain_error(orphans: Orphans) -> None:
    with pytest.raises(SetupError, match="no-such-thing"):
        async with run_child(("no-such-thing",), orphans=orphans, env=ENV, stop_grace=GRACE):
            pytest.fail("it can't have been started")


async def test_it_has_a_session_of_its_own(orphans: Orphans) -> None:
    """Ctrl-C in llmsup's terminal must not reach engines: only the supervisor decides."""
    async with run_child(("sleep", "60"), orphans=orphans, env=ENV, stop_grace=GRACE) as child:
        assert os.getsid(child.pid) == os.getpgid(child.pid) == child.pid != os.getsid(0)


async def test_leaving_ends_it_politely(orphans: Orphans, tmp_path: Path) -> None:
    program = (
        "import signal,sys,time\n"
        "signal.signal(signal.SIGTERM, lambda *_: (open(sys.argv[1],'w').write('bye'), sys.exit(0)))\n"
        "print('up', flush=True)\n"
        "time.sleep(60)\n"
    )
    argv = (sys.executable, "-c", program, str(tmp_path / "note"))
    async with run_child(argv, orphans=orphans, env=ENV, stop_grace=Seconds(20)) as child:
        await anext(lines := child.lines())
        await lines.aclose()
    assert (tmp_path / "note").read_text() == "bye"
    assert child.returncode == 0


async def test_a_farewell_comes_before_the_end_of_its_input(orphans: Orphans, tmp_path: Path) -> None:
    script = 'trap "" TERM; echo up; cat > "$0"'
    argv = ("sh", "-c", script, str(tmp_path / "note"))
    kept = run_child(argv, orphans=orphans, env=ENV, stop_grace=Seconds(20), farewell=b"be gone\n")
    async with kept as child:
        await anext(lines := child.lines())
        await lines.aclose()
    assert (tmp_path / "note").read_text() == "be gone\n"
    assert child.returncode == 0


@pytest.mark.slow
async def test_the_whole_group_is_ended_however_deaf(orphans: Orphans) -> None:
    """A leader and a grandchild that ignore SIGTERM are gone when the block is left, also when cancelled."""
    script = "trap '' TERM; (trap '' TERM; while :; do sleep 1; done) & echo up; while :; do sleep 1; done"
    with trio.CancelScope() as scope:
        async with run_child(("sh", "-c", script), orphans=orphans, env=ENV, stop_grace=Seconds(0.2)) as child:
            await anext(lines := child.lines())
            await lines.aclose()
            scope.cancel()
            await trio.sleep_forever()
    assert child.returncode == -signal.SIGKILL
    assert not [p for p in psutil.process_iter(["status"]) if _group(p) == child.pid and not _zombie(p)]


async def test_a_child_that_is_gone_already_is_no_trouble(orphans: Orphans) -> None:
    async with run_child(("true",), orphans=orphans, env=ENV, stop_grace=GRACE) as child:
        assert await child.wait() == 0
    assert not alive(child.pid)


async def test_a_line_without_end_does_not_fill_memory(orphans: Orphans) -> None:
    argv = ("sh", "-c", "head -c 3000000 /dev/zero | tr '\\0' x")
    async with run_child(argv, orphans=orphans, env=ENV, stop_grace=GRACE) as child:
        lines = [line async for line in child.lines()]
    assert sum(map(len, lines)) <= 65536


async def test_a_new_guard_takes_over(orphans: Orphans) -> None:
    """The guard is killed: another starts and knows every group."""
    async with run_child(("sleep", "60"), orphans=orphans, env=ENV, stop_grace=GRACE) as child:
        first = orphans.guard_pid
        assert first is not None
        os.kill(first, signal.SIGKILL)
        with trio.fail_after(PATIENCE):
            while orphans.guard_pid in (None, first):  # noqa: ASYNC110 -- another process's doing
                await trio.sleep(0.01)
        assert child.returncode is None


def test_exits_are_described_for_people() -> None:
    assert describe_exit(3) == "exited with code 3"
    assert describe_exit(-9) == "was killed by SIGKILL"
    assert describe_exit(-250) == "was killed by signal 250"


PARENT = """
import os, sys, trio
from pathlib import Path
from llmsup.process.child import run_child
from llmsup.process.orphans import Orphans
from llmsup.units import Seconds

async def main():
    directory = Path(sys.argv[1]); directory.mkdir()
    (directory / "1.sock").touch()
    async with trio.open_nursery() as nursery:
        orphans = Orphans(directory)
        await nursery.start(orphans.run)
        script = "trap '' TERM; (trap '' TERM; sleep 600) & echo $$ $!; while :; do sleep 1; done"
        argv = ("sh", "-c", script)
        async with run_child(argv, orphans=orphans, env=dict(os.environ), stop_grace=Seconds(5)) as child:
            async for line in child.lines():
                print(line, flush=True)

trio.run(main)
"""


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
def test_no_child_outlives_us_however_we_die(tmp_path: Path, number: signal.Signals) -> None:
    """Killed or crashed: within 5 seconds the engines, their children and their sockets are gone."""
    root = str(Path(__file__).parents[2])
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(tmp_path / "sockets")],
        stdout=subprocess.PIPE,
        text=True,
        env={**ENV, "PYTHONPATH": root},
    )
    try:
        assert parent.stdout is not None
        pids = [int(pid) for pid in parent.stdout.readline().split()]
        assert len(pids) == 2
        parent.send_signal(number)
        assert parent.wait(PATIENCE) == -number
        deadline = time.monotonic() + 5
        while any(map(_running, pids)) and time.monotonic() < deadline:
            time.sleep(0.02)
        assert not any(map(_running, pids))
        deadline = time.monotonic() + 5
        while (tmp_path / "sockets").exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        assert not (tmp_path / "sockets").exists()
    finally:
        parent.kill()
        parent.wait()
        if parent.stdout is not None:
            parent.stdout.close()


def test_an_engine_that_was_not_let_go_never_is() -> None:
    """We die between the fork and the registration: the gate closes with us, and there is no engine at all."""
    gate = subprocess.Popen([*GATE, "touch", "/nonexistent/never"], stdin=subprocess.PIPE)
    assert gate.stdin is not None
    gate.stdin.close()
    assert gate.wait(PATIENCE) != 0


def _group(process: psutil.Process) -> int | None:
    try:
        return os.getpgid(process.pid)
    except ProcessLookupError:
        return None


def _zombie(process: psutil.Process) -> bool:
    return bool(process.info["status"] == psutil.STATUS_ZOMBIE)


def _running(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
