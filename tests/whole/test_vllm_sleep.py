"""A whole llmsup puts the stand-in for vLLM to sleep and wakes it, over HTTP: what clients and operators see of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
from serving import Served, serving
from vllms import recorded, tensors, with_vllm

from llmsup.fleet.model import sleeping
from llmsup.fleet.model.states import State
from llmsup.units import Seconds

MODELS = """[models.m]
engine = "vllm"
path = "{path}"
ttl = "{ttl}"
sleep = {level}
"""


@asynccontextmanager
async def asleep(tmp_path: Path, *, level: object = 1, **moods: Any) -> AsyncIterator[Served]:
    """A server whose model has answered once and sleeps."""
    path = tensors(tmp_path / "model")
    text = MODELS.format(path=path, ttl="10m", level=level)
    async with serving(config=with_vllm(tmp_path, text, **moods)) as served:
        assert (await served.client.chat("m")).status == 200
        served.model("m").keep(Seconds(0.5), by_hand=True)
        await served.until("m", lambda model: model.state is State.SLEEPING)
        served.model("m").keep(Seconds(600), by_hand=True)  # or it would be unloaded as soon
        yield served


@pytest.mark.parametrize("level", [1, 2])
async def test_a_request_wakes_it_and_is_answered_by_the_same_engine(tmp_path: Path, level: int) -> None:
    """In its right mind: after level 2 its weights have been read again. It is asked nothing while it sleeps."""
    async with asleep(tmp_path, level=level, wake_time=0.2) as served:
        (entry,) = (await served.client.get("/running")).json
        assert (entry["state"], entry["in_flight"]) == ("sleeping", 0)
        assert entry["reason"].endswith(f"asleep at level {level}")
        (listed,) = (await served.client.get("/v1/models")).json["data"]
        assert listed["status"]["value"] == "sleeping"
        assert 'llmsup_model_asleep{model="m"} 1.0' in (await served.client.get("/metrics")).body.decode()
        answer = await served.client.chat("m")
        assert answer.json["choices"][0]["message"]["content"].startswith("token0")
        async with served.client.stream("m") as pieces:
            assert b"token4" in b"".join([piece async for piece in pieces])
        assert len(recorded(tmp_path, "start")) == 1
        assert [each["level"] for each in recorded(tmp_path, "sleep")][:1] == [level]
        assert recorded(tmp_path, "asked asleep") == []
        tags = [each["tags"] for each in recorded(tmp_path, "wake")]
        assert tags == ([None] if level == 1 else [["weights"], ["kv_cache"]])


async def test_many_requests_wake_it_once(tmp_path: Path) -> None:
    async with asleep(tmp_path, wake_time=0.3) as served:
        async with trio.open_nursery() as nursery:
            for _ in range(8):
                nursery.start_soon(served.client.chat, "m")
        assert len(recorded(tmp_path, "wake")) == 1


@pytest.mark.parametrize("mood", [{"fails": ["/wake_up"]}, {"dies": ["/wake_up"]}])
async def test_a_failed_wake_is_a_fresh_load(tmp_path: Path, mood: dict[str, Any]) -> None:
    """The request that woke it is answered all the same."""
    async with asleep(tmp_path, **mood) as served:
        assert (await served.client.chat("m")).status == 200
        assert len(recorded(tmp_path, "start")) == 2


@pytest.mark.parametrize("mood", [{"fails": ["/sleep"]}, {"hangs": ["/sleep"]}, {"fails": ["/is_sleeping"]}])
async def test_what_does_not_fall_asleep_is_unloaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mood: dict[str, Any]
) -> None:
    monkeypatch.setattr(sleeping, "FALLING_ASLEEP", Seconds(0.5))
    path = tensors(tmp_path / "model")
    async with serving(config=with_vllm(tmp_path, MODELS.format(path=path, ttl="1s", level=1), **mood)) as served:
        await served.client.chat("m")
        await served.until("m", lambda model: model.state is State.UNLOADED)
        assert served.model("m").sleepless


async def test_an_unload_by_hand_ends_it(tmp_path: Path) -> None:
    async with asleep(tmp_path) as served:
        assert (await served.client.post("/models/unload", model="m")).status == 200
        assert (await served.client.get("/running")).json == []
