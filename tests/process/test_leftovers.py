"""llmsup and its guard killed at once: the next one ends what they have left, and nothing of one that lives."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import strays
from serving import FAKE, PATIENCE, recorded

from llmsup.process import leftovers, marks
from llmsup.process.inheritance import Inheritance
from llmsup.process.leftovers import end_all

ROOT = Path(__file__).parents[2]

PARENT = """
import sys, trio
from pathlib import Path
from llmsup.process import subreaper
from llmsup.process.child import run_child
from llmsup.process.leftovers import Leftovers
from llmsup.process.orphans import Orphans
from llmsup.units import Seconds

async def main():
    state, sockets = Path(sys.argv[1]), Path(sys.argv[2])
    async with trio.open_nursery() as nursery:
        orphans = Orphans(sockets)
        await nursery.start(Leftovers(state, orphans.inheritance, sockets).run)
        await nursery.start(orphans.run)
        env = orphans.inheritance.environment()
        async with run_child(tuple(sys.argv[3:]), orphans=orphans, env=env, stop_grace=Seconds(0.3)) as child:
            print(child.pid, await anext(child.lines()), orphans.guard_pid, flush=True)
            await trio.to_thread.run_sync(sys.stdin.readline, abandon_on_cancel=True)
        nursery.cancel_scope.cancel()

with subreaper.adopting():
    trio.run(main)
"""


class Llmsup:
    """One of its own process, with an engine that has left a stray: a daemon that is deaf to SIGTERM."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        self.process = process
        self.engine, self.stray, self.guard = map(int, process.stdout.readline().split())

    def kill(self, *, guard: bool) -> None:
        """At once: while it is stopped it starts no other guard."""
        self.process.send_signal(signal.SIGSTOP)
        if guard:
            os.kill(self.guard, signal.SIGKILL)
        self.process.kill()
        self.process.wait(PATIENCE)

    @property
    def both_run(self) -> bool:
        return strays.runs(self.engine) and strays.runs(self.stray)


@contextlib.contextmanager
def running(state: Path, how: str = strays.DAEMON) -> Iterator[Llmsup]:
    (sockets := state / "sockets").mkdir(parents=True, exist_ok=True)
    (sockets / "1.sock").touch()
    argv = [sys.executable, "-c", PARENT, str(state), str(sockets), *strays.program(how)]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env) as process:
        llmsup = None
        try:
            yield (llmsup := Llmsup(process))
        finally:
            process.kill()
            if llmsup is not None:
                strays.wait_until_gone(llmsup.engine, llmsup.stray)


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


def files(state: Path) -> list[Path]:
    return list(state.glob("children-*"))


@pytest.mark.parametrize(
    "how",
    [
        strays.DAEMON,
        pytest.param(
            strays.WIPED_DAEMON, marks=pytest.mark.skipif(sys.platform != "linux", reason="its mark is in its limits")
        ),
    ],
)
def test_what_was_left_ends(tmp_path: Path, caplog: pytest.LogCaptureFixture, how: str) -> None:
    """With one line in the log; and what lived in the sockets' folder is gone, as with the guard."""
    with running(tmp_path, how) as llmsup:
        llmsup.kill(guard=True)
        assert llmsup.both_run
        end_all(tmp_path)
        strays.wait_until_gone(llmsup.engine, llmsup.stray, seconds=0)
        assert not files(tmp_path)
        assert not (tmp_path / "sockets").exists()
        (line,) = told(caplog)
        assert f"{llmsup.engine} (" in line
        assert f"{llmsup.stray} (" in line
        assert "but not" not in line
    end_all(tmp_path)
    assert len(told(caplog)) == 1


