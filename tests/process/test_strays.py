"""What an engine starts ends with it, however far it went: real processes, real clock."""

from __future__ import annotations

import ast
import json
import logging
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import strays
import trio
from serving import FAKE, PATIENCE, fake, recorded, serving, until_recorded

from llmsup.config.schema import ModelSpec
from llmsup.process import child as child_module
from llmsup.process import guard
from llmsup.process.child import Child, run_child
from llmsup.process.kin import Row, members
from llmsup.process.orphans import Orphans
from llmsup.units import Seconds

ROOT = Path(__file__).parents[2]
GRACE = Seconds(0.3)
WAYS = {
    "group": strays.GROUP,
    "session": strays.SESSION,
    "daemon": strays.DAEMON,
    "single": strays.SINGLE,
    "wiped": strays.WIPED,
}
if sys.platform == "linux":  # where the mark is in its limits, too
    WAYS["wiped daemon"] = strays.WIPED_DAEMON


@pytest.fixture
async def orphans(tmp_path: Path) -> AsyncIterator[Orphans]:
    async with trio.open_nursery() as own:
        orphans = Orphans(tmp_path / "sockets")
        await own.start(orphans.run)
        yield orphans
        own.cancel_scope.cancel()


async def first_number(child: Child) -> int:
    with trio.fail_after(PATIENCE):
        pid = int(await anext(lines := child.lines()))
        await lines.aclose()
    return pid


@pytest.mark.slow
@pytest.mark.parametrize("how", WAYS)
async def test_who_leaves_the_group_ends_with_it(orphans: Orphans, how: str) -> None:
    env = orphans.inheritance.environment()
    async with run_child(strays.program(WAYS[how]), orphans=orphans, env=env, stop_grace=GRACE) as child:
        stray = await first_number(child)
        assert os.getpgid(stray) != child.pid or how == "daemon"
    assert not strays.runs(stray)
    assert child.left == ()


async def test_who_leaves_the_group_is_asked_first_and_has_its_time(orphans: Orphans, tmp_path: Path) -> None:
    """It may be what the engine really is: a shell with job control has only started it."""
    polite = (
        "import os,signal,sys,time\n"
        "os.setpgid(0, 0)\n"
        "signal.signal(signal.SIGTERM, lambda *_: (time.sleep(0.3), open(sys.argv[1],'w').write('bye'), os._exit(0)))\n"
        "print(os.getpid(), flush=True)\n"
        "time.sleep(600)\n"
    )
    script = f'"{sys.executable}" -c "$0" "$1" & wait'
    argv = ("sh", "-c", script, polite, str(tmp_path / "note"))
    env = orphans.inheritance.environment()
    async with run_child(argv, orphans=orphans, env=env, stop_grace=Seconds(PATIENCE)) as child:
        await first_number(child)
    assert (tmp_path / "note").read_text() == "bye"


