"""Ollama's `keep_alive` and `num_ctx`: how long a model stays, and what it is asked to be."""

from __future__ import annotations

import logging
import math
import time
from typing import Any

import pytest
import trio
from serving import Served, fake, serving

from llmsup.cli.why import state_lines
from llmsup.fleet.model.states import State
from llmsup.units import NEVER, Seconds

CHAT = {"model": "m", "messages": [{"role": "user", "content": "hi"}], "stream": False}


async def chat(served: Served, **more: Any) -> None:
    got = await served.client.post("/api/chat", **CHAT, **more)
    assert got.status == 200, got.body


def unloaded(model: Any) -> bool:
    return model.state is State.UNLOADED and model.run is None


async def test_0_unloads_once_the_model_is_idle() -> None:
    """Not before another's request is done, whoever asked first."""
    async with serving(fake("m", "--tokens", 3, "--tps", 20)) as served:
        async with served.client.stream("m") as pieces:
            await anext(pieces)
            await chat(served, keep_alive=0)
            assert served.model("m").state is State.READY
            rest = [piece async for piece in pieces]
            assert b"[DONE]" in b"".join(rest)
        await served.until("m", unloaded)
        assert "keep_alive 0" in served.model("m").reason


@pytest.mark.parametrize(
    ("said", "kept"), [(120, 120), ("2m", 120), (1.5, 1.5), ("-1m", 86400), (-1, 86400), ("48h", 86400), ("90", 90)]
)
async def test_the_last_word_counts(said: Any, kept: float) -> None:
    """It replaces the ttl, up or down, up to max_ttl; who doesn't say changes nothing; the next load begins anew."""
    async with serving(fake("m", ttl=Seconds(1800))) as served:
        model = served.model("m")
        await chat(served, keep_alive="1h")
        assert model.ttl == Seconds(3600)
        await chat(served, keep_alive=said)
        await chat(served)
        await chat(served, keep_alive=None)
        assert model.ttl == kept
        (running,) = (await served.client.get("/running")).json
        assert running["ttl"] == kept
        assert model.expires_at == pytest.approx(trio.current_time() + kept, abs=60)
        await chat(served, keep_alive=0)
        await served.until("m", unloaded)
        await chat(served)
        assert model.ttl == Seconds(1800)


async def test_what_is_pinned_or_asked_for_by_others_stays() -> None:
    async with serving(fake("pinned", pinned=True), fake("m", ttl=NEVER)) as served:
        await served.client.chat("m", ttl=600)
        await chat(served, keep_alive=0)
        assert served.model("m").expires_at == pytest.approx(trio.current_time() + 600, abs=60)
        await served.client.post("/api/generate", model="pinned", prompt="x", keep_alive=0)
        assert math.isinf(served.model("pinned").expires_at)


@pytest.mark.parametrize(("path", "said"), [("/api/generate", "response"), ("/api/chat", "message")])
async def test_an_empty_prompt_with_0_unloads(path: str, said: str) -> None:
    """What isn't loaded isn't loaded for that: `ollama stop` does this."""
    async with serving(fake("m")) as served:
        for loaded in (False, True):
            if loaded:
                assert (await served.client.post(path, model="m")).json["done_reason"] == "load"
                assert served.model("m").state is State.READY
            got = await served.client.post(path, model="m", keep_alive=0)
            assert (got.status, got.json["done"], got.json["done_reason"]) == (200, True, "unload")
            assert said in got.json
            await served.until("m", unloaded)
        assert served.model("m").history.loads == 1


async def test_num_ctx_is_told_and_loads_nothing_anew(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    async with serving(fake("m", ctx_size=2048, given=frozenset(("ctx_size",)))) as served:
        for wanted in (1024, 32768.0, 32768, 4096):
            await chat(served, options={"num_ctx": wanted})
        assert served.model("m").history.loads == 1
        told = (await served.client.get("/memory/m")).json
        assert told["context"] == {"wanted": 32768, "served": 2048}
        lines = "\n".join(state_lines(told, time.time()))
        assert "A client asked for a context of 32,768 tokens (num_ctx), and a request can have 2,048" in lines
        said = [record.getMessage() for record in caplog.records if "asked for a context" in record.getMessage()]
        assert said == [
            "m: a client asked for a context of 32768 tokens, and a request can have 2048: `ctx_size` sets that"
        ]


@pytest.mark.parametrize("wanted", [0, -1, "8k", True, 1e300, [1]])
async def test_a_bad_num_ctx_is_named(wanted: Any) -> None:
    async with serving(fake("m")) as served:
        got = await served.client.post("/api/chat", **CHAT, options={"num_ctx": wanted})
        assert (got.status, "`options.num_ctx`" in got.json["error"]) == (400, True)
        assert served.fleet.running() == []