@pytest.mark.slow  # starts two llmsups with their guards
def test_nothing_of_one_that_lives(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Also while another one's are ended; and an orderly end leaves no file."""
    with running(tmp_path) as living, running(tmp_path) as dead:
        dead.kill(guard=True)
        end_all(tmp_path)
        assert not strays.runs(dead.engine)
        assert living.both_run
        assert living.process.poll() is None
        assert len(files(tmp_path)) == 1
        assert len(told(caplog)) == 1
        living.process.communicate("\n", PATIENCE)
        assert not files(tmp_path)


@pytest.mark.slow  # waits until a guard has ended what was left
def test_a_guard_that_is_at_work_is_let_finish(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with running(tmp_path) as llmsup:
        llmsup.kill(guard=False)
        end_all(tmp_path)
        strays.wait_until_gone(llmsup.engine, llmsup.stray, llmsup.guard, seconds=0)
        assert told(caplog) == []
        assert not files(tmp_path)


def test_a_file_that_is_not_such_a_file_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor is one of another user heeded."""
    path = tmp_path / "children-of-bullerby"
    path.write_text("a novel\n")
    theirs = tmp_path / "children-0123456789"
    theirs.write_text("#0123456789\n")
    end_all(tmp_path)
    assert files(tmp_path) == [path]
    theirs.write_text("#0123456789\n")
    monkeypatch.setattr(os, "getuid", lambda: os.geteuid() + 1)
    end_all(tmp_path)
    assert theirs.exists()
    end_all(tmp_path / "nothing")


def test_who_runs_under_what_was_left_does_not_end_itself(tmp_path: Path) -> None:
    """The engine of a llmsup that is dead may be a llmsup."""
    ours = Inheritance()
    path = tmp_path / f"children-{ours.token}"
    path.write_text(f"#{ours.token}\n")
    program = (
        f"from pathlib import Path; from llmsup.process.leftovers import end_all; end_all(Path({str(tmp_path)!r}))"
    )
    env = ours.marked({**os.environ, "PYTHONPATH": str(ROOT)}, ours.mark())
    assert subprocess.run([sys.executable, "-c", program], env=env, timeout=PATIENCE, check=False).returncode == 0
    assert path.exists()


def test_a_state_dir_that_cannot_be_written_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").touch()
    with leftovers.Leftovers(tmp_path / "file" / "state", Inheritance(), tmp_path)._recorded():
        (line,) = told(caplog)
    assert "can't be written" in line


@pytest.mark.skipif(sys.platform != "linux", reason="limits are Linux's")
def test_a_mark_in_the_limits_is_read_as_it_was_written() -> None:
    """That of the environment, too; and nobody else's limit is taken for a mark."""
    ours = Inheritance()
    first, second = ours.mark(), ours.mark()
    with subprocess.Popen(["sleep", "600"], env={marks.MARK: f"outer.1.:{first}"}) as child:
        try:
            process = psutil.Process(child.pid)
            deadline = time.monotonic() + PATIENCE
            while (
                process.name() != "sleep" or not process.environ()
            ):  # an exec names it before its environment is there
                assert time.monotonic() < deadline
            assert set(marks.marks_of(process)) == {"outer.1.", first}
            for wrong in ("t.1.", f"{ours.token}.guard.", f"{ours.token}.{1 << 22}."):
                assert not marks.mark_limit(child.pid, wrong)
            assert marks.mark_limit(child.pid, second)
            assert set(marks.marks_of(process)) == {"outer.1.", first, second}
        finally:
            child.kill()


@pytest.mark.slow  # starts llmsup twice
def test_as_a_user_sees_it(tmp_path: Path) -> None:
    """`llmsup serve`, killed with its guard and started again: nothing runs twice."""
    config, record = tmp_path / "llmsup.toml", tmp_path / "record"
    command = [sys.executable, str(FAKE), "--socket", "${SOCKET}", "--record", str(record)]
    config.write_text(
        f"[server]\nstate_dir = {json.dumps(str(tmp_path / 'state'))}\n"
        f"[models.m]\ncommand = {json.dumps(command)}\npreload = true\n"
    )
    with _serve(config, tmp_path / "first") as first:
        _said(tmp_path / "first", "starting -> ready")
        engine = recorded(record, "start")[0]["pid"]
        guards = [child for child in psutil.Process(first.pid).children() if "guard.py" in " ".join(child.cmdline())]
        first.send_signal(signal.SIGSTOP)
        for guard in guards:
            guard.kill()
        first.kill()
        assert len(guards) == 1
        assert strays.runs(engine)
        with _serve(config, tmp_path / "second"):
            assert f"{engine} (" in _said(tmp_path / "second", "was killed left processes")
            assert not strays.runs(engine)


@contextlib.contextmanager
def _serve(config: Path, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    argv = [sys.executable, "-m", "llmsup", "serve", "--config", str(config), "--listen", "127.0.0.1:0"]
    env = {**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(config.parent), "XDG_RUNTIME_DIR": ""}
    with log.open("w") as out, subprocess.Popen(argv, stderr=out, env=env) as server:
        try:
            yield server
        finally:
            server.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                server.wait(PATIENCE)
            server.kill()


def _said(log: Path, words: str) -> str:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        for line in log.read_text().splitlines():
            if words in line:
                return line
        time.sleep(0.02)  # another process writes the file
    raise AssertionError(log.read_text())
