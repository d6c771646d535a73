"""What must hold of sleep whatever happens: half an hour of random requests, loads, unloads, failures, neighbours."""

from __future__ import annotations

from random import Random

import pytest
import trio
from fake_run import FakeEngine
from machines import Machine
from sleepers import CARD, GPU, Card, have, machine_with_card
from trio.testing import MockClock

from llmsup.config.schema import GiB
from llmsup.errors import EngineBadAnswer
from llmsup.fleet.model.states import State
from llmsup.memory.amounts import add_up
from llmsup.units import Seconds

HALF_AN_HOUR = 1800.0
SIZES = {"a": 5.0, "b": 8.0, "c": 10.0, "d": 13.0, "e": 20.0}
FINE = {"", "insufficient_memory", "queue_timeout", "unloading"}


async def client(m: Machine, seed: float) -> None:
    """One request after the other, some of them long, some given up."""
    dice = Random(seed)  # noqa: S311 -- a test's
    while True:
        m.ask(dice.choice(list(SIZES)), dice.expovariate(1 / 10), dice.choice([1.0, 20.0, HALF_AN_HOUR]))
        await trio.sleep(dice.expovariate(1 / 30))


async def operator(m: Machine, seed: float) -> None:
    """Loads, unloads, changes the config, kills engines, and uses the machine for something else."""
    dice = Random(seed)  # noqa: S311 -- a test's
    while True:
        await trio.sleep(dice.expovariate(1 / 60))
        name = dice.choice(list(SIZES))
        match dice.randrange(6):
            case 0:
                m.fleet.load(m.fleet.models[name], no_eviction=dice.random() < 0.5)
            case 1:
                m.nursery.start_soon(m.fleet.models[name].unload, "for a test")
            case 2:
                m.neighbour = dice.choice([0, 0, 10 * GiB, 40 * GiB])
            case 3:
                await serve(m, dice)
            case 4 if sleepers := [engine for engine in m.alive() if engine.asleep]:
                dice.choice(sleepers).exit(1)


async def serve(m: Machine, dice: Random) -> None:
    """The same models, with other settings."""
    settings = {
        name: (
            size,
            {
                "queue_timeout": Seconds(300),
                "ttl": Seconds(dice.choice([20, 120, 600])),
                "sleep": dice.choice(["auto", "auto", 1, 2, 0]),
                "priority": dice.choice(["low", "normal", "high"]),
            },
        )
        for name, size in SIZES.items()
    }
    await have(m, **settings)


class Waking:
    """How engines wake: some fail. Two at once on one engine would be seen."""

    def __init__(self, seed: int) -> None:
        self._dice = Random(seed)  # noqa: S311 -- a test's
        self._now = set[FakeEngine]()
        self.twice = 0

    async def __call__(self, engine: FakeEngine, level: int) -> None:
        self.twice += engine in self._now or level != engine.asleep
        self._now.add(engine)
        try:
            await trio.sleep(self._dice.uniform(0.1, 5))
            if self._dice.random() < 0.1:
                raise EngineBadAnswer("POST /wake_up answered 500")
        finally:
            self._now.discard(engine)


async def watch(m: Machine, seen: set[str]) -> None:
    """The card never has more than there is, nor is more promised of it; what sleeps serves nobody."""
    while True:
        await trio.sleep(0.25)
        assert Card(m).used <= CARD
        grants = list(m.governor._ledger)
        assert add_up(each.taken for each in grants if not each.leaving)[GPU] <= CARD
        for model in m.fleet.models.values():
            seen.add(str(model.state))
            asleep = model.run is not None and model.run.asleep
            if model.state is State.SLEEPING or asleep:
                assert not model.queue.in_flight
                assert asleep == model.run.engine.asleep or model.state is State.STARTING  # type: ignore[union-attr]


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(6))
async def test_half_an_hour_of_anything(autojump_clock: MockClock, seed: int) -> None:
    """Everybody gets an answer, nobody is cut off by an eviction, and nothing is counted for ever."""
    async with machine_with_card(load_time=20) as m:
        waking, seen = Waking(seed), set[str]()
        m.garage.wake = waking  # type: ignore[method-assign]  # a test decides
        await serve(m, Random(seed))  # noqa: S311 -- a test's
        async with trio.open_nursery() as nursery:
            nursery.start_soon(watch, m, seen)
            for number in range(4):
                nursery.start_soon(client, m, seed + number / 10)
            nursery.start_soon(operator, m, seed)
            await trio.sleep(HALF_AN_HOUR)
            nursery.cancel_scope.cancel()
        m.neighbour = 0
        await trio.sleep(2000)  # longer than any queue_timeout, than two ttls, and than a request takes

        assert set(m.ended) <= FINE
        assert [said for said in m.said if "to make room" in said or "memory pressure" in said] == []
        assert m.ended.count("") > len(m.ended) / 4
        assert (waking.twice, m.governor.asks) == (0, [])
        assert "sleeping" in seen
        assert len(m.happened("wake")) > 2
        assert all(not model.queue.busy for model in m.fleet.models.values())
        loaded = {engine.name for engine in m.alive()}
        assert {each.name for each in m.governor.loaded_models()} == loaded
