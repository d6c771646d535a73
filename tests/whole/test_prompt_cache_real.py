"""Conversations that survive an unload, with real engines: the same text as if nothing had happened, for less work."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from real_engines import llama_server, smollm2
from serving import Served, serving

from llmsup.cli.why import _kept
from llmsup.config.schema import Bridge, Config, EngineSpec, ModelSpec, PromptCacheSpec, Server
from llmsup.process.ring import Event
from llmsup.units import NEVER, Seconds

ENGINES = ["bundled", "llama-server"]
MIN = 50
FACTS = " ".join(f"Stone {number} is {('red', 'blue', 'grey')[number % 3]}." for number in range(10))
FIRST = [{"role": "system", "content": f"Answer briefly. {FACTS}"}, {"role": "user", "content": "Which is red?"}]


def config(engine: str, state_dir: Path, **cache: Any) -> Config:
    """One chat model with two slots."""
    chat = ModelSpec(name="chat", path=str(smollm2()), engine=engine, ctx_size=1024, threads=2)
    engines = {}
    if engine == "llama-server":
        engines = {engine: EngineSpec(name=engine, command=(str(llama_server()),))}
    server = Server(shutdown_grace=Seconds(5), state_dir=state_dir)
    spec = PromptCacheSpec(**{"min_tokens": MIN, **cache})
    return Config(models={"chat": chat}, engines=engines, server=server, prompt_cache=spec, bridge=Bridge(every=NEVER))


async def turn(served: Served, messages: list[dict[str, str]]) -> tuple[str, int]:
    """One more answer: its text, and how many tokens of the prompt had not to be computed."""
    got = await served.client.post(
        "/v1/chat/completions", model="chat", messages=messages, max_tokens=8, temperature=0, seed=1
    )
    assert got.status == 200, got.body
    return got.json["choices"][0]["message"]["content"], got.json["usage"]["prompt_tokens_details"]["cached_tokens"]


def second(answer: str) -> list[dict[str, str]]:
    return [*FIRST, {"role": "assistant", "content": answer}, {"role": "user", "content": "And which is blue?"}]


def told(served: Served) -> list[Event]:
    return [event for event in served.fleet.events.tail() if event.kind == "prompt_cache"]


@pytest.mark.parametrize("engine", ENGINES)
async def test_a_conversation_goes_on_after_an_unload(engine: str, tmp_path: Path) -> None:
    """The next turn's text is that of a model that was never unloaded; a model that begins anew says so by what it had
    cached, which is nothing.
    """
    async with serving(config=config(engine, tmp_path / "a")) as served:
        answer, cached = await turn(served, FIRST)
        assert cached == 0
        await served.client.post("/models/unload", model="chat")
        text, cached = await turn(served, second(answer))
        whats = [event.data["what"] for event in told(served)]
        tally = served.tree.prompts.of("chat")
        why = (await served.client.get("/memory/chat")).json["prompt_cache"]
        shown = (await served.client.get("/v1/models/chat")).json["prompt_cache"]
        kept = (await served.client.get("/prompt-cache")).json
        metrics = (await served.client.get("/metrics")).body.decode()
        lines = list(_kept(why))
        await served.fleet.prepare_to_stop()  # as at the end of llmsup
    assert whats == ["saved", "restored"]
    assert cached > MIN
    assert (tally.hits, tally.misses, tally.tokens) == (1, 0, cached)
    assert (why["able"], why["restores"], why["hits"], why["tokens_saved"]) == ("yes", 1, 1, cached)
    assert shown == {"able": "yes", "reason": None}
    (entry,) = kept["entries"]
    assert (entry["model"], entry["bytes"] > 10**6, kept["off"]) == ("chat", True, None)
    numbers = dict(line.rsplit(" ", 1) for line in metrics.splitlines() if line.startswith("llmsup_prompt_cache"))
    assert float(numbers["llmsup_prompt_cache_bytes"]) == entry["bytes"]
    assert float(numbers['llmsup_prompt_cache_tokens_saved_total{model="chat"}']) == cached
    assert lines[0] == "Conversations survive an unload."
    assert lines[1].startswith("1 conversation is on the disk: ")
    async with serving(config=config(engine, tmp_path / "a")) as served:
        third = [*second(answer), {"role": "assistant", "content": text}, {"role": "user", "content": "Why?"}]
        _, more = await turn(served, third)
        assert more > cached
        cleared = (await served.client.post("/prompt-cache/clear", model="chat")).json
        assert cleared["cleared"] == 1
    assert not list((tmp_path / "a" / "prompt-cache" / "saved").iterdir())
    async with serving(config=config(engine, tmp_path / "b", disk=0)) as served:
        assert await turn(served, FIRST) == (answer, 0)
        never, _ = await turn(served, second(answer))
        assert never == text
        await served.client.post("/models/unload", model="chat")
        assert await turn(served, second(answer)) == (text, 0)
        assert not told(served)
    assert not (tmp_path / "b" / "prompt-cache").exists()
