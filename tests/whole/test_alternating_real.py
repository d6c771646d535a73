"""One person and two models of which one fits, with a real llama-server: every answer waits for its load alone."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from real_engines import llama_server, smollm2
from serving import Served, serving

from llmsup.config.schema import Config, EngineSpec, Memory, MiB, ModelSpec
from llmsup.units import Bytes, Seconds


@asynccontextmanager
async def two_of_which_one_fits(**memory: Any) -> AsyncIterator[Served]:
    """A llmsup with settings of [memory]."""
    one = ModelSpec(name="one", path=str(smollm2()), engine="llama-server", ctx_size=8192, parallel=1, threads=1)
    other = ModelSpec(name="other", path=str(smollm2()), engine="llama-server", ctx_size=8200, parallel=1, threads=1)
    engines = {"llama-server": EngineSpec(name="llama-server", command=(str(llama_server()),))}
    settings = Memory(limit=Bytes(450 * MiB), **memory)
    async with serving(config=Config(models={"one": one, "other": other}, engines=engines, memory=settings)) as served:
        yield served


async def alternate(served: Served) -> list[str]:
    """Ask now this, now that, six times; returns why a model was kept, in the decisions about the other."""
    for _ in range(3):
        for name in ("one", "other"):
            assert (await served.client.chat(name, max_tokens=1)).status == 200
    decisions = (await served.client.get("/memory")).json["decisions"]
    assert sum(each["decision"] == "evict" for each in decisions) == 5
    return [weighed["stays"] for each in decisions for weighed in each["weighed"] if weighed["stays"]]


async def test_no_guard_is_waited_for_by_one_who_alternates() -> None:
    """Each question evicts the other model at once: nothing that was decided names a reason to let it stay."""
    async with two_of_which_one_fits() as served:
        kept = await alternate(served)
    assert not [why for why in kept if "turn" in why or "at least" in why]


async def test_a_floor_that_a_user_sets_is_all_that_is_waited_for() -> None:
    """It is what he says, however often each model came back soon after it had gone."""
    async with two_of_which_one_fits(min_residency=Seconds(1)) as served:
        kept = await alternate(served)
        counts = [(await served.client.get(f"/memory/{name}")).json["counts"] for name in ("one", "other")]
    assert sum(each["refaults"] for each in counts) == 4
    young = [why for why in kept if "at least" in why]
    assert young
    assert all("of at least 1 s" in why for why in young)
    assert not [why for why in kept if "turn" in why]
