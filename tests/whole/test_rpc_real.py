"""Models on real RPC workers: started, used, lost, shared; and reached over ssh from another network."""

from __future__ import annotations

import json
import os
import signal
import sys

import psutil
import pytest
import trio
from attrs import evolve
from real_engines import rpc_server
from rpc_setting import begun, llmsup, model, open_worker, said, told, worker
from serving import PATIENCE

from llmsup.config.schema import MiB, PromptCacheSpec, RpcSpec
from llmsup.fleet.model.states import State
from llmsup.units import Bytes, Seconds


async def gone(pid: int) -> None:
    with trio.fail_after(PATIENCE):
        while psutil.pid_exists(pid):  # noqa: ASYNC110 -- it isn't our child's only sign
            await trio.sleep(0.01)


async def test_the_same_tokens_as_here() -> None:
    """A model on a worker answers as it does without; what is there is counted there, and the worker goes with its
    ttl once no model has it."""
    short = worker("box", ttl=Seconds(0.2))
    async with llmsup(model("here"), model("there", "box"), workers=(short,)) as served:
        assert (await told(served))["box"]["state"] == "stopped"
        assert await said(served, "there") == await said(served, "here")
        (entry,) = [each for each in (await served.client.get("/running")).json if each["model"] == "there"]
        seen = (await told(served))["box"]
        assert entry["workers"] == ["box"]
        assert seen["state"] == "up"
        assert seen["models"] == ["there"]
        assert 90 * MiB < seen["used_bytes"] < 150 * MiB < seen["memory_bytes"]
        assert f"--rpc {seen['processes'][0]['address']} " in entry["cmd"]
        metrics = (await served.client.get("/metrics")).body.decode()
        assert 'llmsup_rpc_up{worker="box"} 1.0' in metrics
        (pid,) = [each["pid"] for each in seen["processes"]]
        await served.client.post("/models/unload", model="there")
        await gone(pid)
        seen = (await told(served))["box"]
        assert (seen["state"], seen["processes"]) == ("stopped", [])


async def test_a_worker_that_dies_is_named_and_both_come_back() -> None:
    async with llmsup(model("there", "box"), workers=(worker("box"),)) as served:
        async with served.client.stream("there", max_tokens=400, temperature=0) as pieces:
            await begun(pieces)
            ((process,),) = [each["processes"] for each in (await told(served)).values()]
            os.kill(process["pid"], signal.SIGKILL)
            rest = b"".join([piece async for piece in pieces])
        error = json.loads(rest.split(b"data: ")[-1])["error"]
        assert error["code"] == "engine_died"
        assert "its RPC worker box died (it was killed by SIGKILL)" in error["message"]
        assert await said(served, "there")
        seen = (await told(served))["box"]
        assert seen["restarts"] == 1
        assert seen["processes"][0]["pid"] != process["pid"]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells when data last went over a connection")
@pytest.mark.parametrize("runs_already", [False, True])
async def test_a_worker_that_hangs_is_ended_and_named(runs_already: bool) -> None:
    """Its engine says that it is well, and waits. The bound is the one for an engine that hangs."""
    async with open_worker() as (address, process):
        box = RpcSpec(name="box", url=address) if runs_already else worker("box")
        quick = model("there", "box", hang_timeout=Seconds(1))
        async with llmsup(quick, workers=(box,)) as served:
            async with served.client.stream("there", max_tokens=400, temperature=0) as pieces:
                await begun(pieces)
                ((ours,),) = [each["processes"] for each in (await told(served)).values()]
                os.kill(ours["pid"] or process.pid, signal.SIGSTOP)
                with trio.fail_after(PATIENCE):
                    rest = b"".join([piece async for piece in pieces])
            message = json.loads(rest.split(b"data: ")[-1])["error"]["message"]
            assert "its RPC worker box died (it hangs: its engine got no answer for 1.0 s (hang_timeout))" in message
            if not runs_already:
                assert await said(served, "there")


async def test_a_worker_that_cannot_start_fails_the_load_and_is_named() -> None:
    """Nothing else happens: no engine is started, and the next request within the pause is told at once."""
    broken = evolve(worker("box"), command=("/bin/sh", "-c", "echo no such device >&2; exit 3", "${PORT}"))
    absent = RpcSpec(name="studio", url="127.0.0.1:1")
    async with llmsup(model("there", "box"), model("far", "studio"), workers=(broken, absent)) as served:
        for _ in range(2):
            got = await served.client.chat("there", max_tokens=1)
            assert (got.status, got.error["code"]) == (503, "model_failed")
            assert "its RPC worker box can't be used: it exited with code 3" in got.error["message"]
            assert "no such device" in got.error["log_tail"]
        got = await served.client.chat("far", max_tokens=1)
        assert (got.status, got.error["code"]) == (503, "model_failed")
        assert "its RPC worker studio can't be used: nothing answers at 127.0.0.1:1" in got.error["message"]
        assert {name: each["state"] for name, each in (await told(served)).items()} == {
            "box": "failed",
            "studio": "failed",
        }
        assert (await served.client.get("/memory")).json["devices"] == []  # nobody knows what they have


