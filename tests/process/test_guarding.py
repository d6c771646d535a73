"""Nothing about the guard may end llmsup, and there is always one that knows everything."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
import strays
import trio
from serving import PATIENCE

from llmsup.process import guarding
from llmsup.process.child import run_child
from llmsup.process.orphans import Orphans
from llmsup.units import Seconds

ROOT = Path(__file__).parents[2]

PARENT = """
import os, signal, sys, trio
from pathlib import Path
from llmsup.process import guarding
from llmsup.process.child import run_child
from llmsup.process.orphans import Orphans
from llmsup.units import Seconds

guarding.LONGEST_PAUSE = guarding.FIRST_PAUSE = 0.001
KILLS, AT_ONCE = 12, 4

async def main():
    orphans = Orphans(Path(sys.argv[1]))
    env = orphans.inheritance.environment()

    async def engine(task_status):
        async with run_child(("sleep", "600"), orphans=orphans, env=env, stop_grace=Seconds(1)) as child:
            task_status.started(child.pid)
            await trio.sleep_forever()

    async def come_and_go():
        while True:
            async with run_child(("true",), orphans=orphans, env=env, stop_grace=Seconds(1)) as child:
                await child.wait()

    async with trio.open_nursery() as nursery:
        await nursery.start(orphans.run)
        for _ in range(AT_ONCE):
            nursery.start_soon(come_and_go)
        for _ in range(KILLS):
            print(await nursery.start(engine), flush=True)
            while (pid := orphans.guard_pid) is None:
                await trio.sleep(0)
            os.kill(pid, signal.SIGKILL)
            while orphans.guard_pid in (None, pid):
                await trio.sleep(0.001)
        print("done", flush=True)
        await trio.sleep_forever()

trio.run(main)
"""


@pytest.mark.slow  # starts guards and engines again and again
def test_a_guard_that_is_killed_while_engines_come_and_go(tmp_path: Path) -> None:
    """Again and again: llmsup lives, and when it is killed itself, the last guard knows every engine."""
    argv = [sys.executable, "-c", PARENT, str(tmp_path / "sockets")]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, env=env) as llmsup:
        try:
            out = llmsup.stdout
            assert out is not None
            engines = list(map(int, iter(lambda: out.readline().removeprefix("done").strip(), "")))
            assert len(engines) == 12
            assert all(map(strays.runs, engines))
            llmsup.kill()
            strays.wait_until_gone(*engines)
        finally:
            llmsup.kill()


@pytest.mark.parametrize("python", ["/nowhere/python", "/bin/false"])
async def test_a_guard_that_cannot_be_had_is_told_and_tried_again(
    tmp_path: Path, python: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A Python that was upgraded under our feet, say: engines run all the same, and once there is one it knows them."""
    monkeypatch.setattr(guarding, "PATIENCE", Seconds(0.2))
    monkeypatch.setattr(guarding, "LONGEST_PAUSE", 0.05)
    link = tmp_path / "python"
    link.symlink_to(python)
    orphans = Orphans(tmp_path / "sockets", python=str(link))
    async with trio.open_nursery() as nursery:
        with trio.fail_after(PATIENCE):
            await nursery.start(orphans.run)
        env = orphans.inheritance.environment()
        async with run_child(("sleep", "600"), orphans=orphans, env=env, stop_grace=Seconds(1)) as child:
            with trio.fail_after(PATIENCE):
                while "starting another" not in caplog.text:  # noqa: ASYNC110 -- a log can only be looked at
                    await trio.sleep(0.01)
            link.unlink()
            link.symlink_to(sys.executable)
            with trio.fail_after(PATIENCE):
                await guard_that_runs(orphans)
            # What the new guard was told is in its pipe: closing that ends the engine.
            os.kill(child.pid, 0)
            nursery.cancel_scope.cancel()
            with trio.CancelScope(shield=True), trio.fail_after(PATIENCE):
                assert await child.wait() == -signal.SIGTERM


async def guard_that_runs(orphans: Orphans) -> None:
    """Wait for one that is what it should be: /bin/false is started with the same words."""
    while True:
        pid = orphans.guard_pid
        if pid is not None and await trio.to_thread.run_sync(_is_guard, pid):
            return
        await trio.sleep(0.01)


def _is_guard(pid: int) -> bool:
    try:
        process = psutil.Process(pid)
        return "guard.py" in " ".join(process.cmdline()) and os.path.samefile(process.exe(), sys.executable)
    except (psutil.Error, OSError):
        return False
