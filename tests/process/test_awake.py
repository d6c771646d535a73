"""The machine stays awake while there is something to do; the system's program is a stand-in on PATH, taking notes."""

from __future__ import annotations

import logging
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import psutil
import pytest
import trio
import trio.testing
from fake_peers import with_peers
from serving import PATIENCE, fake, serving

from llmsup.config.schema import Server
from llmsup.peers.offer import Offer
from llmsup.process import awake
from llmsup.process.awake import KeepAwake, commands
from llmsup.process.orphans import Orphans
from llmsup.process.watched import Watched
from llmsup.units import Seconds

BUSY = Seconds(600)
PROGRAM = '#!/bin/sh\necho "$$ $*" >> "{notes}"\n{rest}\n'


class StandIn:
    """A program of that name which is found first, and what it was started with."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder / "bin"
        self.folder.mkdir()
        self.notes = folder / "notes"
        self.notes.touch()
        monkeypatch.setenv("PATH", f"{self.folder}:{os.environ['PATH']}")

    def put(self, name: str, rest: str = "exec cat") -> None:
        program = self.folder / name
        program.write_text(PROGRAM.format(notes=self.notes, rest=rest))
        program.chmod(0o755)

    @property
    def starts(self) -> list[tuple[int, str]]:
        lines = [line.partition(" ") for line in self.notes.read_text().splitlines()]
        return [(int(pid), words) for pid, _, words in lines]

    async def until_started(self, count: int = 1) -> list[tuple[int, str]]:
        with trio.fail_after(PATIENCE):
            while len(self.starts) < count:  # noqa: ASYNC110 -- it is a file
                await trio.sleep(0.01)
        return self.starts


async def until_gone(pid: int) -> None:
    with trio.fail_after(PATIENCE):
        while psutil.pid_exists(pid):  # noqa: ASYNC110 -- it is not ours to wait for
            await trio.sleep(0.01)


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StandIn:
    return StandIn(tmp_path, monkeypatch)


class Work(Watched):
    """Something to do, or not."""

    def __init__(self) -> None:
        super().__init__()
        self.busy = False
        self.wanted = True

    def becomes(self, *, busy: bool) -> None:
        self.busy = busy
        self.notify()


@asynccontextmanager
async def keeping(tmp_path: Path, work: Work, platform: str, *, linger: float = 0) -> AsyncIterator[KeepAwake]:
    orphans = Orphans(tmp_path / "sockets")
    keep = KeepAwake(
        orphans, wanted=lambda: work.wanted, busy=lambda: work.busy, announced=(work,),
        linger=Seconds(linger), every=Seconds(0.01), argvs=commands(platform, os.getpid()),
    )  # fmt: skip
    async with trio.open_nursery() as nursery:
        await nursery.start(orphans.run)
        async with trio.open_nursery() as inner:
            await inner.start(keep.run)
            yield keep
            inner.cancel_scope.cancel()
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("platform", "program", "words"),
    [
        ("darwin", "caffeinate", f"-i -w {os.getpid()}"),
        (
            "linux",
            "systemd-inhibit",
            "--what=idle:sleep --who=llmsup --why=a language model is at work --mode=block cat",
        ),
    ],
    ids=["darwin", "linux"],
)
async def test_it_runs_while_there_is_something_to_do(
    platform: str, program: str, words: str, stand_in: StandIn, tmp_path: Path
) -> None:
    """And ends when there is nothing any more, or with us."""
    stand_in.put(program)
    work = Work()
    async with keeping(tmp_path, work, platform):
        await trio.testing.wait_all_tasks_blocked(0.05)
        assert not stand_in.starts
        work.becomes(busy=True)
        [(pid, said)] = await stand_in.until_started()
        assert said == words
        work.becomes(busy=False)
        await until_gone(pid)
        work.becomes(busy=True)
        pid = (await stand_in.until_started(2))[1][0]
        assert psutil.pid_exists(pid)
    await until_gone(pid)


async def test_short_requests_share_one(stand_in: StandIn, tmp_path: Path) -> None:
    """It lingers."""
    stand_in.put("caffeinate")
    work = Work()
    async with keeping(tmp_path, work, "darwin", linger=BUSY):
        for _ in range(5):
            work.becomes(busy=True)
            await stand_in.until_started()
            work.becomes(busy=False)
            await trio.sleep(0.03)
        assert len(stand_in.starts) == 1
        work.wanted = False
        await until_gone(stand_in.starts[0][0])
        work.becomes(busy=True)
        await trio.testing.wait_all_tasks_blocked(0.05)
        assert len(stand_in.starts) == 1
        work.wanted = True
        work.notify()
        await stand_in.until_started(2)


async def test_one_that_may_not_hold_back_everything_tries_less(stand_in: StandIn, tmp_path: Path) -> None:
    """A service may not keep the machine from being put to sleep, but may keep it from counting as idle."""
    stand_in.put("systemd-inhibit", 'case "$1" in *sleep*) echo no; exit 1;; esac; exec cat')
    work = Work()
    async with keeping(tmp_path, work, "linux"):
        work.becomes(busy=True)
        starts = await stand_in.until_started(2)
        assert [said.split()[0] for _, said in starts] == ["--what=idle:sleep", "--what=idle"]
        assert psutil.pid_exists(starts[1][0])


@pytest.mark.parametrize("rest", [None, "echo refused; exit 1"], ids=["absent", "refused"])
async def test_where_it_cannot_be_done(
    rest: str | None,
    stand_in: StandIn,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """One line for those who look closely, and nothing more is tried."""
    caplog.set_level(logging.DEBUG, "llmsup")
    if rest is None:
        monkeypatch.setenv("PATH", str(stand_in.folder))
    else:
        stand_in.put("systemd-inhibit", rest)
    work = Work()
    async with keeping(tmp_path, work, "linux") as keep:
        work.becomes(busy=True)
        with trio.fail_after(PATIENCE):
            while keep._holding:  # noqa: ASYNC110 -- nobody else wants to know
                await trio.sleep(0.01)
        work.becomes(busy=False)
        await trio.sleep(0.05)
        work.becomes(busy=True)
        await trio.testing.wait_all_tasks_blocked(0.05)
    assert len(stand_in.starts) == (0 if rest is None else 2)
    said = [(record.levelno, record.message) for record in caplog.records if record.name.endswith("awake")]
    assert [level for level, _ in said] == [logging.DEBUG]
    assert ("no such program" if rest is None else "refused") in said[0][1]


@pytest.mark.road("fast")
async def test_a_request_that_a_peer_serves_keeps_it_awake_too(
    stand_in: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its answer comes through here."""
    stand_in.put("caffeinate")
    monkeypatch.setattr(awake, "commands", lambda _platform, pid: commands("darwin", pid))
    async with with_peers(monkeypatch, names="studio") as (served, machines, look):
        machines["studio"].offers(Offer(name="far", loaded=True))
        machines["studio"].does = "waits"
        look()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(served.client.chat, "far")
            [(pid, _)] = await stand_in.until_started()
            assert psutil.Process(pid).is_running()
            machines["studio"].goes_on.set()
        assert not served.tree.serving.busy
    assert not psutil.pid_exists(pid)


def test_other_systems_have_none() -> None:
    assert commands("freebsd14", 1) == ()


@pytest.mark.road("fast")
@pytest.mark.parametrize("wanted", [True, False])
async def test_a_request_and_a_load_keep_it_awake(
    wanted: bool, stand_in: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A look doesn't; and nothing does if it is switched off."""
    stand_in.put("caffeinate")
    monkeypatch.setattr(awake, "commands", lambda _platform, pid: commands("darwin", pid))
    async with serving(fake("m"), fake("slow", "--never-ready"), server=Server(keep_awake=wanted)) as served:
        assert not served.fleet.at_work
        assert (await served.client.get("/slots?model=m")).status == 503
        assert not stand_in.starts
        served.fleet.load(served.model("slow"))
        await served.until("slow", lambda model: model.state == "starting")
        assert served.fleet.at_work
        if wanted:
            [(pid, _)] = await stand_in.until_started()
            assert psutil.Process(pid).is_running()
        assert (await served.client.chat("m")).status == 200
        await served.client.post("/models/unload", all=True)
        assert not served.fleet.at_work
    assert len(stand_in.starts) == int(wanted)
    if wanted:
        await until_gone(pid)
