"""A planned launch, started: the engine takes every word of it, and what it couldn't be told works in a request."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import pytest
import trio
from real_engines import llama_server, smollm2

from llmsup.config.live import LiveConfig
from llmsup.config.schema import Config, EngineSpec, ModelSpec
from llmsup.engines.bundled.kind import PROGRAM as BUNDLED
from llmsup.engines.devices import list_devices
from llmsup.engines.launch import Launch
from llmsup.engines.llama_server.flag_probe import FlagProbe
from llmsup.engines.selector import EngineSelector
from llmsup.errors import SetupError
from llmsup.units import Bytes

SAMPLING: dict[str, Any] = {
    "samplers": ["top_n_sigma", "dry", "top_k", "temperature"],
    "seed": 7,
    "top_n_sigma": 1.5,
    "top_k": 9,
    "top_p": 0.5,
    "min_p": 0.25,
    "typical_p": 0.75,
    "temperature": 0.5,
    "dynatemp_range": 0.25,
    "dynatemp_exponent": 2.0,
    "xtc_probability": 0.25,
    "xtc_threshold": 0.25,
    "dry_multiplier": 0.5,
    "dry_base": 2.0,
    "dry_allowed_length": 3,
    "dry_penalty_last_n": 16,
    "repeat_last_n": 8,
    "repeat_penalty": 1.5,
    "presence_penalty": 0.5,
    "frequency_penalty": 0.25,
    "mirostat_eta": 0.25,
    "mirostat_tau": 4.0,
    "ignore_eos": True,
    "min_keep": 2,
    "dry_sequence_breakers": ["x", "y"],
    "n_predict": 3,
    "chat_template_kwargs": {"enable_thinking": False},
}


async def ask(path: Path, method: str, url: str, body: object = None) -> tuple[int, Any]:
    """One request on a connection of its own; the engine closes it when it is through."""
    content = json.dumps(body).encode() if body is not None else b""
    head = f"{method} {url} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {len(content)}\r\n\r\n"
    async with await trio.open_unix_socket(str(path)) as stream:
        await stream.send_all(head.encode() + content)
        answer = b"".join([part async for part in stream])
    first, _, rest = answer.partition(b"\r\n\r\n")
    return int(first.split()[1]), json.loads(rest)


async def test_a_device_that_the_engine_does_not_find() -> None:
    """It is asked, and what it finds is told."""
    table = {"llama-server": EngineSpec(name="llama-server", command=(str(llama_server()),))}
    spec = ModelSpec(name="m", path=str(smollm2()), engine="llama-server", devices=("CUDA99",))
    selector = EngineSelector(config=LiveConfig(Config(engines=table)), probe=FlagProbe())
    with pytest.raises(SetupError, match=r"model m: devices has 'CUDA99', which its engine doesn't find"):
        await selector.plan(spec, Path("/tmp/e.sock"))


async def test_the_bundled_engine_lists_its_devices() -> None:
    """As llama-server does; the CPU is none."""
    pytest.importorskip("xllamacpp")
    devices = await list_devices(BUNDLED)
    assert "CPU" not in {each.id for each in devices}


@pytest.mark.parametrize("engine", ["llama-server", "bundled"])
async def test_the_engine_takes_every_word(engine: str) -> None:
    if engine == "bundled":
        pytest.importorskip("xllamacpp")
    table = {"llama-server": EngineSpec(name="llama-server", command=(str(llama_server()),))}
    spec = ModelSpec(
        name="pub/smol@q4",
        path=str(smollm2()),
        engine=engine,
        ctx_size=512,
        parallel=1,
        threads=1,
        n_gpu_layers=0,
        devices=("none",) if engine == "llama-server" else (),
        cache_ram=Bytes(0),
        args=("--no-warmup",),
        sampling=SAMPLING,
    )
    with tempfile.TemporaryDirectory(prefix="lls", dir="/tmp") as short:
        socket = Path(short, "e.sock")
        launch = await EngineSelector(config=LiveConfig(Config(engines=table)), probe=FlagProbe()).plan(spec, socket)
        assert launch.engine == engine
        settings = await answered(launch, socket)
    for field, value in SAMPLING.items():
        if field in settings:  # an answer leaves out some
            assert settings[field] == pytest.approx(value), field
    assert settings.keys() >= {"top_n_sigma", "top_k", "typical_p", "dry_base", "samplers", "seed"}


async def answered(launch: Launch, socket: Path) -> dict[str, Any]:
    """Start a launch, ask it for a few tokens, end it by closing its standard input; gives what it sampled with."""
    with trio.fail_after(60):
        process = await trio.lowlevel.open_process(
            launch.argv,
            env={**os.environ, **launch.env},
            cwd=Path(__file__).parents[2],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        try:
            while True:
                assert process.poll() is None
                try:
                    if (await ask(socket, "GET", launch.health))[0] == 200:
                        break
                except OSError:
                    pass
                await trio.sleep(0.01)
            status, answer = await ask(socket, "POST", "/completion", {"prompt": "1 2 3", **launch.body_defaults})
            assert (status, answer["model"], answer["tokens_predicted"]) == (200, "pub/smol@q4", 3)
            assert process.stdin is not None
            await process.stdin.aclose()
            assert await process.wait() == 1  # nothing else ended it: it minds its parent
            assert process.stdout is not None
            said = b"".join([part async for part in process.stdout]).decode()
            assert 'cmd_child_to_router:state:{"state":"ready"' in said
            settings: dict[str, Any] = answer["generation_settings"]
            return settings
        finally:
            process.kill()
            with trio.CancelScope(shield=True, deadline=trio.current_time() + 5):
                await process.wait()
                for pipe in (process.stdin, process.stdout):
                    if pipe is not None:
                        await pipe.aclose()
