"""A llmsup with models on real RPC workers."""

from __future__ import annotations

import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import trio
from attrs import evolve
from real_engines import llama_server, rpc_server, smollm2
from serving import PATIENCE, Served, serving

from llmsup.config.schema import Bridge, Config, EngineSpec, ModelSpec, RpcSpec
from llmsup.engines.ports import free_port
from llmsup.fleet.rpc.reach import connects
from llmsup.units import NEVER


def model(name: str, *workers: str, **more: Any) -> ModelSpec:
    """A small model, and the workers that have a part of it."""
    spec = ModelSpec(
        name=name, path=str(smollm2()), engine="llama-server", ctx_size=512, parallel=1, threads=1, rpc=workers
    )
    return evolve(spec, **more)


def worker(name: str, **more: Any) -> RpcSpec:
    """A worker that is started here."""
    return evolve(RpcSpec(name=name, command=(str(rpc_server()), "-H", "127.0.0.1", "-p", "${PORT}")), **more)


@asynccontextmanager
async def llmsup(*models: ModelSpec, workers: tuple[RpcSpec, ...], **more: Any) -> AsyncIterator[Served]:
    """One that has these."""
    config = Config(
        models={each.name: each for each in models},
        rpc={each.name: each for each in workers},
        engines={"llama-server": EngineSpec(name="llama-server", command=(str(llama_server()),))},
        bridge=Bridge(every=NEVER),
        **more,
    )
    async with serving(config=config) as served:
        yield served


@asynccontextmanager
async def open_worker() -> AsyncIterator[tuple[str, trio.Process]]:
    """A worker that isn't llmsup's."""
    address = f"127.0.0.1:{free_port()}"
    command = [str(rpc_server()), "-H", "127.0.0.1", "-p", address.rpartition(":")[2]]
    process = await trio.lowlevel.open_process(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        with trio.fail_after(PATIENCE):
            while not await connects(address):  # noqa: ASYNC110 -- it isn't our child
                await trio.sleep(0.02)
        yield address, process
    finally:
        process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()


async def said(served: Served, name: str) -> str:
    """What a model says at temperature 0. The next best token is far behind each time: where two are close, small
    differences in the engine's sums decide, which depend on how it holds the weights.
    """
    messages = [{"role": "user", "content": "Say: one two three four five six seven eight"}]
    got = await served.client.post("/v1/chat/completions", model=name, messages=messages, max_tokens=8, temperature=0)
    assert got.status == 200, got.body
    content: str = got.json["choices"][0]["message"]["content"]
    return content


async def told(served: Served) -> dict[str, Any]:
    """What `GET /rpc` tells, by worker."""
    return {each["worker"]: each for each in (await served.client.get("/rpc")).json}


async def begun(pieces: AsyncIterator[bytes]) -> None:
    """Read a stream until the engine has said something: what comes before may be a sign of life while it loads."""
    while b'"content":"' not in await anext(pieces):
        pass
