"""`/api/pull` of what is named as the hub's: fetched as by `llmsup pull`, told in Ollama's words."""

from __future__ import annotations

import gc
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio
from fake_hub import FakeHub, digest, hub, model
from fake_ollama import fake_ollama
from serving import PATIENCE, serving

from llmsup.config.schema import Bridge, Catalog, Config, Memory, MiB, Server
from llmsup.gateway.api.ollama import pull
from llmsup.units import NEVER, Bytes

__all__ = ["hub"]  # the fixture

REPO = "org/Tiny-GGUF"
FILE = "Tiny-Q4_K_M.gguf"


@pytest.fixture
def data(hub: FakeHub, tmp_path: Path) -> bytes:
    hub.repos[REPO] = {FILE: model(tmp_path, "whole")}
    return hub.repos[REPO][FILE]


def config(folder: Path, limit: int = 4096) -> Config:
    return Config(
        server=Server(state_dir=folder / "state"),
        catalog=Catalog(roots=(folder / "models",), ollama=None),
        bridge=Bridge(every=NEVER),
        memory=Memory(limit=Bytes(limit * MiB)),
    )


@pytest.mark.parametrize("stream", [True, False])
async def test_it_is_pulled_and_found(hub: FakeHub, data: bytes, tmp_path: Path, stream: bool) -> None:
    """Who reads that it is done can ask for the model, by the name that was pulled."""
    async with serving(config=config(tmp_path)) as served:
        got = await served.client.post("/api/pull", model=f"hf.co/{REPO}:Q4_K_M", stream=stream)
        lines = [json.loads(line) for line in got.body.splitlines()]
        assert (got.status, lines[-1]) == (200, {"status": "success"})
        assert served.fleet.knows(f"hf.co/{REPO}:Q4_K_M")
    assert (tmp_path / "models" / REPO / FILE).read_bytes() == data
    if not stream:
        assert len(lines) == 1
        return
    assert lines[0] == {"status": "pulling manifest"}
    last = {"digest": f"sha256:{digest(data)}", "total": len(data), "completed": len(data)}
    assert lines[-3] == {"status": f"pulling {digest(data)[:12]}", **last}


async def test_refusals(hub: FakeHub, data: bytes, tmp_path: Path) -> None:
    """Before it begins they have a status, afterwards they are the last line."""
    async with serving(config=config(tmp_path)) as served:
        got = await served.client.post("/api/pull", model="hf.co/org/nosuch")
        assert (got.status, "There is no org/nosuch on the hub" in got.json["error"]) == (404, True)
        got = await served.client.post("/api/pull", model="hf.co/org")
        assert (got.status, "names no repository" in got.json["error"]) == (400, True)
        spoilt = f"hf.co/{REPO}"
        hub.spoil = lambda data: data[:-1] + b"x"
        got = await served.client.post("/api/pull", model=spoilt)
        assert (got.status, "its SHA-256 is" in json.loads(got.body.splitlines()[-1])["error"]) == (200, True)
        got = await served.client.post("/api/pull", model=spoilt, stream=False)
        assert (got.status, "its SHA-256 is" in got.json["error"]) == (502, True)
        assert served.fleet.models == {}


async def test_what_will_not_fit_is_refused(hub: FakeHub, data: bytes, tmp_path: Path) -> None:
    """By the ceiling of the config in force."""
    async with serving(config=config(tmp_path, limit=8)) as served:
        got = await served.client.post("/api/pull", model=f"hf.co/{REPO}")
        assert (got.status, "all models together may have 8.0 MiB" in got.json["error"]) == (507, True)
    assert not (tmp_path / "models").exists()


@pytest.fixture
def uncollected() -> Iterator[None]:
    """What has been let go of isn't closed by chance: the exception of who has left may keep it for a while."""
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("uncollected")
async def test_who_leaves_ends_it_and_the_next_goes_on(hub: FakeHub, tmp_path: Path) -> None:
    data = model(tmp_path, "large", rows=3000)
    hub.repos[REPO] = {FILE: data}  # its header is less than all of it
    hub.cuts = [None, 100_000]  # the header, and a part of it
    held, going = threading.Event(), threading.Event()

    def hold() -> None:
        if not hub.cuts:
            held.set()
            going.wait(PATIENCE)

    hub.hold = hold
    async with serving(config=config(tmp_path)) as served:
        answer = await served.client.send("POST", "/api/pull", {"model": f"hf.co/{REPO}"})
        assert b"pulling manifest" in await answer.body()
        with trio.fail_after(PATIENCE):
            assert await trio.to_thread.run_sync(held.wait, PATIENCE)
        await answer.close()
        hub.hold = list
        going.set()
        hub.seen.clear()
        with trio.fail_after(PATIENCE):  # until the thread that was given up has let go of the file
            while (got := await served.client.post("/api/pull", model=f"hf.co/{REPO}", stream=False)).status != 200:
                assert "is being fetched by another pull" in got.json["error"]
    assert (tmp_path / "models" / REPO / FILE).read_bytes() == data
    assert f"bytes=0-{len(data) - 1}" not in hub.ranges


async def test_without_the_library_ollama_may_do_it(
    hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pull.importlib.util, "find_spec", lambda _: None)  # type: ignore[attr-defined]
    with fake_ollama() as ollama:
        monkeypatch.setenv("OLLAMA_HOST", ollama.address)
        async with serving(config=config(tmp_path)) as served:
            got = await served.client.post("/api/pull", model=f"hf.co/{REPO}", stream=False)
            assert got.status == 200
        assert ollama.pulls == [{"model": f"hf.co/{REPO}", "stream": False}]
    assert hub.seen == []
