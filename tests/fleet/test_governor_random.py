"""What must hold whatever happens: half an hour of random requests, loads, unloads, reloads and neighbours."""

from __future__ import annotations

from random import Random

import pytest
import trio
from machines import RESERVE, TOTAL, Machine, machine
from trio.testing import MockClock

from llmsup.config.schema import GiB
from llmsup.fleet.model.states import Cause
from llmsup.units import Seconds

HALF_AN_HOUR = 1800.0
SIZES = {"a": 5.0, "b": 12.0, "c": 20.0, "d": 28.0, "e": 35.0, "f": 50.0, "giant": 70.0}
FINE = {"", "insufficient_memory", "queue_timeout", "model_too_large", "unloading"}


async def client(m: Machine, seed: float) -> None:
    """One request after the other, some of them long, some given up."""
    dice = Random(seed)  # noqa: S311 -- a test's
    while True:
        name = dice.choice(list(SIZES))
        m.ask(name, dice.expovariate(1 / 20), dice.choice([1.0, 20.0, HALF_AN_HOUR]))
        await trio.sleep(dice.expovariate(1 / 60))


async def operator(m: Machine, seed: float) -> None:
    """Loads, unloads, changes the config, and uses the machine for something else."""
    dice = Random(seed)  # noqa: S311 -- a test's
    while True:
        await trio.sleep(dice.expovariate(1 / 120))
        name = dice.choice(list(SIZES))
        match dice.randrange(5):
            case 0:
                m.fleet.load(m.fleet.models[name], no_eviction=dice.random() < 0.5)
            case 1:
                m.nursery.start_soon(m.fleet.models[name].unload, "for a test")
            case 2:
                m.neighbour = dice.choice([0, 0, 10 * GiB, 30 * GiB, 60 * GiB])
            case 3:
                serve(m, dice)
            case _:
                if m.alive():
                    dice.choice(m.alive()).size = round(dice.uniform(1, 40) * GiB)


def serve(m: Machine, dice: Random) -> None:
    """The same models, with other settings."""
    timeouts = {"queue_timeout": Seconds(300)}
    m.have(
        **{
            name: (
                size,
                {
                    **timeouts,
                    "priority": dice.choice(["low", "normal", "normal", "high"]),
                    "pinned": name == "a" and dice.random() < 0.3,
                    "ttl": Seconds(dice.choice([60, 600, 6000])),
                    "max_in_flight": dice.choice([0, 0, 1]),
                },
            )
            for name, size in SIZES.items()
        }
    )


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
async def test_half_an_hour_of_anything(autojump_clock: MockClock, seed: int) -> None:
    """Nobody is cut off by an eviction, none is futile, everybody gets an answer, and nothing is counted for ever."""
    async with machine(load_time=3, stop_time=1) as m:
        serve(m, Random(seed))  # noqa: S311 -- a test's
        async with trio.open_nursery() as nursery:
            for number in range(4):
                nursery.start_soon(client, m, seed + number / 10)
            nursery.start_soon(operator, m, seed)
            await trio.sleep(HALF_AN_HOUR)
            nursery.cancel_scope.cancel()
        m.neighbour = 0
        await trio.sleep(1000)  # longer than any queue_timeout, and than a request takes

        assert set(m.ended) <= FINE
        assert [said for said in m.said if "to make room" in said or "memory pressure" in said] == []
        assert m.ended.count("") > len(m.ended) / 4
        assert m.governor.asks == []
        for model in m.fleet.models.values():
            assert not model.queue.busy
            assert not model.queue.paused
        loaded = {engine.name for engine in m.alive()}
        assert {each.name for each in m.governor.loaded_models()} == loaded
        went = m.went()
        assert not {Cause.CRASHED, Cause.FAILED} & {Cause(cause) for _, cause in went}
        assert "giant" not in {name for name, _ in went}

        evictions = [event for event in m.happened("decision") if event.data["decision"] == "evict"]
        starts = m.happened("model")
        for event in evictions:
            if (name := event.data["model"]) is None:
                continue  # for the machine's sake
            after = [each for each in starts if each.number > event.number and each.data["model"] == name]
            assert after, f"nothing became of {name}, for which {event.data['victims']} went"
            # It starts, unless somebody unloaded it or changed it meanwhile.
            assert after[0].data["state"] in ("starting", "unloaded")


def test_the_scene_has_want_of_memory() -> None:
    """Or all that would be easy."""
    assert sum(SIZES.values()) * GiB > 2 * TOTAL
    assert SIZES["giant"] * GiB > TOTAL - RESERVE
