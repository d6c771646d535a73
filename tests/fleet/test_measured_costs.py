"""What a model is going to cost: asked before each load, measured in each life, kept from one run to the next."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest
import trio
from attrs import evolve
from fake_run import FakeEngine, Garage
from fleets import entry
from real_engines import llama_server, smollm2
from serving import serving

from llmsup.catalog.entry import Entry
from llmsup.catalog.found import Found
from llmsup.catalog.gguf.facts import Facts
from llmsup.config.schema import Config, EngineSpec, GiB, MiB, ModelSpec, Server
from llmsup.fleet.memory.costs import MeasuredCosts
from llmsup.fleet.model.model import Model
from llmsup.fleet.model.run import Run
from llmsup.memory.cost.placement import Room
from llmsup.memory.cost.store import FootprintStore
from llmsup.process.logbook import LogBook
from llmsup.units import Bytes, Seconds


def costs(folder: Path, build: str = "b1") -> MeasuredCosts:
    return MeasuredCosts(FootprintStore(folder / "footprints.json"), lambda _: build)


async def lived(entry: Entry, size: int, *later: int, ready: bool = True) -> Run:
    """A life that came to so many bytes when it was ready, and then to others."""
    run, engine = Run(), FakeEngine(Garage(), 1, entry.name)
    run.engine, engine.size = engine, size
    run.loaded_at = trio.current_time() if ready else None
    for engine.size in (size, *later):
        await run.measure()
    return run


def chat_model() -> Found:
    """One whose memory can be told from its header."""
    facts = Facts(architecture="llama", kind="chat", weights=Bytes(GiB // 2), context_length=512, vocabulary=100)
    return Found(id="chat", path=Path("/chat.gguf"), files=(), facts=facts)


def model(**spec: Any) -> Model:
    return Model(entry("a", **spec), LogBook())


async def test_what_was_measured_counts_the_next_time(tmp_path: Path) -> None:
    """Also for another llmsup that reads the same file."""
    first, a = costs(tmp_path), model()
    assert (await first.cost(a)).source == "estimated"
    first.keep(a, await lived(a.entry, 3 * GiB))
    again = await first.cost(a)
    assert (again.source, again.bytes) == ("measured", 3 * GiB)
    assert first._store.save() is None
    second = costs(tmp_path)
    assert second._store.load() is None
    assert (await second.cost(a)).bytes == 3 * GiB


@pytest.mark.parametrize("other", [{"ctx_size": 99}, {"args": ("--mlock",)}, {"path": "/b.gguf"}])
async def test_another_way_to_start_it_is_another_cost(tmp_path: Path, other: dict[str, Any]) -> None:
    """The file, the flags and the engine's build make two loads alike, and nothing else does."""
    kept, a = costs(tmp_path), model()
    await kept.cost(a)
    kept.keep(a, await lived(a.entry, 3 * GiB))
    changed = Model(evolve(a.entry, spec=evolve(a.spec, **other)), LogBook())
    assert (await kept.cost(changed)).source == "estimated"
    same = Model(evolve(a.entry, spec=evolve(a.spec, ttl=Seconds(1), description="other")), LogBook())
    assert (await kept.cost(same)).source == "measured"


async def test_a_load_time_is_that_of_the_model_as_it_is(tmp_path: Path) -> None:
    """It is known to another llmsup that reads the same file, for the same file, flags and build; the machine's speed
    is of all models.
    """
    builds, a = ["b1"], model()
    first = MeasuredCosts(FootprintStore(tmp_path / "f.json"), lambda _: builds[-1])
    assert first.speed.expected(GiB) == pytest.approx(1.0), "nothing was ever loaded here"
    await first.cost(a)
    first.loaded(a, Run(), 7.0, 14 * GiB)
    assert first._store.save() is None
    second = MeasuredCosts(FootprintStore(tmp_path / "f.json"), lambda _: builds[-1])
    assert second._store.load() is None
    again, other = model(), model(ctx_size=99)
    await second.costs([again, other])
    assert (second.load_seconds(again), second.load_seconds(other)) == (7.0, None)
    assert second.speed.expected(GiB) == pytest.approx(0.5)
    builds.append("b2")
    await second.cost(again)
    assert second.load_seconds(again) is None


