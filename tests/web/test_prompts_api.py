"""Prompts that were computed again, in a whole llmsup with fake engines: `/prompts`, `/events`, a header, a command."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from click.testing import CliRunner
from prompts import said
from serving import Got, Served, fake, serving

from llmsup.cli import main
from llmsup.config.schema import Server

SYSTEM = said("system", "rule", 3000)
FIRST = [SYSTEM, said("user", "first-")]
SECOND = [*FIRST, said("assistant", "answer-"), said("user", "second-")]
NOW = "Now: " + SYSTEM["content"][5:]
OTHER = [{**SYSTEM, "content": NOW}, *SECOND[1:]]
DEBUG = [(b"x-llmsup-debug", b"1")]


async def ask(served: Served, path: str = "/v1/chat/completions", tokens: int = 0, cached: int = 0, **body: Any) -> Got:
    """One request. The fake engine's answer has the request in it, and so these counts, in place of its own."""
    counts = {"prompt_tokens": tokens, "cached_tokens": cached} if tokens else {}
    got = await served.client.ask("POST", path, {"model": "m", **body, **counts}, DEBUG)
    assert got.status == 200, got.body
    return got


async def known(served: Served) -> Any:
    return (await served.client.get("/prompts/m")).json


async def test_a_changed_system_prompt() -> None:
    """It is told everywhere; a prompt that goes on as it was is told nowhere."""
    async with serving(fake("m")) as served:
        assert (await ask(served, messages=FIRST, tokens=900)).headers["x-llmsup-prompt"] == "new"
        got = await ask(served, messages=SECOND, tokens=1300, cached=890)
        assert got.headers["x-llmsup-prompt"] == "goes on"
        assert (await known(served))["last"] == []

        got = await ask(served, messages=OTHER, tokens=1300, cached=3)
        differs = "the system prompt has changed: it differs somewhere after byte 0 (of 3,000)"
        reason = f"{differs}; a date or a time there would do that"
        assert got.headers["x-llmsup-prompt"] == f"system: {reason}"
        prompts = await known(served)
        (told,) = prompts["last"]
        assert told.pop("at") > 0
        assert told == {
            "client": "address 127.0.0.1",
            "cause": "system",
            "reason": reason,
            "message": 1,
            "role": "system",
            "byte": 0,
            "prompt_tokens": 1300,
            "cached_tokens": 3,
        }
        assert (prompts["prompts"], prompts["conversations"], prompts["computed_again"]) == (3, 1, {"system": 1})
        (event,) = [each for each in served.fleet.events.tail() if each.kind == "prompt"]
        assert event.data == {"model": "m", **told}

        url = f"http://127.0.0.1:{served.client.port}"
        words = ["why", "--prompt", "m", "--url", url]
        done = await trio.to_thread.run_sync(lambda: CliRunner().invoke(main, words))
        assert done.exit_code == 0, done.output
        assert "m: 3 prompts since llmsup started, 1 computed again (1 the system prompt)." in done.output
        assert "1,300" in done.output
        assert "differs somewhere after byte 0" in " ".join(done.output.split())


async def test_the_engine_has_the_last_word() -> None:
    """A prompt that looks changed, but was in the engine's cache, is not told of."""
    async with serving(fake("m")) as served:
        await ask(served, messages=FIRST, tokens=900)
        await ask(served, messages=OTHER, tokens=1300, cached=880)
        assert (await known(served))["computed_again"] == {}


async def test_a_reload_and_another_conversation() -> None:
    """The prompt goes on, and the engine computes it again: that is why."""
    async with serving(fake("m")) as served:
        await ask(served, messages=FIRST, tokens=900)
        await served.client.post("/models/unload", model="m")
        await ask(served, messages=SECOND, tokens=1300)
        (told,) = (await known(served))["last"]
        assert told["cause"] == "reload"
        assert "unload" in told["reason"]

        await ask(served, messages=[said("user", "somebody else", 4000)], tokens=900)
        await ask(served, messages=[*SECOND, said("user", "third-")], tokens=1500)
        told = (await known(served))["last"][-1]
        assert (told["cause"], told["cached_tokens"]) == ("slot", 0)


@pytest.mark.parametrize(
    ("path", "first", "second"),
    [
        ("/v1/messages", {"system": SYSTEM["content"], "messages": FIRST[1:]}, {"system": NOW, "messages": SECOND[1:]}),
        (
            "/v1/responses",
            {"instructions": SYSTEM["content"], "input": FIRST[1:]},
            {"instructions": NOW, "input": SECOND[1:]},
        ),
        ("/v1/completions", {"prompt": SYSTEM["content"]}, {"prompt": "#" + SYSTEM["content"]}),
        ("/api/chat", {"messages": FIRST, "stream": False}, {"messages": OTHER, "stream": False}),
        ("/v1/chat/completions", {"messages": FIRST, "stream": True}, {"messages": OTHER, "stream": True}),
    ],
)
async def test_all_apis_are_followed(path: str, first: dict[str, Any], second: dict[str, Any]) -> None:
    async with serving(fake("m")) as served:
        await ask(served, path, **first)
        await ask(served, path, **second)
        prompts = await known(served)
        assert prompts["prompts"] == 2
        if path != "/v1/completions":  # a text that has moved by a byte can't be told from another one
            assert [each["cause"] for each in prompts["last"]] == ["system"]


async def test_what_is_not_followed() -> None:
    """Short prompts, other requests, those that get no answer, and all of them if the config says so."""
    async with serving(fake("m")) as served:
        await ask(served, messages=[{"role": "user", "content": "hi"}])
        await ask(served, "/v1/embeddings", input=SYSTEM["content"])
        bad = await served.client.post("/v1/chat/completions", model="m", messages=SECOND, stream="x" * 3000)
        assert (await known(served))["prompts"] == (bad.status == 200)
    async with serving(fake("m"), server=Server(prompt_chains=False)) as served:
        for messages in (FIRST, OTHER):
            assert "x-llmsup-prompt" not in (await ask(served, messages=messages)).headers
        prompts = await known(served)
        assert (prompts["followed"], prompts["prompts"]) == (False, 0)


async def test_large_prompts_are_followed() -> None:
    """More than is parsed at once; read in steps."""
    talk = [SYSTEM, *(said("user", f"large{n}-", 60_000) for n in range(10))]
    async with serving(fake("m")) as served:
        await ask(served, messages=talk)
        got = await ask(served, messages=[*talk[:4], *talk[5:]])
        assert got.headers["x-llmsup-prompt"] == "dropped: a message before message 5 (user) came back no more"
