"""Models on real RPC workers: started, used, lost, shared; and reached over ssh from another network."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import psutil
import trio
from attrs import evolve
from real_engines import llama_server, rpc_server, smollm2
from serving import PATIENCE, Served, serving

from llmsup.config.schema import Bridge, Config, EngineSpec, MiB, ModelSpec, RpcSpec
from llmsup.units import NEVER, Seconds


def model(name: str, *workers: str, **more: Any) -> ModelSpec:
    spec = ModelSpec(
        name=name, path=str(smollm2()), engine="llama-server", ctx_size=512, parallel=1, threads=1, rpc=workers
    )
    return evolve(spec, **{"start_timeout": Seconds(60), **more})


def worker(name: str, **more: Any) -> RpcSpec:
    return evolve(RpcSpec(name=name, command=(str(rpc_server()), "-H", "127.0.0.1", "-p", "${PORT}")), **more)


@asynccontextmanager
async def llmsup(*models: ModelSpec, workers: tuple[RpcSpec, ...], **more: Any) -> AsyncIterator[Served]:
    engines = {"llama-server": EngineSpec(name="llama-server", command=(str(llama_server()),))}
    config = Config(
        models={each.name: each for each in models},
        rpc={each.name: each for each in workers},
        engines=engines,
        bridge=Bridge(every=NEVER),
        **more,
    )
    async with serving(config=config) as served:
        yield served


async def said(served: Served, name: str) -> str:
    """What a model says at temperature 0."""
    got = await served.client.chat(name, max_tokens=8, temperature=0)
    assert got.status == 200, got.body
    content: str = got.json["choices"][0]["message"]["content"]
    return content


async def rpc(served: Served) -> dict[str, Any]:
    """What `GET /rpc` tells, by worker."""
    got = await served.client.get("/rpc")
    return {each["worker"]: each for each in got.json}


async def gone(pid: int) -> None:
    with trio.fail_after(PATIENCE):
        while psutil.pid_exists(pid):  # noqa: ASYNC110 -- it isn't our child's only sign
            await trio.sleep(0.01)


async def test_the_same_tokens_as_here() -> None:
    """A model on a worker answers as it does without; what is there is counted there, and the worker goes with its
    ttl once no model has it."""
    short = worker("box", ttl=Seconds(0.2))
    async with llmsup(model("here"), model("there", "box"), workers=(short,)) as served:
        assert (await rpc(served))["box"]["state"] == "stopped"
        assert await said(served, "there") == await said(served, "here")
        (entry,) = [each for each in (await served.client.get("/running")).json if each["model"] == "there"]
        told = (await rpc(served))["box"]
        assert entry["workers"] == ["box"]
        assert told["state"] == "up"
        assert told["models"] == ["there"]
        assert 90 * MiB < told["used_bytes"] < 150 * MiB < told["memory_bytes"]
        assert f"--rpc {told['processes'][0]['address']} " in entry["cmd"]
        metrics = (await served.client.get("/metrics")).body.decode()
        assert 'llmsup_rpc_up{worker="box"} 1.0' in metrics
        (pid,) = [each["pid"] for each in told["processes"]]
        await served.client.post("/models/unload", model="there")
        await gone(pid)
        told = (await rpc(served))["box"]
        assert (told["state"], told["processes"]) == ("stopped", [])


async def test_a_worker_that_dies_is_named_and_both_come_back() -> None:
    async with llmsup(model("there", "box"), workers=(worker("box"),)) as served:
        async with served.client.stream("there", max_tokens=400, temperature=0) as pieces:
            await anext(pieces)
            ((process,),) = [each["processes"] for each in (await rpc(served)).values()]
            os.kill(process["pid"], signal.SIGKILL)
            rest = b"".join([piece async for piece in pieces])
        error = json.loads(rest.split(b"data: ")[-1])["error"]
        assert error["code"] == "engine_died"
        assert "its RPC worker box died (it was killed by SIGKILL)" in error["message"]
        assert await said(served, "there")
        told = (await rpc(served))["box"]
        assert told["restarts"] == 1
        assert told["processes"][0]["pid"] != process["pid"]