async def test_what_a_model_took_before_it_was_changed_says_nothing_of_what_it_is_now(tmp_path: Path) -> None:
    """An engine that is still at work when its model is redefined has run as the model was."""
    kept, a = costs(tmp_path), model()
    a.run = await lived(a.entry, 3 * GiB)
    await kept.cost(a)
    was = a.entry
    a.entry = a.served = evolve(was, spec=evolve(a.spec, ctx_size=99))
    kept.loaded(a, a.run, 7.0, GiB)
    kept.keep(a, a.run)
    a.run = None
    assert ((await kept.cost(a)).source, kept.load_seconds(a)) == ("estimated", None)
    a.entry = a.served = was
    assert ((await kept.cost(a)).source, kept.load_seconds(a)) == ("measured", 7.0)


async def test_another_build_of_the_engine_is_another_cost(tmp_path: Path) -> None:
    """An upgrade may change what buffers take."""
    builds, a = ["b1"], model()
    kept = MeasuredCosts(FootprintStore(tmp_path / "f.json"), lambda _: builds[-1])
    await kept.cost(a)
    kept.keep(a, await lived(a.entry, 3 * GiB))
    builds.append("b2")
    assert (await kept.cost(a)).source == "estimated"


async def test_a_load_that_never_came_to_its_end_says_nothing(tmp_path: Path) -> None:
    """What it had by then is not what it needs."""
    kept, a = costs(tmp_path), model()
    await kept.cost(a)
    kept.keep(a, await lived(a.entry, GiB, ready=False))
    kept.keep(a, Run())
    assert (await kept.cost(a)).source == "estimated"


async def test_a_declared_memory_that_was_too_small_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Once more at the end of its run, with what to write instead; and from then on what was seen counts."""
    kept, a = costs(tmp_path), model(memory=Bytes(GiB))
    assert (await kept.cost(a)).source == "declared"
    with caplog.at_level(logging.WARNING):
        kept.keep(a, await lived(a.entry, 3 * GiB))
    assert "its declared `memory` is 1.0 GiB, but it took 3.0 GiB" in caplog.text
    caplog.clear()
    kept.keep(a, await lived(a.entry, 3 * GiB + MiB))
    assert not caplog.text, "it was told"
    kept.keep(a, await lived(a.entry, 4 * GiB))
    assert "it took 4.0 GiB" in caplog.text
    now = await kept.cost(a)
    assert (now.source, now.bytes) == ("measured", 4 * GiB)


async def test_what_it_grew_to_counts_unless_it_was_prompts(tmp_path: Path) -> None:
    """A command that takes its memory with its first request is let in by that the next time; an engine that kept
    prompts is let in by what it took before it did.
    """
    kept, a = costs(tmp_path), model()
    await kept.cost(a)
    kept.keep(a, await lived(a.entry, GiB, 6 * GiB, 5 * GiB))
    assert (await kept.cost(a)).bytes == 6 * GiB
    chat = Model(Entry(spec=ModelSpec(name="chat", cache_ram=Bytes(2 * GiB)), found=chat_model()), LogBook())
    assert (await kept.cost(chat)).grows == 2 * GiB
    for later, start in [(2.5, 1), (3, 1), (4, 2)]:
        kept.keep(chat, await lived(chat.entry, GiB, round(later * GiB)))
        found = await kept.cost(chat)
        assert (found.source, found.bytes, found.grows) == ("measured", start * GiB, 2 * GiB)


async def test_many_at_once_are_told_the_same(tmp_path: Path) -> None:
    """What `ls` shows is what a load is let in by, before and after it was measured, also by another llmsup."""
    first, a, b = costs(tmp_path), model(), model(memory=Bytes(GiB))
    assert await first.costs([a, b]) == {a: await first.cost(a), b: await first.cost(b)}
    first.keep(a, await lived(a.entry, 3 * GiB))
    assert first._store.save() is None
    second = costs(tmp_path)
    second._store.load()
    for some in (first, second):
        assert (await some.costs([a, b]))[a].source == "measured"
        assert await some.costs([a, b]) == {a: await some.cost(a), b: await some.cost(b)}


async def test_a_damaged_file_is_told_and_replaced(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Half a file is no file; the next save writes a whole one."""
    (tmp_path / "footprints.json").write_text('{"format":1,"seen":{"abc')
    kept, a = costs(tmp_path), model()
    async with trio.open_nursery() as nursery:
        with caplog.at_level(logging.WARNING):
            await nursery.start(kept.run)
        assert "footprints.json is damaged" in caplog.text
        await kept.cost(a)
        kept.keep(a, await lived(a.entry, GiB))
        nursery.cancel_scope.cancel()
    seen = json.loads((tmp_path / "footprints.json").read_text())["seen"]
    assert [each["bytes"] for each in seen.values()] == [GiB]


