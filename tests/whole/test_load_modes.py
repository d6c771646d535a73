"""The ways to load weights, from the config to the engine's flags and back: a fake llama-server that is slow one way,
and a real one each way.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest
from gguf_files import tiny_llama
from real_engines import llama_server, smollm2
from serving import FAKE, serving

from llmsup.config.schema import Config, EngineSpec, MiB, ModelSpec, Server
from llmsup.memory.cost import load_mode
from llmsup.units import Bytes, Seconds

HELP = Path(__file__).parents[1] / "data" / "llama-server-b10068-help.txt"


def drop(path: Path) -> None:
    """Have the page cache forget it."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def slow_when_it_maps(folder: Path) -> Path:
    """A llama-server that takes its time unless it reads."""
    program = folder / "llama-server"
    program.write_text(f"""#!{sys.executable}
import os, sys
words = sys.argv[1:]
if "--help" in words:
    print(open({str(HELP)!r}).read())
    sys.exit()
reads = "--no-mmap" in words or "--direct-io" in words
buffers = "CPU" if reads else "CPU_Mapped"
os.execv(sys.executable, [sys.executable, {str(FAKE)!r}, "--socket", words[words.index("--host") + 1],
    "--load-time", "0" if reads else "0.7", "--print", f"load_tensors: {{buffers}} model buffer size = 0.04 MiB"])
""")
    program.chmod(0o755)
    return program


def config(folder: Path, program: Path, model: Path, **spec: Any) -> Config:
    return Config(
        models={"m": ModelSpec(name="m", path=str(model), stop_grace=Seconds(2), cache_ram=Bytes(0), **spec)},
        engines={"llama-server": EngineSpec(name="llama-server", command=(str(program),))},
        server=Server(state_dir=folder, shutdown_grace=Seconds(1)),
    )


async def test_auto_tries_the_other_way_once_and_keeps_the_faster(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also the next llmsup does."""
    monkeypatch.setattr(load_mode, "SLOW_SECONDS", 0.5)
    model = tiny_llama(tmp_path / "m.gguf")
    given = config(tmp_path, slow_when_it_maps(tmp_path), model)
    modes, flags = [], []
    for _ in range(2):
        async with serving(config=given) as served:
            for _ in range(2):
                drop(model)
                assert (await served.client.chat("m")).status == 200
                (entry,) = (await served.client.get("/running")).json
                modes.append(entry["load"]["mode"])
                flags.append([word for word in entry["cmd"].split() if word in ("--mmap", "--no-mmap", "--direct-io")])
                assert entry["load"]["cached_share"] <= 0.25
                why = (await served.client.get("/memory/m")).json
                assert why["next_load"]["cached_share"] is not None
                text = (await served.client.get("/metrics")).body.decode()
                assert f'llmsup_model_load_bytes_per_second{{mode="{modes[-1]}",model="m"}}' in text
                assert (await served.client.post("/models/unload", model="m")).status == 200
    assert modes == ["mmap", "read", "read", "read"]
    assert flags == [[], ["--no-mmap"], ["--no-mmap"], ["--no-mmap"]]


@pytest.mark.parametrize("own", ["--mlock", "--no-mmap"])
async def test_the_users_own_word_is_the_only_one(tmp_path: Path, own: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load_mode, "SLOW_SECONDS", 0.0)
    model = tiny_llama(tmp_path / "m.gguf")
    given = config(tmp_path, slow_when_it_maps(tmp_path), model, args=(own,))
    async with serving(config=given) as served:
        for _ in range(3):
            drop(model)
            assert (await served.client.chat("m")).status == 200
            (entry,) = (await served.client.get("/running")).json
            words = entry["cmd"].split()
            assert [word for word in words if "mmap" in word or "mlock" in word or "direct" in word] == [own]
            assert (await served.client.post("/models/unload", model="m")).status == 200


@pytest.mark.parametrize("mode", ["mmap", "read", "direct"])
async def test_a_real_engine_loads_each_way(tmp_path: Path, mode: Any) -> None:
    """It answers, its log says how it loaded, and what was read is its own memory: it comes back with an unload."""
    given = config(tmp_path, llama_server(), smollm2(), load_mode=mode, ctx_size=1024, parallel=1)
    async with serving(config=given) as served:
        assert (await served.client.chat("m", max_tokens=1)).status == 200
        await served.until("m", lambda model: model.run and model.run.settled)
        (entry,) = (await served.client.get("/running")).json
        assert entry["load"]["mode"] == mode
        assert entry["load"]["bytes_per_second"] > MiB
        run = served.model("m").run
        assert run is not None
        assert run.engine is not None
        meter = run.engine.meter
        assert meter.buffers.mode == ("mmap" if mode == "mmap" else "read")
        assert meter.freeable is not None
        assert meter.peak is not None
        weights = 92 * MiB
        assert (meter.freeable < weights) == (mode == "mmap"), "what is mapped is the system's"
        assert weights < meter.peak < 400 * MiB
