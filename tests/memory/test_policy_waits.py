"""How long anybody may have to wait, whatever is asked: the policy in the simulated world, on random days."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from llmsup.config.schema import GiB
from llmsup.memory.policy.inputs import RULES
from tools.simulate_machine import Host, Model, Request, Trace
from tools.simulate_ways import Llmsup
from tools.simulate_world import TICK, UNLOAD, World

NAMES = ("a", "b", "c", "d")
SIZES = st.integers(4, 20)
LOADS = st.sampled_from((0.25, 1.0, 5.0, 30.0))
WORK = st.sampled_from((0.1, 1.0, 8.0, 60.0))
PAUSES = st.sampled_from((0.0, 0.1, 1.0, 10.0, 100.0))
STEPS = st.lists(st.tuples(st.sampled_from(NAMES), WORK, PAUSES), min_size=1, max_size=25)
MODELS = st.tuples(*[st.tuples(SIZES, LOADS) for _ in NAMES])


def day(models: tuple[tuple[int, float], ...], *clients: list[tuple[str, float, float]]) -> Trace:
    """What some clients do, each one thing after the other."""
    known = {name: Model(name, size * GiB, load_seconds=load) for name, (size, load) in zip(NAMES, models, strict=True)}
    asked = []
    for number, steps in enumerate(clients):
        now = 0.1 * number
        for name, work, pause in steps:
            asked.append(Request(now, name, work, f"client {number}"))
            now += work + pause
    return Trace("day", Host(28 * GiB, known), tuple(sorted(asked, key=lambda each: each.time)))


@settings(deadline=None, max_examples=50)
@given(MODELS, STEPS)
def test_one_client_waits_for_loads_alone(
    models: tuple[tuple[int, float], ...], steps: list[tuple[str, float, float]]
) -> None:
    """Whatever it asks, in whatever order: an unload and a load, and never for a guard."""
    tally = World(day(models, steps), Llmsup()).run()
    loads = dict(zip(NAMES, (load for _, load in models), strict=True))
    assert (tally.refusals, tally.futile, len(tally.waits)) == (0, 0, len(steps))
    for (name, _, _), waited in zip(steps, tally.waits, strict=True):
        assert waited <= UNLOAD + loads[name] + 1e-6


@settings(deadline=None, max_examples=40)
@given(
    st.tuples(LOADS, LOADS),
    st.lists(st.lists(st.tuples(st.sampled_from("ab"), WORK, PAUSES), min_size=1, max_size=12), min_size=2, max_size=4),
)
def test_nobody_waits_for_longer_than_a_turn(
    loads: tuple[float, float], clients: list[list[tuple[str, float, float]]]
) -> None:
    """Of two models that don't fit together. Who comes while the model is held waits longest: for what it has in
    flight, the other's load, its turn (six times both loads, two minutes at most), what that has in flight then, and
    the load of one's own.
    """
    models = ((20, loads[0]), (20, loads[1]), (4, 1.0), (4, 1.0))
    tally = World(day(models, *clients), Llmsup()).run()
    turn = min(RULES.turn_loads * sum(loads), RULES.turn_most)
    longest = max(work for steps in clients for _, work, _ in steps)
    assert (tally.refusals, tally.futile) == (0, 0)
    assert max(tally.waits) <= turn + 2 * longest + sum(loads) + 2 * (UNLOAD + TICK)


@settings(deadline=None, max_examples=20)
@given(MODELS, st.lists(STEPS, min_size=2, max_size=4))
def test_everybody_is_answered_and_no_eviction_is_futile(
    models: tuple[tuple[int, float], ...], clients: list[list[tuple[str, float, float]]]
) -> None:
    """Up to four clients, four models of any size and load: as long as none of them waits longer than is allowed."""
    tally = World(day(models, *clients), Llmsup()).run()
    assert (tally.deaths, tally.refusals, tally.futile) == (0, 0, 0)
    assert len(tally.waits) == sum(map(len, clients))
