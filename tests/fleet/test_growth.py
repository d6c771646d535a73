"""A model is let in by what it takes at its start; what it may grow to is nobody's reason to go, or to stay out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import trio
from attrs import evolve
from machines import RESERVE, machine
from real_engines import llama_server, smollm2
from serving import serving
from trio.testing import MockClock

from llmsup.config.schema import Config, EngineSpec, GiB, Memory, ModelSpec, Server
from llmsup.fleet.model.states import Cause
from llmsup.memory.cost.cost import by_pool
from llmsup.memory.cost.process import Footprint
from llmsup.memory.policy.admission import Claim, admit
from llmsup.memory.policy.inputs import LoadedModel, Machine, Need, host_pools
from llmsup.units import Bytes, Seconds
from llmsup.web.memory import kept

NOW = 10_000.0


async def test_models_that_fit_beside_each_other_stay_beside_each_other(autojump_clock: MockClock) -> None:
    """Six of 307 MiB under a limit of 2 GiB, each of which may keep 2 GiB of prompts."""
    names = "abcdef"
    async with machine(Memory(reserve=RESERVE, limit=Bytes(2 * GiB))) as m:
        m.costs.grow = dict.fromkeys(names, 2 * GiB)
        m.serve(**dict.fromkeys(names, 0.3))
        for name in names:
            await m.use(name)
            await trio.sleep(100)
        assert m.loaded == list(names)
        assert m.went() == []
        loaded_models = m.governor.loaded_models()
        assert {each.grows for each in loaded_models} == {2 * GiB}
        assert kept(m.governor.machine(), loaded_models) == 2 * GiB - sum(each.cost.total for each in loaded_models)


async def test_what_they_do_grow_to_counts(autojump_clock: MockClock) -> None:
    """It is there, and so it may be a reason that somebody goes: for a load, or because it is too much for all."""
    async with machine(Memory(reserve=RESERVE, limit=Bytes(30 * GiB))) as m:
        m.costs.grow = dict.fromkeys("ab", 10 * GiB)
        m.serve(a=14, b=14)
        await m.use("a")
        await trio.sleep(100)
        m.garage.engines[0].size = 20 * GiB
        await trio.sleep(10)
        (a,) = m.governor.loaded_models()
        assert (a.cost.total, a.grows) == (20 * GiB, 4 * GiB)
        await m.use("b")
        assert m.went() == [("a", Cause.ROOM)]


async def test_who_keeps_no_prompts_grows_by_none(autojump_clock: MockClock) -> None:
    """Not by what it counts for less since another has its file mapped, too."""
    async with machine() as m:
        m.serve(a=1)
        await m.use("a")
        meter = m.garage.engines[0].meter
        meter.saw(Footprint(Bytes(GiB), Bytes(GiB)))
        meter.saw(Footprint(Bytes(GiB), Bytes(GiB // 2)))
        await trio.sleep(10)
        (a,) = m.governor.loaded_models()
        assert (a.cost, a.grows) == (by_pool(Bytes(GiB + GiB // 2)), 0)


@pytest.mark.parametrize("neighbour", [0.0, 1.5, 3.9])
async def test_what_fits_is_loaded_where_there_is_nothing_else(autojump_clock: MockClock, neighbour: float) -> None:
    """60 GiB are for models, and one takes all of it. On a machine where the rest is in use, by more than half of the
    reserve, it comes all the same: nobody could ever make room for it.
    """
    async with machine() as m:
        m.neighbour = round(neighbour * GiB)
        m.serve(giant=59.99)
        with trio.fail_after(60):
            await m.use("giant")


async def test_it_comes_though_all_others_have_to_go(autojump_clock: MockClock) -> None:
    """They are idle; and each of them fits beside the others."""
    async with machine() as m:
        m.neighbour = 3 * GiB
        m.serve(a=10, b=10, giant=60)
        for name in "ab":
            await m.use(name)
        await trio.sleep(100)
        with trio.fail_after(60):
            await m.use("giant")
        assert sorted(m.went()) == [("a", Cause.ROOM), ("b", Cause.ROOM)]


ALONE = Machine(host_pools(60 * GiB, reserve=4 * GiB, available=20 * GiB), now=NOW)
IDLE: dict[str, Any] = {"first_served": NOW - 3600, "last_used": NOW - 600, "reload_seconds": 10.0}


def loaded(name: str, gib: int, **given: Any) -> LoadedModel:
    return LoadedModel(name, by_pool(gib * GiB), by_pool(gib * GiB), **{**IDLE, **given})


def test_half_of_the_reserve_is_left_where_others_remain() -> None:
    """One that stays may grow, while a model loads."""
    need = Need("new", by_pool(29 * GiB), since=NOW)
    pinned = loaded("pinned", 1, pinned=True)
    assert admit(need, ALONE, [loaded("a", 10)]).victims == ("a",)
    assert admit(need, ALONE, [loaded("a", 9), pinned]).kind == "wait"
    assert admit(need, ALONE, [loaded("a", 9), pinned]).paused == ()
    assert admit(evolve(need, cost=by_pool(27 * GiB)), ALONE, [loaded("a", 9), pinned]).victims == ("a",)


def test_a_busy_one_is_held_for_one_that_only_fits_alone() -> None:
    """As for any other load."""
    need = Need("new", by_pool(29 * GiB), since=NOW - 300)
    decision = admit(need, ALONE, [loaded("a", 10, in_flight=1)])
    assert (decision.kind, decision.paused) == ("wait", ("a",))


def test_what_waits_for_longer_is_not_alone() -> None:
    """Its room is promised."""
    need = Need("new", by_pool(19 * GiB), since=NOW)
    assert admit(need, ALONE, []).kind == "admit"
    assert admit(need, ALONE, [], claims=[Claim(by_pool(GiB), frozenset())]).kind == "wait"


def test_others_have_it() -> None:
    """Then nothing of ours can go, and the reason says who has it."""
    decision = admit(Need("new", by_pool(21 * GiB), since=NOW), ALONE, [])
    assert (decision.kind, decision.holders) == ("wait", ())
    assert decision.reason == "it needs 21.0 GiB, and other programs leave only 20.0 GiB free"


async def test_real_engines_and_one_figure(tmp_path: Path) -> None:
    """What `/v1/models` says that a model needs is the limit that is just enough for it, and for as many as fit beside
    it, with all other settings as they come.
    """
    spec = ModelSpec(name="a", path=str(smollm2()), ctx_size=2048, parallel=1)
    config = Config(
        models={name: evolve(spec, name=name) for name in "abc"},
        engines={"llama-server": EngineSpec(name="llama-server", command=(str(llama_server()),))},
        server=Server(state_dir=tmp_path, shutdown_grace=Seconds(1)),
    )
    async with serving(config=config) as served:
        listed = (await served.client.get("/v1/models")).json["data"]
    (needs,) = {each["needs_bytes"] for each in listed if each["id"] in ("a", "b", "c")}
    for number in (1, 3):
        models = {name: config.models[name] for name in "abc"[:number]}
        nothing_measured = evolve(config.server, state_dir=tmp_path / str(number))
        limit = Memory(limit=Bytes(needs * number))
        limited = evolve(config, models=models, memory=limit, server=nothing_measured)
        async with serving(config=limited) as served:
            listed = (await served.client.get("/v1/models")).json["data"]
            assert [each["fits"] for each in listed if each["id"] in models] == [True] * number
            for name in models:
                assert (await served.client.chat(name, max_tokens=1)).status == 200
            running = (await served.client.get("/running")).json
            assert {each["model"] for each in running} == set(models)
            decisions = (await served.client.get("/memory")).json["decisions"]
            # If one has grown a little beyond the limit since, nobody goes, which is told as a decision, too.
            decided = [(each["decision"], each["bytes"]) for each in decisions if each["decision"] != "leave"]
            assert decided == [("admit", needs)] * number
