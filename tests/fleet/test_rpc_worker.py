"""One worker's instances: who gets which, when they end, and what comes of those that die."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import trio
from attrs import evolve

from llmsup.config.live import LiveConfig
from llmsup.config.schema import Config, MiB, ModelSpec, RpcSpec
from llmsup.engines.devices import Device
from llmsup.errors import Error, SetupError
from llmsup.fleet.model.run import Run
from llmsup.fleet.rpc.command import way
from llmsup.fleet.rpc.instance import Instance
from llmsup.fleet.rpc.worker import Worker
from llmsup.fleet.rpc.workers import Workers
from llmsup.memory.amounts import Amounts
from llmsup.process.logbook import LogBook
from llmsup.process.orphans import Orphans
from llmsup.process.ring import Events
from llmsup.units import Bytes, Seconds

FAKE = str(Path(__file__).parents[1] / "helpers" / "fake_worker.py")
BOX = RpcSpec(name="box", command=(sys.executable, FAKE, "${PORT}"), stop_grace=Seconds(2))
PATIENCE = 30
"""Seconds after which a test counts as hung."""


class Setting:
    """A worker in a llmsup that has nothing else."""

    def __init__(self, nursery: trio.Nursery, orphans: Orphans) -> None:
        self.events = Events()
        self.died: list[tuple[str, str]] = []
        self.devices: tuple[Device, ...] | None = None
        self._nursery = nursery
        self._orphans = orphans

    def worker(self, **spec: Any) -> Worker:
        def died(worker: Worker, instance: Instance) -> None:
            self.died.append((worker.name, instance.user))

        book = LogBook(100)
        return Worker(evolve(BOX, **spec), self._nursery, self._orphans, book, self.events, self.ask, died)

    async def ask(self, address: str) -> tuple[Device, ...] | None:
        await trio.lowlevel.checkpoint()
        return self.devices

    @property
    def told(self) -> list[str]:
        """The states that were told."""
        return [each.data["state"] for each in self.events.tail()]


@pytest.fixture
async def setting(nursery: trio.Nursery, tmp_path: Path) -> AsyncIterator[Setting]:
    async with trio.open_nursery() as own:
        orphans = Orphans(tmp_path / "sockets")
        await own.start(orphans.run)
        async with trio.open_nursery() as workers:
            with trio.fail_after(PATIENCE):
                yield Setting(workers, orphans)
            workers.cancel_scope.cancel()
        own.cancel_scope.cancel()


async def test_each_model_has_a_process_of_its_own(setting: Setting) -> None:
    """An idle one is used again, one in use is not given to another; what they log of connections is left out."""
    worker = setting.worker()
    await worker.answers()
    await worker.answers()
    one, other = await worker.acquire("one"), await worker.acquire("other")
    assert one is not other
    assert one.pid != other.pid
    assert [each.user for each in worker.instances] == ["one", "other"]
    worker.released(one)
    assert await worker.acquire("third") is one
    assert setting.told == ["starting", "up"]
    assert worker.on_host
    assert not [line for line in worker.book.tail() if "client connection" in line]


async def test_it_ends_when_no_model_has_used_it_for_its_ttl(setting: Setting) -> None:
    worker = setting.worker(ttl=Seconds(0.05))
    used = await worker.acquire("m")
    await trio.sleep(0.2)  # longer than its ttl
    assert not used.over
    worker.released(used)
    await worker.until(lambda: worker.state == "stopped")
    assert "no model has used it" in worker.reason
    assert not worker.instances


async def test_one_that_dies_is_told_and_started_again(setting: Setting) -> None:
    """Until it has died too often: then it is left alone for a while, and who wants it is told at once."""
    worker = setting.worker()
    for number in range(5):
        if number == 4:
            with pytest.raises(SetupError, match=r"it was killed by SIGKILL, too often .*; it is tried again in"):
                await worker.acquire("m")
            break
        instance = await worker.acquire("m")
        assert instance.pid is not None
        os.kill(instance.pid, signal.SIGKILL)
        await worker.until(lambda: not worker.instances)
    assert setting.died == [("box", "m")] * 4
    assert (worker.state, worker.restarts) == ("failed", 4)


async def test_one_that_cannot_start(setting: Setting) -> None:
    """With its last words; it isn't tried again at once."""
    worker = setting.worker(command=(*BOX.command, "--complain", "no such device"))
    for _ in range(2):
        with pytest.raises(SetupError, match="it exited with code 3 before it answered") as caught:
            await worker.answers()
        assert "no such device" in caught.value.log_tail
    assert setting.told == ["starting", "failed"]
    assert worker.retry_in > 0
    missing = setting.worker(command=("/no/such/worker", "${PORT}"))
    with pytest.raises(Error, match="there is no such program"):
        await missing.answers()


async def test_one_that_ends_as_soon_as_it_answered(setting: Setting) -> None:
    """That is no start: it isn't tried over and over."""
    worker = setting.worker()

    async def ask(_address: str) -> None:
        (instance,) = worker.instances
        assert instance.pid is not None
        os.kill(instance.pid, signal.SIGKILL)
        await instance.until(lambda: instance.over)

    worker._ask = ask
    with pytest.raises(SetupError, match="it was killed by SIGKILL as soon as it had answered"):
        await worker.acquire("m")
    assert worker.state == "failed"


async def test_one_that_llama_server_cannot_talk_to(setting: Setting) -> None:
    setting.devices = ()
    with pytest.raises(SetupError, match="it may be of another version"):
        await setting.worker().answers()


