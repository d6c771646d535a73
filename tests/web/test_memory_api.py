"""/memory, /memory/MODEL, /metrics, and the commands that show them, with a whole llmsup and fake engines."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

import pytest
import trio
from attrs import evolve
from click.testing import CliRunner
from prometheus_client.parser import text_string_to_metric_families
from serving import Served, fake, serving

from llmsup.cli import main
from llmsup.config.schema import Config, GiB, Memory, Server
from llmsup.units import Bytes, Seconds

SETTINGS = Memory(limit=Bytes(2 * GiB))


def config(**memory: float) -> Config:
    """Models that declare so many GiB, where all together may have two."""
    models = {name: fake(name, memory=Bytes(round(size * GiB))) for name, size in memory.items()}
    return Config(models=models, memory=SETTINGS, server=Server(shutdown_grace=Seconds(1)))


async def llmsup(served: Served, *words: str, code: int = 0) -> str:
    """What a command prints when it is typed, and the exit code that it has to have."""
    url = f"http://127.0.0.1:{served.client.port}"
    done = await trio.to_thread.run_sync(lambda: CliRunner().invoke(main, [*words, "--url", url]))
    assert done.exit_code == code, done.output
    return done.output


@pytest.mark.slow
async def test_a_model_makes_way_and_everything_tells_of_it() -> None:
    """The event, the decisions, the model's own history, the counters, and what people read."""
    async with serving(config=config(a=1.5, b=1)) as served:
        for name in "ab":
            assert (await served.client.chat(name)).status == 200
        memory = (await served.client.get("/memory")).json
        assert memory["ceiling_bytes"] == 2 * GiB
        assert memory["committed_bytes"] == GiB
        assert memory["level"] == "normal"
        assert memory["readings"]["total"] > GiB
        (b,) = memory["models"]
        assert (b["model"], b["footprint_bytes"], b["footprint_source"]) == ("b", GiB, "declared")
        evict = next(each for each in memory["decisions"] if each["decision"] == "evict")
        assert (evict["model"], evict["victims"]) == ("b", ["a"])
        assert evict["missing_bytes"] == GiB // 2
        assert [each["model"] for each in evict["weighed"]] == ["a"]
        assert evict["seconds"] is not None

        a = (await served.client.get("/memory/a")).json
        assert (a["state"], a["loaded"]) == ("unloaded", None)
        assert a["counts"]["unloads"] == {"room": 1}
        assert [each["what"] for each in a["history"]] == ["load", "unload"]
        assert a["history"][-1]["decision"]["model"] == "b"
        assert a["history"][-1]["at"] <= time.time()

        told = await llmsup(served, "why", "a")
        assert "a is unloaded" in told
        assert "to make room for b: it needs 1.0 GiB, and 512 MiB is free" in told
        assert "loaded once, unloaded once (1 to make room); 1 request waited" in told
        assert re.search(r"^a +1.5 GiB .* s +\(unloaded\)$", told, re.MULTILINE)
        told = await llmsup(served, "why", "b")
        assert "It takes 1.0 GiB (declared)" in told
        assert "STAYED BECAUSE" not in told, "it was never weighed"
        assert "1.0 GiB of 2.0 GiB (50%)" in await llmsup(served, "ps")

        text = (await served.client.get("/metrics")).body.decode()
        found = {
            (sample.name, *sample.labels.values()): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }
        assert found["llmsup_model_unloads_total", "a", "room"] == 1
        assert found["llmsup_model_loads_total", "b"] == 1
        assert found["llmsup_model_footprint_bytes", "b"] == GiB
        assert found["llmsup_model_loaded", "a"] == 0
        assert found["llmsup_model_wait_seconds_count", "b"] == 1
        assert found["llmsup_memory_ceiling_bytes",] == 2 * GiB
        assert found["llmsup_memory_pressure_level",] == 0


