"""`/api/pull` is passed on to an Ollama that is there, and what that pulled is found."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import trio
from fake_ollama import PULLING, fake_ollama
from gguf_files import tiny_llama
from ollama_store import add
from serving import PATIENCE, serving

from llmsup.config.schema import Bridge, Catalog, Config
from llmsup.downloads.ollama import where
from llmsup.units import NEVER


def config(store: Path) -> Config:
    return Config(catalog=Catalog(roots=(), ollama=store), bridge=Bridge(every=NEVER))


@pytest.mark.parametrize("stream", [True, False])
async def test_a_pull_is_passed_on_and_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stream: bool) -> None:
    """Who reads that it is done can ask for the model."""
    store, file = tmp_path / "store", tiny_llama(tmp_path / "t.gguf")
    store.mkdir()
    with fake_ollama() as ollama:
        monkeypatch.setenv("OLLAMA_HOST", ollama.address)
        ollama.pulled = lambda: add(store, "tiny:1b", file)
        async with serving(config=config(store)) as served:
            got = await served.client.post("/api/pull", model="tiny:1b", stream=stream)
            lines = [json.loads(line) for line in got.body.splitlines()]
            assert (got.status, lines) == (200, [*(PULLING if stream else ()), {"status": "success"}])
            assert ollama.pulls == [{"model": "tiny:1b", "stream": stream}]
            assert served.fleet.knows("tiny:1b")


async def test_what_ollama_refuses_and_how_it_breaks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with fake_ollama() as ollama:
        monkeypatch.setenv("OLLAMA_HOST", f"http://{ollama.address}/")
        async with serving(config=config(tmp_path)) as served:
            got = await served.client.post("/api/pull", model="nosuch")
            assert (got.status, got.json) == (500, {"error": "pull model manifest: file does not exist"})
            ollama.breaks = True
            got = await served.client.post("/api/pull", model="x")
            assert [json.loads(line) for line in got.body.splitlines()] == list(PULLING)
            for body in ({}, {"model": 3}, {"model": "x", "stream": "no"}):
                got = await served.client.post("/api/pull", **body)
                assert (got.status, list(got.json)) == (400, ["error"])
            assert len(ollama.pulls) == 2


async def test_who_leaves_takes_the_pull_along(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ollama stops it then, as it does for clients of its own."""
    with fake_ollama() as ollama:
        ollama.endless = True
        monkeypatch.setenv("OLLAMA_HOST", ollama.address)
        async with serving(config=config(tmp_path)) as served:
            answer = await served.client.send("POST", "/api/pull", {"model": "x"})
            assert b"pulling manifest" in await answer.body()
            await answer.close()
            with trio.fail_after(PATIENCE):
                assert await trio.to_thread.run_sync(ollama.left.wait, PATIENCE)


@pytest.mark.parametrize(
    ("version", "said"),
    [
        ({"version": "1", "llmsup": "0"}, "it is llmsup, not Ollama, that answers"),
        ({"object": "list"}, "it isn't Ollama"),
        (b"<html>", "it isn't Ollama"),
        (None, "no Ollama answers"),
    ],
)
async def test_without_an_ollama_it_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: Any, said: str
) -> None:
    with fake_ollama() as ollama:
        ollama.version = version
        monkeypatch.setenv("OLLAMA_HOST", ollama.address if version is not None else "127.0.0.1:1")
        async with serving(config=config(tmp_path)) as served:
            got = await served.client.post("/api/pull", model="x")
            assert (got.status, said in got.json["error"]) == (501, True), got.json
        assert ollama.pulls == []


async def test_it_does_not_ask_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving(config=config(tmp_path)) as served:
        monkeypatch.setenv("OLLAMA_HOST", f":{served.client.port}")
        got = await served.client.post("/api/pull", model="x")
        assert (got.status, "it is llmsup, not Ollama" in got.json["error"]) == (501, True)


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("", "http://127.0.0.1:11434"),
        ("0.0.0.0", "http://127.0.0.1:11434"),
        (":1234", "http://127.0.0.1:1234"),
        (" 'box:99' ", "http://box:99"),
        ("http://box", "http://box:80"),
        ("https://box/x", "https://box:443"),
        ("[::]:7", "http://[::1]:7"),
        ("::1", "http://[::1]:11434"),
        ("box:99999", "http://box:11434"),
    ],
)
def test_where_ollama_is(said: str, meant: str) -> None:
    assert str(where({"OLLAMA_HOST": said})) == meant
