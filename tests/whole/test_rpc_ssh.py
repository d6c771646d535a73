"""RPC workers on another machine, as far as the network goes: over real ssh, on real workers."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import psutil
import pytest
import trio
from far_machine import FarMachine, far_machine
from real_engines import rpc_server
from rpc_setting import begun, llmsup, model, said, told, worker
from serving import PATIENCE

from llmsup.config.schema import MiB, RpcSpec


@pytest.fixture
def far(tmp_path: Path) -> Iterator[FarMachine]:
    with far_machine(tmp_path) as made:
        yield made


def workers_in(far: FarMachine) -> list[psutil.Process]:
    """The RPC workers in its network."""

    def network(pid: int) -> str:
        return os.readlink(f"/proc/{pid}/ns/net")

    found = []
    for each in psutil.process_iter(["name", "pid"]):
        try:
            if each.info["name"] == rpc_server().name and network(each.pid) == network(far.pid):
                found.append(each)
        except OSError:  # it has just ended
            continue
    return found


def listening_in(far: FarMachine) -> set[str]:
    """Where anything listens in its network (proc(5), /proc/net/tcp; state 0A)."""
    rows = [line.split() for line in Path(f"/proc/{far.pid}/net/tcp").read_text().splitlines()[1:]]
    places = [row[1].split(":") for row in rows if row[3] == "0A"]
    return {"sshd" if port == "0016" else str(ip_address(bytes.fromhex(at)[::-1])) for at, port in places}


async def until_none(far: FarMachine) -> None:
    with trio.fail_after(PATIENCE):
        while workers_in(far):  # noqa: ASYNC110 -- they aren't our children
            await trio.sleep(0.02)


async def test_a_worker_that_is_started_and_reached_by_ssh(far: FarMachine) -> None:
    """The same tokens as here; it listens on its own loopback only, and goes with the model; when it dies that is
    told, and both come back."""
    there = worker("box", ssh=far.ssh)
    async with llmsup(model("here"), model("there", "box"), workers=(there,)) as served:
        assert await said(served, "there") == await said(served, "here")
        seen = (await told(served))["box"]
        assert (seen["state"], seen["ssh"]) == ("up", "box")
        assert 90 * MiB < seen["used_bytes"] < 150 * MiB < seen["memory_bytes"]
        (process,) = workers_in(far)
        assert listening_in(far) == {"127.0.0.1", "sshd"}
        async with served.client.stream("there", max_tokens=400, temperature=0) as pieces:
            await begun(pieces)
            process.send_signal(signal.SIGKILL)
            assert "its RPC worker box died" in error_in([piece async for piece in pieces])["message"]
        assert await said(served, "there")
        assert len(workers_in(far)) == 1
    await until_none(far)


async def test_a_worker_that_runs_there_already(far: FarMachine) -> None:
    """Only the tunnel is llmsup's."""
    inside = ("nsenter", "--net", "--target", str(far.pid), "--")
    process = await trio.lowlevel.open_process([*inside, str(rpc_server()), "-H", "127.0.0.1", "-p", "50052"])
    try:
        with trio.fail_after(PATIENCE):
            while not workers_in(far):  # noqa: ASYNC110 -- nothing tells
                await trio.sleep(0.02)
        at = RpcSpec(name="box", url="127.0.0.1:50052", ssh=far.ssh)
        async with llmsup(model("here"), model("there", "box"), workers=(at,)) as served:
            assert await said(served, "there") == await said(served, "here")
            async with served.client.stream("there", max_tokens=400, temperature=0) as pieces:
                await begun(pieces)
                process.kill()
                assert "its RPC worker box died" in error_in([piece async for piece in pieces])["message"]
    finally:
        process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()


async def test_a_cut_cable_is_a_worker_lost(far: FarMachine) -> None:
    """Neither side can tell the other; both notice, and neither leaves anything behind. Each model is told."""
    box = worker("box", ssh=far.ssh)
    async with (
        llmsup(model("one", "box"), model("other", "box"), workers=(box,)) as served,
        served.client.stream("one", max_tokens=400, temperature=0) as first,
        served.client.stream("other", max_tokens=400, temperature=0) as second,
    ):
        await begun(first)
        await begun(second)
        assert len(workers_in(far)) == 2
        far.cut()
        for name, pieces in (("one", first), ("other", second)):
            what = error_in([piece async for piece in pieces])["message"]
            assert what.startswith(f"The engine of {name} was ended: its RPC worker box died")
    await until_none(far)


async def test_a_machine_that_does_not_let_us_in(far: FarMachine, tmp_path: Path) -> None:
    """What ssh said is passed on, and nobody is asked for a password."""
    (tmp_path / "authorized").write_text("")
    async with llmsup(model("there", "box"), workers=(worker("box", ssh=far.ssh),)) as served:
        got = await served.client.chat("there", max_tokens=1)
        assert (got.status, got.error["code"]) == (503, "model_failed")
        assert "its RPC worker box can't be used" in got.error["message"]
        assert any("Permission denied" in line for line in got.error["log_tail"])


def error_in(pieces: list[bytes]) -> dict[str, Any]:
    error: dict[str, Any] = json.loads(b"".join(pieces).split(b"data: ")[-1])["error"]
    return error