@pytest.mark.slow
async def test_what_can_never_fit_is_a_507_with_numbers() -> None:
    """In the error's message; nothing was unloaded for it."""
    async with serving(config=config(a=1, b=0.5, giant=3)) as served:
        assert (await served.client.chat("a")).status == 200
        got = await served.client.chat("giant")
        assert (got.status, got.error["code"]) == (507, "model_too_large")
        assert "it needs 3.0 GiB, and all models together may use 2.0 GiB" in got.error["message"]
        assert [entry["model"] for entry in (await served.client.get("/running")).json] == ["a"]
        history = (await served.client.get("/memory/giant")).json["history"]
        assert [each["what"] for each in history] == ["refuse"]
        told = await llmsup(served, "load", "giant", code=1)
        assert "giant can't be loaded: it needs 3.0 GiB" in told
        assert "raise [memory] limit" in told
        await llmsup(served, "load", "b")
        assert "loaded once; no requests yet." in await llmsup(served, "why", "b")


@pytest.mark.slow
async def test_why_nothing_is_unloaded_though_memory_is_short(tmp_path: Path) -> None:
    """In /memory, `ps` and `why`, as long as it is so."""
    says = tmp_path / "says"
    settings = config(a=1)
    pinned = evolve(settings.models["a"], pinned=True)
    memory = Memory(limit=Bytes(2 * GiB), interval=Seconds(0.05), probe=("cat", str(says)))
    says.write_text('{"available": 9000000000, "level": "normal"}')
    async with serving(config=evolve(settings, models={"a": pinned}, memory=memory)) as served:
        assert (await served.client.chat("a")).status == 200
        assert (await served.client.get("/memory")).json["nothing_unloaded"] is None
        assert "Nothing is unloaded" not in await llmsup(served, "ps") + await llmsup(served, "why", "a")
        says.write_text('{"available": 1000, "level": "critical"}')
        with trio.fail_after(60):
            while not (told := (await served.client.get("/memory")).json)["nothing_unloaded"]:  # noqa: ASYNC110 -- a process
                await trio.sleep(0.02)
        assert told["nothing_unloaded"] == "no model may go now (a: pinned)"
        assert told["decisions"][-1]["decision"] == "leave"
        assert told["decisions"][-1]["left"] == "none may go"
        assert told["models"][0]["stays"] == "pinned"
        assert "is unloaded for it: no model may go now (a: pinned)." in await llmsup(served, "ps")
        assert (
            "Nothing is unloaded although memory pressure is critical: no model may go now (a: pinned)."
            in await llmsup(served, "why", "a")
        )


@pytest.mark.slow
async def test_who_has_the_memory_is_told_to_those_who_waited_too_long() -> None:
    """503 insufficient_memory after queue_timeout, and meanwhile in /memory and `why`."""
    settings = config(a=1.5, b=1)
    busy = fake("a", "--tokens", 10_000, "--tps", 50, memory=settings.models["a"].memory)
    models = {"a": busy, "b": evolve(settings.models["b"], queue_timeout=Seconds(3))}
    async with (
        serving(config=evolve(settings, models=models)) as served,
        served.client.stream("a") as pieces,
    ):
        await anext(aiter(pieces))
        got: list[Any] = []

        async def ask() -> None:
            got.append(await served.client.chat("b"))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            events = served.fleet.events
            await events.until(lambda: any(each.data.get("decision") == "wait" for each in events.since(0)))
            (waiting,) = (await served.client.get("/memory")).json["waiting"]
            assert (waiting["model"], waiting["bytes"]) == ("b", GiB)
            assert "It waits for memory: it needs 1.0 GiB, 512 MiB is free" in await llmsup(served, "why", "b")
            status = (await served.client.get("/v1/models/b")).json["status"]
            assert status["value"] == "loading"
            assert "(in memory: a)" in status["waits_for"]
            assert "1 model waiting for memory" in await llmsup(served, "ps")
        assert (got[0].status, got[0].error["code"]) == (503, "insufficient_memory")
        assert "(in memory: a)" in got[0].error["message"]
        assert got[0].headers["retry-after"] == "30"


async def test_a_model_that_nobody_knows() -> None:
    """404, as everywhere."""
    async with serving(config=config(a=1)) as served:
        assert (await served.client.get("/memory/nope")).status == 404