async def test_an_idle_one_is_asked_before_it_is_used(setting: Setting) -> None:
    """One that doesn't answer any more is replaced."""
    worker = setting.worker()
    await worker.answers()
    (before,) = worker.instances

    async def ask(_address: str) -> tuple[Device, ...]:
        await trio.lowlevel.checkpoint()
        return () if worker.instances == [before] else (Device("RPC0", "x", Bytes(9), Bytes(8)),)

    before._ask = worker._ask = ask
    await worker.answers()
    assert before.over == "it doesn't answer any more"
    assert before not in worker.instances
    assert worker.capacity == 8


async def test_a_bug_in_a_watch_ends_only_its_worker(setting: Setting) -> None:
    worker = setting.worker()

    async def ask(_address: str) -> None:
        raise RuntimeError("a bug")

    worker._ask = ask
    with pytest.raises(SetupError, match="a bug in llmsup ended its watch"):
        await worker.answers()
    assert (worker.state, worker.instances) == ("failed", [])


async def test_a_bug_in_the_watch_of_one_that_runs_already(
    setting: Setting, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def until_gone(_address: str) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr("llmsup.fleet.rpc.workers.until_gone", until_gone)
    spec = RpcSpec(name="near", url="127.0.0.1:1")
    workers = Workers(
        LiveConfig(Config(rpc={"near": spec})), Orphans(tmp_path), LogBook(9), setting.events, setting.ask
    )
    async with trio.open_nursery() as nursery:
        await nursery.start(workers.run)
        worker = workers.all["near"]
        instance = Instance(spec, way(spec), LogBook(9), setting.ask, lambda _gone: None)
        await workers._sense_one(worker, instance)
        assert "it can't be watched" in instance.over
        nursery.cancel_scope.cancel()


async def test_one_that_says_nothing(setting: Setting) -> None:
    silent = setting.worker(command=("/bin/sh", "-c", "sleep 60", "${PORT}"), start_timeout=Seconds(0.2))
    with pytest.raises(SetupError, match=r"it did not answer within 0.20 s \(start_timeout\)"):
        await silent.answers()
    assert not silent.instances


async def test_nobody_waits_for_a_start_any_more(setting: Setting) -> None:
    """It is ended; whoever wants the worker next starts it anew."""
    slow = setting.worker(command=("/bin/sh", "-c", "sleep 60", "${PORT}"))
    with trio.move_on_after(0.2):
        await slow.answers()
    assert not slow.instances
    assert slow.state == "stopped"


async def test_what_it_has(setting: Setting) -> None:
    """What it said when nothing was on it; a configured size wins."""
    setting.devices = (Device("RPC0", "x", Bytes(9 * MiB), Bytes(7 * MiB)), Device("RPC1", "x", Bytes(2), Bytes(1)))
    worker = setting.worker()
    await worker.acquire("one")
    setting.devices = (Device("RPC0", "x", Bytes(9 * MiB), Bytes(2 * MiB)),)
    await worker.acquire("other")
    assert worker.capacity == 7 * MiB + 1
    assert setting.worker(memory=Bytes(5)).capacity == 5


async def test_a_changed_config(setting: Setting) -> None:
    """What no model uses ends at once, the rest when they have left it."""
    worker = setting.worker()
    used, idle = await worker.acquire("m"), await worker.acquire("n")
    worker.released(idle)
    worker.retire()
    assert (used.over, idle.over) == ("", "the config has changed")
    worker.released(used)
    assert used.over == "the config has changed"


async def test_a_model_with_a_new_name_is_called_by_that(setting: Setting) -> None:
    config = LiveConfig(Config(rpc={"box": BOX}))
    workers = Workers(config, setting._orphans, LogBook(9), setting.events, setting.ask)

    async def until(_condition: object) -> None:
        await trio.sleep_forever()

    model: Any = SimpleNamespace(spec=ModelSpec(name="old", rpc=("box",)), until=until)
    async with trio.open_nursery() as nursery:
        await nursery.start(workers.run)
        async with workers.held(model, Run()):
            (instance,) = workers.all["box"].instances
            assert workers.user(instance) == "old"
            model.spec = evolve(model.spec, name="new")
            assert workers.user(instance) == "new"
        assert workers.user(instance) is None
        nursery.cancel_scope.cancel()


async def test_what_a_model_leaves_no_room_for(setting: Setting, tmp_path: Path) -> None:
    """All of a worker that serves one engine at a time; and this machine's memory, where the worker computes there."""
    specs = {
        "near": RpcSpec(name="near", url="127.0.0.1:1", memory=Bytes(100)),
        "unknown": RpcSpec(name="unknown", url="127.0.0.1:1"),
        "box": BOX,
    }
    workers = Workers(LiveConfig(Config(rpc=specs)), Orphans(tmp_path), LogBook(9), setting.events, setting.ask)
    async with trio.open_nursery() as nursery:
        await nursery.start(workers.run)
        assert {name: pool.total for name, pool in workers.pools().items()} == {"rpc:near": 100, "rpc:unknown": 1}
        workers.all["box"].on_host = True
        cost = Amounts({"host": 5, "rpc:near": 30, "rpc:box": 7, "rpc:unknown": 2, "gpu0": 3})
        expected = Amounts({"host": 12, "rpc:near": 100, "rpc:box": 7, "rpc:unknown": 2, "gpu0": 3})
        assert workers.counted(cost) == expected
        nursery.cancel_scope.cancel()
