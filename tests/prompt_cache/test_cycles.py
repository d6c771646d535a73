"""A thousand engines that come and go, or crash: no file is left without an owner, and the budget is kept."""

from __future__ import annotations

import os
import random

import pytest
import trio
from prompt_bench import Bench
from slot_engine import words

from llmsup.errors import EngineBadAnswer

CYCLES = 200
BUDGET = 6000


@pytest.mark.parametrize("spec", [{"min_tokens": 20, "disk": BUDGET}])
@pytest.mark.parametrize(
    "seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(1, 1000 // CYCLES))]
)
async def test_random_cycles(bench: Bench, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """And what an engine has is never what another model's computed."""
    monkeypatch.setattr(os, "fsync", lambda _: None)  # no power fails here, and a disk takes longer than all the rest
    luck = random.Random(seed)  # noqa: S311
    talks = {model: [words(7 + model * 10 + talk, 30) for talk in range(3)] for model in range(3)}
    for _ in range(CYCLES):
        model = luck.randrange(3)
        argv, build = ("/bin/false", f"--{model}"), luck.choice("a" * 15 + "b")
        keeper, engine = bench.start(f"m{model}", slots=luck.randrange(1, 4), argv=argv, build=build)
        await keeper.restore()
        for held in filter(None, engine.held):
            assert held[:30] in [talk[:30] for talk in talks[model]], "restored from another model"
        for _ in range(luck.randrange(4)):
            talk = luck.choice(talks[model])
            talk += words(luck.randrange(10**6), luck.randrange(1, 12))
            cached = engine.ask(talk, [])
            if keeper.listens:
                keeper.answered(len(talk) - cached, cached, 0.1)
            if luck.random() < 0.3:
                await keeper.save(trio.current_time() + 5, idle=True)
            if luck.random() < 0.1:
                engine.fails = EngineBadAnswer("nonsense")
        if luck.random() < 0.8:  # else it crashes
            await keeper.save(trio.current_time() + 5)
        bench.cache.store.leave(engine.room)
        await bench.cache.sealed(f"m{model}")
        owned = {f"{saved}.{end}" for saved in bench.cache.store.entries for end in ("data", "sum", "json")}
        assert bench.files() == owned
        assert bench.cache.store.bytes <= BUDGET
        assert not list((bench.cache.store.directory / "engines").iterdir())
    assert bench.cache.store.written > BUDGET
    assert sum(tally.hits for tally in bench.cache.tallies.values()) > 10
