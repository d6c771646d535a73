"""One person and two models of which one fits, with a real llama-server: every answer waits for its load alone."""

from __future__ import annotations

from real_engines import llama_server, smollm2
from serving import serving

from llmsup.config.schema import Config, EngineSpec, Memory, MiB, ModelSpec
from llmsup.units import Bytes


async def test_no_guard_is_waited_for_by_one_who_alternates() -> None:
    """Each question evicts the other model at once: nothing that was decided names a reason to let it stay."""
    one = ModelSpec(name="one", path=str(smollm2()), engine="llama-server", ctx_size=8192, parallel=1, threads=1)
    other = ModelSpec(name="other", path=str(smollm2()), engine="llama-server", ctx_size=8200, parallel=1, threads=1)
    engines = {"llama-server": EngineSpec(name="llama-server", command=(str(llama_server()),))}
    memory = Memory(limit=Bytes(450 * MiB))
    async with serving(config=Config(models={"one": one, "other": other}, engines=engines, memory=memory)) as served:
        for _ in range(3):
            for name in ("one", "other"):
                assert (await served.client.chat(name, max_tokens=1)).status == 200
        decisions = (await served.client.get("/memory")).json["decisions"]
    assert sum(each["decision"] == "evict" for each in decisions) == 5
    kept = [weighed["stays"] for each in decisions for weighed in each["weighed"] if weighed["stays"]]
    assert not [why for why in kept if "turn" in why or "at least" in why]