async def test_a_real_engine_is_measured_and_remembered(tmp_path: Path) -> None:
    """Estimated the first time, then measured; the next llmsup knows, and it is about what the estimate said."""
    spec = ModelSpec(name="chat", path=str(smollm2()), ctx_size=4096, parallel=1, cache_ram=Bytes(0))
    config = Config(
        models={"chat": spec},
        engines={"llama-server": EngineSpec(name="llama-server", command=(str(llama_server()),))},
        server=Server(state_dir=tmp_path, shutdown_grace=Seconds(1)),
    )
    bytes_by_source: dict[str, int] = {}
    for source in ("estimated", "measured"):
        async with serving(config=config) as served:
            assert (await served.client.chat("chat", max_tokens=1)).status == 200
            (admitted,) = (await served.client.get("/memory")).json["decisions"]
            assert admitted["decision"] == "admit"
            bytes_by_source[source] = admitted["bytes"]
            await served.until("chat", lambda model: model.run and model.run.settled)
            (entry,) = (await served.client.get("/running")).json
            assert entry["footprint_source"] == "measured"
            assert 100 * MiB < entry["footprint_bytes"] < 400 * MiB
            meter = served.model("chat").run.engine.meter  # type: ignore[union-attr]  # it is loaded
            assert meter.buffers.mapped > 90 * MiB, "the engine's own word on its buffers was heard"
            assert meter.buffers.own > 90 * MiB, "the keys and values alone take that"
    kept = json.loads((tmp_path / "footprints.json").read_text())
    ((_, seen),) = kept["seen"].items()
    assert 0 < seen["seconds"] < 60
    assert kept["speed"]["bytes"] > 90 * MiB, "two loads of the same file"
    assert bytes_by_source["measured"] != bytes_by_source["estimated"]
    assert bytes_by_source["measured"] < bytes_by_source["estimated"] * 1.1


async def test_devices_are_looked_up_until_it_was_measured(tmp_path: Path) -> None:
    """By the names that its settings allow; then what it had where is known."""
    asked: list[str] = []

    async def names(entry: Entry) -> dict[str, str]:
        asked.append(entry.name)
        return {"CUDA0": "gpu1", "CUDA1": "gpu0"}

    store = FootprintStore(tmp_path / "f.json")
    known = MeasuredCosts(store, lambda _: "b1", names=names)
    models = {
        devices: Model(evolve(entry("a", devices=devices), found=chat_model()), LogBook())
        for devices in ((), ("CUDA0",), ("none",))
    }
    for devices, pools in (((), ("gpu1", "gpu0")), (("CUDA0",), ("gpu1",)), (("none",), ())):
        model = models[devices]
        first = (await known.costs([model]))[model].pools
        assert first == (() if devices == ("none",) else None), "a list asks no programs"
        cost = await known.cost(model)
        assert (cost.source, cost.pools) == ("estimated", pools)
        assert cost.layout is not None
        assert cost.layout.total == cost.bytes
        assert (await known.costs([model]))[model].pools == pools
    assert len(asked) == 3
    one = models["CUDA0",]
    known.keep(one, await lived(one.entry, 3 * GiB))
    cost = await known.cost(one)
    assert (cost.source, cost.layout, len(asked)) == ("measured", None, 3)


async def test_devices_that_can_not_be_told(tmp_path: Path) -> None:
    """Then it may be any; and a model without a header is on none until it was measured."""
    known = costs(tmp_path)
    model = Model(evolve(entry("a"), found=chat_model()), LogBook())
    assert (await known.cost(model)).pools is None
    assert (await known.cost(Model(entry("b"), LogBook()))).layout is None


async def test_a_declared_size_is_placed_in_proportion(tmp_path: Path) -> None:
    """What is declared is believed as a whole; where it goes is estimated."""
    declared = Bytes(GiB // 4)
    found = chat_model()
    found = evolve(found, facts=evolve(found.facts, numbers={"block_count": 4}))
    model = Model(evolve(entry("a", memory=declared), found=found), LogBook())
    cost = (await costs(tmp_path).cost(model)).placed({"gpu0": Room("gpu0", 24 * GiB, 24 * GiB)})
    assert (cost.source, cost.bytes) == ("declared", declared)
    assert GiB // 8 < cost.devices["gpu0"] <= declared
    assert cost.placed({}) is cost
