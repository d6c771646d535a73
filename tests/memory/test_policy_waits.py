"""How long anybody may have to wait, whatever is asked: the policy in the simulated world, on random days."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest
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
    return played(dict(zip(NAMES, models, strict=True)), clients)


def played(models: Mapping[str, tuple[int, float]], clients: Sequence[list[tuple[str, float, float]]]) -> Trace:
    """The same of any models: GiB and seconds of a load."""
    known = {name: Model(name, size * GiB, load_seconds=load) for name, (size, load) in models.items()}
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


@pytest.mark.slow
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


@pytest.mark.slow  # sixty days of up to six models, simulated
@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.tuples(SIZES, LOADS), min_size=2, max_size=6),
    st.lists(st.lists(st.tuples(st.integers(0, 5), WORK, PAUSES), min_size=1, max_size=15), min_size=2, max_size=6),
)
def test_nobody_waits_for_longer_than_all_that_came_before(
    models: list[tuple[int, float]], clients: list[list[tuple[int, float, float]]]
) -> None:
    """Of any models, of which some fit together: for each of the others a load, a turn and what it has in flight then,
    and for what one's own has in flight, if it is held; then one's own load.
    """
    names = [f"m{number}" for number in range(len(models))]
    steps = [[(names[which % len(names)], work, pause) for which, work, pause in each] for each in clients]
    tally = World(played(dict(zip(names, models, strict=True)), steps), Llmsup()).run()
    load = max(load for _, load in models)
    turn = min(RULES.turn_loads * 2 * load, RULES.turn_most)
    longest = max(work for each in steps for _, work, _ in each)
    assert (tally.futile, tally.deaths) == (0, 0)
    assert max(tally.waits) <= len(names) * (load + turn + longest + 2 * (UNLOAD + TICK))


def test_two_that_are_busy_are_not_held_by_turns() -> None:
    """Six clients keep two models busy with work of a minute, and a third model fits where one of them is: as long as
    the one or the other was held, whichever was asked for less just then, none of them became idle.
    """
    models = dict.fromkeys("abn", (10, 0.5))
    steps = [[("ab"[(number + turn) % 2], 40.0 + 3 * number, 0.1) for turn in range(20)] for number in range(8)]
    tally = World(played(models, [*steps, [("a", 30.0, 0.0), ("n", 5.0, 0.0)]]), Llmsup()).run()
    assert max(tally.waits) <= 6 + 61 + 2 * (0.5 + UNLOAD + TICK)


def test_one_that_needs_all_the_room_does_not_wait_until_nothing_loads() -> None:
    """Two clients have one model after the other loaded, so that at each moment one is loading."""
    models = {f"s{number}": (9, 30.0) for number in range(8)} | {"n": (20, 5.0)}
    steps = [[(f"s{turn % 4 + 4 * number}", 20.0, 0.0) for turn in range(40)] for number in range(2)]
    steps[1].insert(0, ("s7", 45.0, 0.0))  # from then on half a load behind the other
    tally = World(played(models, [*steps, [("n", 5.0, 0.0)]]), Llmsup()).run()
    assert tally.refusals == 0
    assert max(tally.waits) <= 30 + 45 + 30 + 20 + 5 + 2 * (UNLOAD + TICK), "the longest beside it, and one that passed"


@pytest.mark.slow  # twenty days, simulated
@settings(deadline=None, max_examples=20)
@given(MODELS, st.lists(STEPS, min_size=2, max_size=4))
def test_everybody_is_answered_and_no_eviction_is_futile(
    models: tuple[tuple[int, float], ...], clients: list[list[tuple[str, float, float]]]
) -> None:
    """Up to four clients, four models of any size and load: as long as none of them waits longer than is allowed."""
    tally = World(day(models, *clients), Llmsup()).run()
    assert (tally.deaths, tally.refusals, tally.futile) == (0, 0, 0)
    assert len(tally.waits) == sum(map(len, clients))
