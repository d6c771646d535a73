"""What holds of every decision about memory, whatever the machine and the models."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import combinations

from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from llmsup.memory.amounts import CEILING, HOST, Amounts
from llmsup.memory.cost.cost import by_pool
from llmsup.memory.policy.admission import admit, admit_all
from llmsup.memory.policy.cheapest import Candidate, cheapest
from llmsup.memory.policy.decision import Decision
from llmsup.memory.policy.inputs import RANKS, LoadedModel, Machine, Need, Rules, host_pools
from llmsup.memory.policy.pressure import Relief, relieve

NOW = 1000.0

SIZES = st.integers(0, 20)
TAKEN = SIZES.map(by_pool)
PRIORITIES = st.sampled_from(("low", "normal", "high"))
SECONDS = st.sampled_from((0.0, 10.0, 29.0, 31.0, 200.0, 900.0, 1000.0))


def both(ceiling: int, host: int) -> Amounts:
    return Amounts({CEILING: ceiling, HOST: host})


CANDIDATES = st.builds(Candidate, st.just(""), st.builds(both, SIZES, SIZES), st.integers(-1, 2), st.integers(1, 9))
LACKS = st.builds(both, st.integers(-5, 60), st.integers(-5, 60))
LOADED = st.builds(
    LoadedModel,
    name=st.just(""),
    cost=TAKEN,
    freeable=TAKEN,
    priority=PRIORITIES,
    pinned=st.booleans(),
    in_flight=st.integers(0, 1),
    waiting=st.integers(0, 1),
    loading=st.booleans(),
    leaving=st.booleans(),
    first_served=st.none() | SECONDS,
    last_used=SECONDS,
    rate=st.none() | st.floats(0, 2),
    last_asked=SECONDS,
    ready_since=SECONDS,
    wanted_since=SECONDS,
    reload_seconds=st.floats(0, 100),
    refaults=st.integers(0, 3),
    rivals=st.just({}) | st.builds(lambda when: {"new": when}, SECONDS),
    ttl_expired=st.booleans(),
)
IDLE = st.builds(
    LoadedModel,
    name=st.just(""),
    cost=TAKEN,
    freeable=TAKEN,
    first_served=st.just(0.0),
    last_used=SECONDS,
    reload_seconds=st.floats(1, 100),
)
MACHINES = st.builds(
    Machine,
    st.builds(
        host_pools,
        ceiling=st.integers(0, 100),
        reserve=st.integers(0, 10),
        available=st.none() | st.integers(0, 100),
    ),
    level=st.sampled_from(("normal", "normal", "warn", "critical")),
    now=st.just(NOW),
)
NEEDS = st.builds(Need, st.just("new"), st.integers(0, 100).map(by_pool), PRIORITIES, SECONDS, st.floats(0, 60))
RULES = st.builds(Rules, min_residency=st.sampled_from((0.0, 0.0, 30.0, 600.0)))


def named(loaded_models: list[LoadedModel]) -> list[LoadedModel]:
    return [evolve(each, name=f"m{i}") for i, each in enumerate(loaded_models)]


def candidates(some: list[Candidate]) -> list[Candidate]:
    return [evolve(each, name=f"m{i:03}") for i, each in enumerate(some)]


def short(need: Need, machine: Machine, remain: list[LoadedModel], gone: list[LoadedModel]) -> bool:
    """Whether room is missing, reckoned anew: the ceiling, and the machine's memory less half of the reserve, unless
    nobody else remains.
    """
    if sum(each.cost.total for each in remain) + need.cost.total > machine.ceiling:
        return True
    available, reserve = machine.host.available, machine.host.reserve
    if available is None:
        return False
    promised = sum(max(each.cost.total - each.freeable.total, 0) for each in remain if each.loading)
    there = available + sum(each.freeable.total for each in gone) - promised - (reserve // 2 if remain else 0)
    return need.cost.total > there


def enough(chosen: Iterable[Candidate], lacks: Amounts) -> bool:
    """Whether they free what is missing, reckoned anew."""
    freed = [each.frees for each in chosen]
    return all(sum(each[pool] for each in freed) >= lacks[pool] for pool in (CEILING, HOST))


def losses(chosen: tuple[Candidate, ...]) -> tuple[int, ...]:
    """The loss of each rank, the most important first."""
    return tuple(sum(each.eviction_cost for each in chosen if each.rank == rank) for rank in (2, 1, 0, -1))


def protected(loaded: LoadedModel) -> bool:
    busy = loaded.in_flight or loaded.waiting
    return bool(loaded.pinned or busy or loaded.loading or loaded.leaving)


@given(st.lists(LOADED, max_size=16).map(named), MACHINES, NEEDS, RULES)
def test_a_protected_model_is_never_chosen(
    loaded_models: list[LoadedModel], machine: Machine, need: Need, rules: Rules
) -> None:
    """Nor one that is more important than the load, nor, without pressure, one before its min_residency."""
    chosen = admit(need, machine, loaded_models, rules=rules).victims
    for each in loaded_models:
        if each.name in chosen:
            assert not protected(each)
            assert each.rank <= RANKS[need.priority]
            here = NOW - (each.last_used if each.first_served is None else each.first_served)
            assert each.ttl_expired or machine.level == "critical" or here >= rules.min_residency


@given(st.lists(LOADED, max_size=16).map(named), MACHINES, NEEDS)
def test_an_idle_model_without_rivals_is_never_waited_for(
    loaded_models: list[LoadedModel], machine: Machine, need: Need
) -> None:
    """Whatever its age: that a load waits is never for the sake of a model that nobody else was seen to want."""
    alone = [evolve(each, rivals={}) for each in loaded_models]
    free = [each for each in alone if not protected(each) and each.rank <= RANKS[need.priority]]
    decision = admit(need, machine, alone)
    assert {each.name for each in decision.weighed if not each.stays} == {each.name for each in free}
    others = [each for each in alone if each not in free and not each.leaving]
    gone = [each for each in alone if each.leaving or each in free]
    if machine.level == "normal" and need.cost.total <= machine.ceiling and not short(need, machine, others, gone):
        leaving = [each for each in alone if each.leaving]
        assert decision.kind != "wait" or not short(need, machine, [e for e in alone if not e.leaving], leaving)


@given(st.lists(LOADED, max_size=16).map(named), MACHINES, NEEDS, RULES)
def test_no_guard_outlasts_its_bound(
    loaded_models: list[LoadedModel], machine: Machine, need: Need, rules: Rules
) -> None:
    """Idle for 3/4 of both loads, six times both loads, two minutes: whichever is first; then it is free or held. And
    what time alone changes is foretold."""
    before = admit(need, machine, loaded_models, rules=rules)
    for each in loaded_models:
        loads = need.load_seconds + each.reload_seconds
        ends = min(each.last_used + 0.75 * loads, each.ready_since + min(6 * loads, 120.0))
        guarded = next(w.stays for w in before.weighed if w.name == each.name).startswith("its turn")
        assert not guarded or machine.now < ends
    if before.kind == "wait" and before.again < float("inf"):
        assert before.again > machine.now
        between = admit(need, evolve(machine, now=(machine.now + before.again) / 2), loaded_models, rules=rules)
        assert free(between) == free(before)
        assert bool(between.paused) == bool(before.paused)


@given(st.lists(LOADED, max_size=16).map(named), MACHINES, NEEDS, st.sampled_from((30.0, 600.0)))
def test_a_users_floor_never_grows(
    loaded_models: list[LoadedModel], machine: Machine, need: Need, floor: float
) -> None:
    """So many seconds after its first answer, or after it was ready, no model stays for being young: neither for a load
    nor under pressure, however often it has come back.
    """
    rules = Rules(min_residency=floor)
    for each in loaded_models:
        began = each.last_used if each.first_served is None else each.first_served
        for refaults in (0, 1, 30):
            here = evolve(each, refaults=refaults)
            (weighed,) = admit(need, machine, [here], rules=rules).weighed
            (pressed,) = relieve(machine, [here], Relief(), shortfall=by_pool(10), rules=rules).weighed
            for why in (weighed.stays, pressed.stays):
                assert "at least" not in why or (f"at least {floor:.0f} s" in why and machine.now < began + floor)


@given(st.lists(LOADED, max_size=16).map(named), MACHINES, NEEDS, st.floats(0, 100))
def test_who_is_held_stays_held(loaded_models: list[LoadedModel], machine: Machine, need: Need, dearer: float) -> None:
    """As long as that is enough, whatever becomes of their worth: else none of two held in turn becomes idle."""
    before = admit(need, machine, loaded_models)
    if before.paused:
        worth = [evolve(each, rate=dearer if each.name in before.paused else 0.0) for each in loaded_models]
        again = admit(evolve(need, paused=frozenset(before.paused)), machine, worth)
        assert again.victims or set(again.paused) <= set(before.paused)


def free(decision: Decision) -> set[str]:
    return {each.name for each in decision.weighed if not each.stays}


@given(st.lists(LOADED, max_size=16).map(named), MACHINES)
def test_pressure_takes_at_most_one_and_none_that_is_protected(
    loaded_models: list[LoadedModel], machine: Machine
) -> None:
    """And none at all without it."""
    decision = relieve(machine, loaded_models, Relief(), shortfall=by_pool(10))
    assert len(decision.victims) == (decision.kind == "evict")
    assert decision.kind == "leave" or machine.level != "normal"
    assert not any(protected(each) for each in loaded_models if each.name in decision.victims)


@given(st.lists(LOADED, max_size=16).map(named), MACHINES, NEEDS)
def test_a_decision_does_what_it_says(loaded_models: list[LoadedModel], machine: Machine, need: Need) -> None:
    """Let in if it fits; somebody goes only if it doesn't, and then it does; what can't fit evicts and holds nobody."""
    decision = admit(need, machine, loaded_models)
    leaving = [each for each in loaded_models if each.leaving]
    staying = [each for each in loaded_models if not each.leaving]
    gone = leaving + [each for each in staying if each.name in decision.victims]
    remain = [each for each in staying if each.name not in decision.victims]
    assert (decision.kind == "refuse") == (need.cost.total > machine.ceiling)
    if decision.kind == "admit":
        assert not short(need, machine, loaded_models, [])
    if decision.kind == "evict":
        assert decision.victims
        assert not short(need, machine, remain, gone)
        assert machine.level != "normal" or short(need, machine, staying, leaving)
    if decision.kind in ("wait", "refuse"):
        assert decision.victims == ()
    if machine.level == "normal" and not short(need, machine, loaded_models, []) and need.cost.total <= machine.ceiling:
        assert decision.kind == "admit"
    if decision.paused:
        assert decision.kind == "wait"
        paused = [each for each in staying if each.name in decision.paused]
        others = [each for each in staying if each.name not in decision.paused]
        assert not any(each.pinned or (each.loading and each.wanted_since <= need.since) for each in paused)
        assert not short(need, machine, others, leaving + paused)


@given(st.lists(LOADED, max_size=16).map(named), MACHINES, NEEDS)
def test_the_order_of_the_snapshot_does_not_matter(
    loaded_models: list[LoadedModel], machine: Machine, need: Need
) -> None:
    """The same question has the same answer."""
    one, other = admit(need, machine, loaded_models), admit(need, machine, loaded_models[::-1])
    assert (one.kind, one.reason, set(one.victims), set(one.paused)) == (
        other.kind,
        other.reason,
        set(other.victims),
        set(other.paused),
    )
    assert admit(need, machine, loaded_models) == one


@given(st.lists(IDLE, max_size=10).map(named), MACHINES, NEEDS, st.integers(0, 50))
def test_more_memory_never_costs_more(
    loaded_models: list[LoadedModel], machine: Machine, need: Need, more: int
) -> None:
    """A higher ceiling and more available: no load that was possible becomes impossible, and no loss is greater."""
    available = None if machine.host.available is None else machine.host.available + more
    richer = evolve(machine, pools=host_pools(machine.ceiling + more, machine.host.reserve, available))
    before, after = admit(need, machine, loaded_models), admit(need, richer, loaded_models)
    better = {"refuse": 0, "wait": 1, "evict": 2, "admit": 3}
    assert better[after.kind] >= better[before.kind]
    if before.kind == "evict":
        assert lost(after) <= lost(before) + 1e-5


def lost(decision: Decision) -> float:
    return sum(each.loss for each in decision.weighed if each.name in decision.victims)


@given(st.lists(NEEDS, max_size=6), st.lists(LOADED, max_size=8).map(named), MACHINES)
def test_together_they_never_promise_more_than_there_is(
    needs: list[Need], loaded_models: list[LoadedModel], machine: Machine
) -> None:
    """Nobody is chosen twice, and when the victims are gone all that was let in fits under the ceiling."""
    needs = [evolve(each, model=f"n{i}") for i, each in enumerate(needs)]
    decisions = admit_all(needs, machine, loaded_models)
    assert sorted(each.model for each in decisions) == sorted(each.model for each in needs)
    victims = [name for each in decisions for name in each.victims]
    assert len(victims) == len(set(victims))
    promised = sum(each.bytes for each in decisions if each.kind in ("admit", "evict"))
    remain = sum(each.cost.total for each in loaded_models if not each.leaving and each.name not in victims)
    assert not promised or remain + promised <= machine.ceiling


@given(st.lists(CANDIDATES, max_size=40).map(candidates), LACKS)
def test_the_set_covers_the_deficit_or_is_empty(some: list[Candidate], lacks: Amounts) -> None:
    """Empty if nothing is missing or if all together are not enough; never a victim too many."""
    chosen = cheapest(some, lacks)
    assert bool(chosen) == (enough(some, lacks) and not enough((), lacks))
    assert not chosen or enough(chosen, lacks)
    for each in chosen if len(some) <= 12 else ():
        assert not enough((other for other in chosen if other is not each), lacks)


@given(st.lists(CANDIDATES, max_size=8).map(candidates), LACKS)
def test_up_to_twelve_it_is_the_best_of_all_sets(some: list[Candidate], lacks: Amounts) -> None:
    """By brute force: the loss of each rank, the number, what is freed beyond need, the names."""

    def key(given: Iterable[Candidate]) -> tuple[tuple[int, ...], int, int, list[str]]:
        chosen = tuple(given)
        ordered = sorted(chosen, key=lambda each: (each.rank, each.eviction_cost, each.name))
        freed = sum(each.frees[CEILING] + each.frees[HOST] for each in chosen)
        return losses(chosen), len(chosen), freed, [each.name for each in ordered]

    sets = [each for size in range(1, len(some) + 1) for each in combinations(some, size)]
    that_do = [each for each in sets if enough(each, lacks)]
    expected = set(min(that_do, key=key)) if that_do and not enough((), lacks) else set()
    assert set(cheapest(some, lacks)) == expected


@given(st.lists(CANDIDATES, min_size=4, max_size=9).map(candidates), LACKS)
def test_greedy_is_never_better_and_never_blind_to_importance(some: list[Candidate], lacks: Amounts) -> None:
    """The optimum bounds it; and it touches no rank that the optimum spares."""
    greedy, best = cheapest(some, lacks, exact=0), cheapest(some, lacks)
    assert bool(greedy) == bool(best)
    assert losses(greedy) >= losses(best)
    assert max((each.rank for each in greedy), default=0) == max((each.rank for each in best), default=0)