async def test_who_cannot_be_ended_is_told(
    orphans: Orphans, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(child_module, "tell", lambda processes, number: None)
    monkeypatch.setattr(child_module, "SWEEP", 3)
    env = orphans.inheritance.environment()
    async with run_child(strays.program(strays.SESSION), orphans=orphans, env=env, stop_grace=GRACE) as child:
        stray = await first_number(child)
    try:
        assert [left.split()[0] for left in child.left] == [str(stray)]
        told = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
        assert len(told) == 1
        assert str(stray) in told[0]
    finally:
        os.kill(stray, signal.SIGKILL)


async def test_processes_that_cannot_be_looked_at_are_not_called_gone(
    orphans: Orphans, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_files(*_: object, **__: object) -> Any:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(child_module, "find", no_files)
    monkeypatch.setattr(child_module, "SWEEP", 0.2)
    env = orphans.inheritance.environment()
    async with run_child(("sleep", "600"), orphans=orphans, env=env, stop_grace=GRACE) as child:
        pass
    assert child.returncode == -signal.SIGTERM
    assert len(child.left) == 1


# However llmsup ends...

PARENT = """
import os, sys, trio
from pathlib import Path
from llmsup.process import subreaper
from llmsup.process.child import run_child
from llmsup.process.orphans import Orphans
from llmsup.units import Seconds

async def main():
    async with trio.open_nursery() as nursery:
        orphans = Orphans(Path(sys.argv[1]))
        await nursery.start(orphans.run)
        env = orphans.inheritance.environment()
        async with run_child(tuple(sys.argv[3:]), orphans=orphans, env=env, stop_grace=Seconds(0.3)) as child:
            async for line in child.lines():
                for _ in range(int(sys.argv[2])):
                    await orphans.look()
                print(line, flush=True)
                if sys.stdin.readline() == "leave\\n":
                    break
        print("left", child.left, flush=True)
        nursery.cancel_scope.cancel()

with subreaper.adopting():
    trio.run(main)
"""


def parent(tmp_path: Path, how: str, looks: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", PARENT, str(tmp_path), str(looks), *strays.program(how)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


@pytest.mark.slow
@pytest.mark.parametrize("how", WAYS)
def test_who_leaves_the_group_does_not_outlive_us(tmp_path: Path, how: str) -> None:
    """Killed outright: the guard finds them; one that wiped its environment, because its parents still lived."""
    with parent(tmp_path, WAYS[how], looks=0) as llmsup:
        try:
            assert llmsup.stdout is not None
            stray = int(llmsup.stdout.readline())
            llmsup.kill()
            strays.wait_until_gone(stray)
        finally:
            llmsup.kill()


linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux lets a process adopt orphans")


@pytest.mark.slow
@linux
@pytest.mark.parametrize(
    ("how", "end", "looks"),
    [
        pytest.param(strays.WIPED_DAEMON, "leave", 0, id="wiped-leave"),
        pytest.param(strays.WIPED_DAEMON, "kill", 0, id="wiped-kill"),
        pytest.param(strays.UNMARKED_DAEMON, "leave", 0, id="unmarked-leave"),
        pytest.param(strays.UNMARKED_DAEMON, "leave", 1, id="unmarked-seen-leave"),
        pytest.param(strays.UNMARKED_DAEMON, "kill", 1, id="unmarked-seen-kill"),  # unseen, the guard can't know it
    ],
)
def test_on_linux_nothing_gets_away(tmp_path: Path, how: str, end: str, looks: int) -> None:
    """A daemon that forked twice, has a session of its own and wiped its environment: we are its parent now. A
    look before the end is only needed if it got rid of the mark in its limits, and we are killed.
    """
    with parent(tmp_path, how, looks) as llmsup:
        try:
            assert llmsup.stdout is not None
            assert llmsup.stdin is not None
            stray = int(llmsup.stdout.readline())
            assert psutil.Process(stray).ppid() == llmsup.pid
            if end == "kill":
                llmsup.kill()
                strays.wait_until_gone(stray)
            else:
                llmsup.stdin.write("leave\n")
                llmsup.stdin.flush()
                assert llmsup.stdout.readline() == "left ()\n"
                assert not psutil.pid_exists(stray), "a zombie: it was adopted, and nobody reaped it"
                assert llmsup.wait(PATIENCE) == 0
        finally:
            llmsup.kill()


SEVERAL = """
import os, sys, trio
from pathlib import Path
from llmsup.process import subreaper
from llmsup.process.child import run_child
from llmsup.process.orphans import Orphans
from llmsup.units import Seconds

async def engine(orphans, argv, task_status):
    env = orphans.inheritance.environment()
    async with run_child(argv, orphans=orphans, env=env, stop_grace=Seconds(0.3)) as child:
        said = None if argv[0] == "sleep" else await anext(child.lines())
        with trio.CancelScope() as scope:
            ended = trio.Event()
            task_status.started((said, scope, child, ended))
            await trio.sleep_forever()
    ended.set()

async def end(of):
    _, scope, child, ended = of
    scope.cancel()
    await ended.wait()
    return child.left

async def main():
    async with trio.open_nursery() as nursery:
        orphans = Orphans(Path(sys.argv[1]))
        await nursery.start(orphans.run)
        start = lambda *argv: nursery.start(engine, orphans, argv)
        for step in sys.argv[3:]:
            if step == "one":
                one = await start(*eval(sys.argv[2]))
            elif step == "other":
                other = await start("sleep", "600")
            elif step == "end one":
                left = await end(one)
            elif step == "end other":
                await end(other)
        print([one[0], other[2].returncode, left], flush=True)
        sys.stdin.readline()
        nursery.cancel_scope.cancel()

with subreaper.adopting():
    trio.run(main)
"""


@linux
@pytest.mark.parametrize(
    ("how", "steps", "ends", "told"),
    [
        (strays.WIPED_DAEMON, ("other", "one", "end one"), True, False),
        (strays.UNMARKED_DAEMON, ("one", "other", "end one"), True, False),  # the other came later than the stray
        (strays.UNMARKED_DAEMON, ("other", "one", "end other", "end one"), True, False),
        (strays.UNMARKED_DAEMON, ("other", "one", "end one"), False, True),  # it may be the other's
        (strays.UNMARKED_DAEMON, ("other", "one", "end one", "end other"), True, True),
    ],
)
def test_among_several_only_what_is_known_to_be_its_own_ends(
    tmp_path: Path, how: str, steps: tuple[str, ...], ends: bool, told: bool
) -> None:
    """Where it can't be told whose a stray is, it is said so, and it ends with the last that may have started it."""
    argv = [sys.executable, "-c", SEVERAL, str(tmp_path), repr(strays.program(how)), *steps]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env) as llmsup:
        try:
            assert llmsup.stdout is not None
            said, other, left = ast.literal_eval(llmsup.stdout.readline())
            assert [each.split()[0] for each in left] == [said] * told
            assert all(each.endswith("unless another engine started it") for each in left)
            assert (other is None) == ("end other" not in steps), "the other engine was ended, too"
            if ends:
                strays.wait_until_gone(int(said))
            else:
                assert strays.runs(int(said))
            llmsup.communicate("\n", PATIENCE)
            strays.wait_until_gone(int(said))
        finally:
            llmsup.kill()


def test_the_guard_ends_groups_even_without_psutil() -> None:
    """psutil is being upgraded: its folder is missing for a moment."""
    with (
        subprocess.Popen(["sleep", "600"], start_new_session=True) as engine,
        subprocess.Popen([sys.executable, "-I", "-S", guard.__file__], stdin=subprocess.PIPE, text=True) as alone,
    ):
        try:
            assert alone.stdin is not None
            alone.stdin.write(f"#x\n={os.getpid()}\nnonsense\n+{engine.pid}\n")
            alone.stdin.close()
            assert engine.wait(PATIENCE) == -signal.SIGTERM
            assert alone.wait(PATIENCE) == 0
        finally:
            engine.kill()
            alone.kill()


# Whose somebody is...


def test_members_are_found_by_group_session_descent_and_mark() -> None:
    rows = [
        Row(10, 1, 10, 10),  # the leader
        Row(11, 10, 11, 10),  # job control
        Row(12, 11, 12, 12, ("",)),  # below it, in a session of its own
        Row(13, 1, 13, 13, ("outer.1.", "t.1.")),  # a daemon, that has the mark
        Row(14, 13, 14, 14),  # and its child
        Row(15, 1, 15, 15, ("t.12.",)),  # another engine's
        Row(16, 1, 16, 16),  # somebody else
        Row(17, 16, 17, 17),
        Row(18, 1, 18, 18),  # seen to come from it earlier
    ]
    assert members(rows, (10,)) == {10, 11, 12}
    assert members(rows, (10,), mark="t.1.", known=(18,)) == {10, 11, 12, 13, 14, 18}
    assert members(rows, (), mark="t.") == {13, 14, 15}
    assert members([], (10,), mark="t.1.") == frozenset()


# As users see it...


@pytest.mark.skipif(not shutil.which("bash"), reason="there is no bash")
async def test_an_unload_ends_a_server_behind_job_control(tmp_path: Path) -> None:
    """The case that was reported: `bash -c "set -m; server & wait"`."""
    record = tmp_path / "record"
    words = f"{sys.executable} {FAKE} --socket ${{SOCKET}} --record {record}"
    spec = ModelSpec(name="m", command=("bash", "-c", f"set -m; {words} & wait"), stop_grace=Seconds(5))
    async with serving(spec) as served:
        assert (await served.client.chat("m")).status == 200
        pid = recorded(record, "start")[0]["pid"]
        assert pid != served.model("m").run.engine.pid  # type: ignore[union-attr]  # it is loaded
        assert (await served.client.post("/models/unload", model="m")).json["success"] is True
        assert not strays.runs(pid)


async def test_a_command_that_goes_into_the_background_is_told_so(tmp_path: Path) -> None:
    record = tmp_path / "record"
    words = [sys.executable, str(FAKE), "--socket", "${SOCKET}", "--record", str(record), "--load-time", "600"]
    program = f"import subprocess; subprocess.Popen({words}, start_new_session=True)"
    waits = f"\nimport os,time\nwhile not os.path.exists({str(record)!r}): time.sleep(0.01)"
    spec = ModelSpec(name="m", command=(sys.executable, "-c", program + waits))
    async with serving(spec) as served:
        got = await served.client.chat("m")
        pid = (await until_recorded(record, "start"))[0]["pid"]
        assert (got.status, got.error["code"]) == (503, "model_failed")
        assert f"left process {pid} " in got.error["message"]
        assert "in the foreground" in got.error["message"]
        assert not strays.runs(pid)


async def test_an_unload_that_leaves_somebody_is_no_success(tmp_path: Path) -> None:
    """What runs elsewhere (in a container, say) is no process that we could find, but it answers still."""
    answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}"

    async def elsewhere(stream: trio.SocketStream) -> None:
        async with stream:
            await stream.receive_some()
            await stream.send_all(answer)

    spec = ModelSpec(name="m", command=("sh", "-c", "exec sleep 600", "${PORT}"), stop_grace=Seconds(5))
    async with serving(spec, fake("well")) as served, trio.open_nursery() as nursery:
        assert (await served.client.post("/models/load", model="m", wait=False)).status == 200
        await served.until("m", lambda model: model.run and model.run.engine)
        run = served.model("m").run
        assert run is not None
        assert run.engine is not None
        port = run.engine.launch.address.port  # type: ignore[union-attr]  # a command has a TCP port
        await nursery.start(trio.serve_tcp, elsewhere, port)
        await served.until("m", lambda model: model.state == "ready")
        assert (await served.client.chat("well")).status == 200
        got = await served.client.post("/models/unload", all=True)
        assert (got.status, got.error["code"]) == (500, "still_running")
        assert f"127.0.0.1:{port}" in got.error["message"]
        assert not served.fleet.running()
        assert json.loads(got.body)
        nursery.cancel_scope.cancel()