async def test_a_worker_that_others_could_reach_is_not_used() -> None:
    """What its command hides from the config's check shows once it listens."""
    hidden = evolve(worker("box"), command=("/bin/sh", "-c", f"exec {rpc_server()} -H 0.0.0.0 -p $0", "${PORT}"))
    async with llmsup(model("there", "box"), workers=(hidden,)) as served:
        got = await served.client.chat("there", max_tokens=1)
        assert (got.status, got.error["code"]) == (503, "model_failed")
        assert "it listens on 0.0.0.0:" in got.error["message"]
        assert "-H 127.0.0.1" in got.error["message"]
        assert not (await told(served))["box"]["processes"]


async def test_two_models_and_room_for_one_on_their_worker() -> None:
    """The second evicts the first, as it would here; with room for both each has a process of the worker's."""
    models = (model("one", "box"), model("other", "box"))
    async with llmsup(*models, workers=(worker("box", memory=Bytes(160 * MiB)),)) as served:
        for name in ("one", "other", "one"):
            assert await said(served, name)
            assert [each["model"] for each in (await served.client.get("/running")).json] == [name]
        evicted = [
            each for each in (await served.client.get("/memory")).json["decisions"] if each["decision"] == "evict"
        ]
        assert [each["victims"] for each in evicted] == [["one"], ["other"]]
        assert "of rpc:box" in evicted[0]["reason"]
    async with llmsup(*models, workers=(worker("box", memory=Bytes(400 * MiB)),)) as served:
        for name in ("one", "other"):
            assert await said(served, name)
        assert sorted((await told(served))["box"]["models"]) == ["one", "other"]


async def test_one_that_needs_more_than_its_worker_has_is_refused() -> None:
    async with llmsup(model("there", "box"), workers=(worker("box", memory=Bytes(50 * MiB)),)) as served:
        got = await served.client.chat("there", max_tokens=1)
        assert (got.status, got.error["code"]) == (507, "model_too_large")
        assert "rpc:box has only 50.0 MiB" in got.error["message"]
        assert "raise [rpc.box] memory, or give it another worker" in got.error["message"]
        assert "[memory] limit" not in got.error["message"]


async def test_a_worker_that_runs_already_serves_one_model_at_a_time() -> None:
    """Its protocol is one connection at a time, so the second model waits until the first is evicted; when it is lost,
    that is told, too."""
    async with open_worker() as (address, process):
        at = RpcSpec(name="box", url=address, memory=Bytes(1 << 50))
        async with llmsup(model("one", "box"), model("other", "box"), workers=(at,)) as served:
            for name in ("one", "other"):
                assert await said(served, name)
                assert (await told(served))["box"]["models"] == [name]
            memory = (await served.client.get("/memory")).json
            (device,), (loaded,) = memory["devices"], memory["models"]
            assert device["committed_bytes"] == device["total_bytes"] == 1 << 50
            assert device["name"].endswith("MiB of it used: it serves one model at a time")
            assert 0 < loaded["freeable_bytes"] <= loaded["footprint_bytes"] < 1 << 30
            async with served.client.stream("other", max_tokens=400, temperature=0) as pieces:
                await begun(pieces)
                process.kill()
                rest = b"".join([piece async for piece in pieces])
            assert "its RPC worker box died" in json.loads(rest.split(b"data: ")[-1])["error"]["message"]
            await served.until("other", lambda each: each.state is State.UNLOADED)
            got = await served.client.chat("other", max_tokens=1)
            assert "its RPC worker box can't be used: nothing answers at" in got.error["message"]


async def test_a_model_on_two_workers_that_run_already() -> None:
    """Both are watched; the one that is lost is named, and nothing else ends."""
    async with open_worker() as (near, _), open_worker() as (far, process):
        at = (RpcSpec(name="near", url=near), RpcSpec(name="far", url=far))
        async with llmsup(model("there", "near", "far"), workers=at) as served:
            async with served.client.stream("there", max_tokens=400, temperature=0) as pieces:
                await begun(pieces)
                process.kill()
                rest = b"".join([piece async for piece in pieces])
            assert "its RPC worker far died" in json.loads(rest.split(b"data: ")[-1])["error"]["message"]
            assert (await told(served))["near"]["state"] == "up"


async def test_a_conversation_survives_the_unload_of_a_model_on_a_worker() -> None:
    """Its state is fetched from the worker, and given to the next one, which has another address."""
    kept = PromptCacheSpec(min_tokens=50)
    async with llmsup(model("there", "box"), workers=(worker("box", ttl=Seconds(0)),), prompt_cache=kept) as served:
        long = " ".join(f"Stone {number} is red." for number in range(12))
        messages = [{"role": "user", "content": f"{long} Which is red?"}]
        cached = []
        for _ in range(2):
            asked = {"model": "there", "messages": messages, "max_tokens": 4, "temperature": 0}
            got = (await served.client.post("/v1/chat/completions", **asked)).json
            cached.append(got["usage"]["prompt_tokens_details"]["cached_tokens"])
            await served.client.post("/models/unload", model="there")
        assert cached[0] == 0
        assert cached[1] > 50
        assert len({each.data["reason"] for each in served.fleet.events.tail() if each.data.get("state") == "up"}) == 2
