"""Why a prompt was computed again, with a real engine: what llmsup says fits what the engine says of its cache."""

from __future__ import annotations

from typing import Any

from attrs import evolve
from real_engines import smollm2
from serving import Served, serving

from llmsup.config.schema import Config, ModelSpec, PromptCacheSpec, Server
from llmsup.units import Bytes, Seconds

RULES = " ".join(f"Rule {n}: be kind, be brief, and say so in {n + 3} words." for n in range(30))


async def test_a_changed_system_prompt_is_told_and_an_unchanged_one_is_not() -> None:
    """Before the third turn the date in the system prompt changes; then the model is unloaded, and comes back."""
    spec = ModelSpec(name="chat", path=str(smollm2()), engine="bundled", ctx_size=4096, parallel=1, threads=1)
    async with serving(config=Config(models={"chat": spec}, server=Server(shutdown_grace=Seconds(1)))) as served:
        talk = [{"role": "system", "content": f"Today is Monday. {RULES}"}, {"role": "user", "content": "Hello!"}]
        first = await turn(served, talk)
        talk.append({"role": "user", "content": "And again?"})
        second = await turn(served, talk)
        assert cached(second) > 0.9 * first["usage"]["prompt_tokens"]
        prompts = (await served.client.get("/prompts/chat")).json
        assert (prompts["prompts"], prompts["last"]) == (2, [])

        talk[0] = {"role": "system", "content": f"Today is Friday. {RULES}"}
        third = await turn(served, talk)
        assert cached(third) < 50
        (told,) = (await served.client.get("/prompts/chat")).json["last"]
        assert (told["cause"], told["message"], told["byte"]) == ("system", 1, 0)
        assert told["cached_tokens"] == cached(third)
        assert told["prompt_tokens"] == third["usage"]["prompt_tokens"]

        await served.client.post("/models/unload", model="chat")
        talk.append({"role": "user", "content": "Once more?"})
        assert cached(await turn(served, talk)) > 0.9 * third["usage"]["prompt_tokens"], "it survives an unload"
        assert len((await served.client.get("/prompts/chat")).json["last"]) == 1

        config = served.tree.config
        config.replace(evolve(config.now, prompt_cache=PromptCacheSpec(disk=Bytes(0))))
        await served.client.post("/models/unload", model="chat")
        talk.append({"role": "user", "content": "And now?"})
        assert cached(await turn(served, talk)) == 0
        told = (await served.client.get("/prompts/chat")).json["last"][-1]
        assert told["cause"] == "reload"


async def turn(served: Served, talk: list[dict[str, str]]) -> Any:
    """Ask, and add the answer to the talk."""
    got = await served.client.post("/v1/chat/completions", model="chat", messages=talk, max_tokens=4, temperature=0)
    assert got.status == 200, got.body
    talk.append(got.json["choices"][0]["message"])
    return got.json


def cached(answer: Any) -> int:
    """How much of the prompt the engine had, by its own account."""
    count: int = answer["timings"]["cache_n"]
    return count
