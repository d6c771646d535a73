"""What an operator says about how long a model stays: `ttl` and `pinned` of a load, `ttl` of an unload."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from serving import Served, fake, serving

from llmsup.fleet.model.states import State
from llmsup.units import NEVER, Seconds


def unloaded(model: Any) -> bool:
    return model.state is State.UNLOADED and model.run is None


async def load(served: Served, **more: Any) -> None:
    got = await served.client.post("/models/load", model="m", **more)
    assert got.status == 200, got.body


async def pinned(served: Served) -> bool:
    (entry,) = (await served.client.get("/running")).json
    said: bool = entry["pinned"]
    return said


@pytest.mark.parametrize("wait", [True, False])
@pytest.mark.parametrize(("said", "kept"), [(90, 90), ("2m", 120), ("72h", 259200), ("never", NEVER), (-1, NEVER)])
async def test_a_load_says_how_long(wait: bool, said: Any, kept: float) -> None:
    """`max_ttl` (24 h) bounds what clients may ask for, not what an operator does."""
    async with serving(fake("m", ttl=Seconds(1800))) as served:
        await load(served, ttl=said, wait=wait)
        await served.until("m", lambda model: model.state is State.READY)
        assert served.model("m").ttl == kept
        await load(served)  # who doesn't say changes nothing
        assert served.model("m").ttl == kept


async def test_an_unload_may_wait_until_the_model_is_idle() -> None:
    """What is in flight or waits is served first, and the answer doesn't wait for that."""
    async with serving(fake("m", "--tokens", 3, "--tps", 20)) as served:
        async with served.client.stream("m") as pieces:
            await anext(pieces)
            got = await served.client.post("/models/unload", model="m", ttl=0)
            assert (got.status, got.json["freed_bytes"]) == (200, 0)
            assert served.model("m").state is State.READY
            assert b"[DONE]" in b"".join([piece async for piece in pieces])
        await served.until("m", unloaded)
        assert served.model("m").reason.endswith("idle for 0 ms (the ttl that was asked for).")


async def test_all_of_them() -> None:
    async with serving(fake("a"), fake("b"), fake("c")) as served:
        for name in ("a", "b"):
            await served.client.post("/models/load", model=name)
        assert (await served.client.post("/models/unload", all=True, ttl="5m")).json["models"] == ["a", "b"]
        assert all(served.model(name).ttl == Seconds(300) for name in "ab")


async def test_a_pin_by_hand() -> None:
    """It holds as the config's does, and an unload ends it."""
    async with serving(fake("m", "--exit-after-requests", 1, ttl=Seconds(0.01))) as served:
        await load(served, pinned=True)
        assert await pinned(served)
        assert served.model("m").expires_at == float("inf")
        await served.client.chat("m")  # its engine dies, and a pinned one is started again by itself
        await served.until("m", lambda model: model.crashes and model.state is State.READY)
        assert await pinned(served)
        await served.client.post("/models/unload", model="m")
        assert not served.model("m").pinned
        await served.client.chat("m")
        await served.until("m", unloaded)


async def test_the_config_is_overruled() -> None:
    async with serving(fake("m", pinned=True)) as served:
        await load(served, pinned=False)
        assert not await pinned(served)
        await load(served, pinned=None)
        assert not await pinned(served)
        await load(served, pinned=True)
        assert await pinned(served)
        await load(served, pinned=False)
        await served.client.post("/models/unload", model="m", ttl=3600)  # not by hand any more: as the config says
        assert await pinned(served)


async def test_what_is_pinned_makes_no_room() -> None:
    async with serving(fake("m"), fake("other")) as served:
        await load(served, pinned=True)
        memory = (await served.client.get("/memory")).json
        assert [each["pinned"] for each in memory["models"]] == [True]


@pytest.mark.parametrize(
    ("path", "field", "value"),
    [
        ("/models/load", "ttl", "soon"),
        ("/models/load", "ttl", True),
        ("/models/load", "pinned", "yes"),
        ("/models/unload", "ttl", [1]),
    ],
)
async def test_what_is_no_answer_changes_nothing(path: str, field: str, value: Any) -> None:
    async with serving(fake("m")) as served:
        got = await served.client.post(path, model="m", **{field: value})
        assert (got.status, got.error["param"]) == (400, field)
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert served.model("m").run is None
        assert not served.model("m").pinned
