"""Whom the memory policy lets in, whom it sends away, and what it says about it."""

from __future__ import annotations

from typing import Any

import pytest
from attrs import evolve

from llmsup.config.schema import GiB
from llmsup.memory.amounts import CEILING, HOST, Amounts
from llmsup.memory.cost.cost import by_pool
from llmsup.memory.cost.load_speed import ASSUMED, Speed
from llmsup.memory.policy.admission import Claim, admit, admit_all
from llmsup.memory.policy.cheapest import Candidate, cheapest
from llmsup.memory.policy.decision import Decision
from llmsup.memory.policy.eviction_cost import HALF_LIFE, VISIT, Rate, chance, dearest_first, loss
from llmsup.memory.policy.inputs import Level, LoadedModel, Machine, Need, Rules, host_pools
from llmsup.memory.policy.pressure import BACK_OFF, SETTLE, SETTLE_CRITICAL, Relief, relieve
from llmsup.memory.policy.refaults import QUIET, SOON, Refaults
from llmsup.memory.policy.rivals import Rivals

NOW = 10_000.0
RULES = Rules()


def machine(
    *, ceiling: int = 30 * GiB, reserve: int = 0, available: int | None = None, now: float = NOW, **given: Any
) -> Machine:
    return Machine(host_pools(ceiling, reserve, available), now=now, **given)


def model(name: str, gib: float, *, freeable: int | None = None, **given: Any) -> LoadedModel:
    """A model that is idle for ten minutes and may go."""
    size = round(gib * GiB)
    idle = {"first_served": NOW - 3600, "last_used": NOW - 600, "reload_seconds": 10.0}
    return LoadedModel(name, by_pool(size), by_pool(size if freeable is None else freeable), **{**idle, **given})


def need(gib: float, **given: Any) -> Need:
    return Need("new", by_pool(round(gib * GiB)), **{"since": NOW, **given})


def both(size: int) -> Amounts:
    return Amounts({CEILING: size, HOST: size})


def why(decision: Decision, name: str) -> str:
    return next(each.stays for each in decision.weighed if each.name == name)


def test_what_fits_is_let_in_and_none_is_unloaded() -> None:
    """Side by side, without a thought about who is idle."""
    decision = admit(need(10), machine(), [model("a", 20)])
    assert (decision.kind, decision.victims) == ("admit", ())
    assert decision.reason == "it needs 10.0 GiB, and 10.0 GiB is free"


def test_what_can_never_fit_is_refused_with_the_numbers() -> None:
    """A 507: nobody is unloaded for it."""
    decision = admit(need(31), machine(), [model("a", 20)])
    assert (decision.kind, decision.victims) == ("refuse", ())
    assert "needs 31.0 GiB" in decision.reason
    assert "30.0 GiB" in decision.reason


def test_the_cheapest_goes_and_the_decision_says_why() -> None:
    """The one that nobody has asked for in an hour, with the losses of both."""
    loaded_models = [model("busy", 10, rate=0.1, last_used=NOW - 40), model("forgotten", 17, last_used=NOW - 3600)]
    decision = admit(need(12), machine(), loaded_models)
    assert decision.victims == ("forgotten",)
    assert decision.room == 3 * GiB
    assert decision.missing[CEILING] == 9 * GiB
    assert [each.name for each in decision.weighed] == ["forgotten", "busy"]
    assert decision.weighed[0].loss < decision.weighed[1].loss
    assert "it needs 12.0 GiB, and 3.0 GiB is free; forgotten can go for" in decision.reason


def test_one_large_forgotten_model_goes_before_three_small_busy_ones() -> None:
    """oMLX issue 3306."""
    small = [model(f"s{i}", 4, rate=0.05, last_used=NOW - 35) for i in range(3)]
    decision = admit(need(12), machine(), [*small, model("large", 17, last_used=NOW - 3600, reload_seconds=20.0)])
    assert decision.victims == ("large",)


def test_whose_conversations_are_saved_already_goes_first() -> None:
    """Its memory is there at once; where the reload is worth more than the wait, that decides. The decision says how
    long the load waits for the saves, which go on at the same time.
    """
    slow, quick = model("a", 20, rate=1e-4, save_seconds=3.0), model("b", 10)
    decision = admit(need(10), machine(), [slow, quick])
    assert (decision.victims, decision.delay) == (("b",), 0.0)
    assert "saved first" not in decision.reason
    decision = admit(need(10), machine(), [slow, evolve(quick, reload_seconds=1000.0)])
    assert (decision.victims, decision.delay) == (("a",), 3.0)
    losses = {each.name: each.loss for each in decision.weighed}
    assert f"a can go for {losses['a']:.3g} s of expected reload; conversations are saved first" in decision.reason
    assert decision.reason.endswith("which should take 3.0 s")
    both_go = admit(need(30), machine(), [slow, evolve(quick, save_seconds=0.5)])
    assert (both_go.victims, both_go.delay) == (("b", "a"), 3.0)


def test_critical_memory_does_not_wait_for_conversations() -> None:
    """Nothing is saved then, so that it is no reason to take another, and the decision promises no delay."""
    loaded_models = [model("a", 10, rate=1e-4, save_seconds=3.0), model("b", 10)]
    levels: tuple[Level, ...] = ("warn", "critical")
    decisions = [
        relieve(machine(level=level, since=NOW - 60), loaded_models, Relief(), shortfall=Amounts({HOST: GiB}))
        for level in levels
    ]
    assert [decision.victims for decision in decisions] == [("b",), ("a",)]
    decision = decisions[-1]
    assert decision.delay == 0.0
    assert "saved first" not in decision.reason
    forced = evolve(decision, victims=("a",), force=True, weighed=(evolve(decision.weighed[0], delay=2.0),))
    assert forced.delay == 0.0


def test_where_nothing_is_known_the_least_recently_used_goes() -> None:
    """No rate, and the same reload time: recency decides alone."""
    loaded_models = [model(name, 10, last_used=NOW - idle) for name, idle in [("a", 700), ("b", 9000), ("c", 800)]]
    assert admit(need(5), machine(), loaded_models).victims == ("b",)


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"pinned": True}, "pinned"),
        ({"in_flight": 2}, "2 in flight"),
        ({"waiting": 1}, "1 waiting for it"),
        ({"loading": True}, "loading"),
        (
            {"rivals": {"new": NOW - 9}, "last_used": NOW - 3, "ready_since": NOW - 20},
            "its turn: both models are in demand; it ends within 12.0 s",
        ),
        ({"priority": "high"}, "higher priority than new"),
    ],
)
def test_some_stay(given: dict[str, Any], reason: str) -> None:
    """The load waits, and the decision names who has the memory."""
    decision = admit(need(20, load_seconds=10.0), machine(), [model("a", 20, **given), model("b", 2)])
    assert (decision.kind, decision.victims) == ("wait", ())
    assert reason in why(decision, "a")
    assert decision.holders == ("a", "b")


def test_a_model_that_nobody_ever_asked_is_not_kept_for_ever() -> None:
    """Loaded in advance, or for a client that left: its time counts from when it was ready."""
    assert admit(need(20), machine(), [model("a", 20, first_served=None)]).victims == ("a",)


def test_importance_comes_before_loss() -> None:
    """A dear model of low priority goes before a cheap one of normal priority."""
    low = model("low", 15, priority="low", rate=1.0, last_used=NOW - 1, reload_seconds=60.0)
    assert admit(need(15), machine(), [low, model("normal", 15, last_used=0)]).victims == ("low",)


def test_a_model_whose_ttl_is_over_is_the_first_to_go() -> None:
    """Whatever it was worth."""
    expired = model("expired", 15, priority="high", ttl_expired=True, reload_seconds=60.0)
    assert admit(need(15), machine(), [model("low", 15, priority="low"), expired]).victims == ("expired",)


def test_the_memory_that_is_really_there_counts_too() -> None:
    """Another program has it: under the ceiling there is room, on the machine there is not."""
    loaded_models = [model("mapped", 10, freeable=1 * GiB), model("anonymous", 8)]
    decision = admit(need(4), machine(available=6 * GiB, reserve=8 * GiB), loaded_models)
    assert decision.victims == ("anonymous",)
    assert decision.missing[HOST] == 2 * GiB


def test_a_load_in_progress_has_its_memory_reserved() -> None:
    """What it is still going to take is not given to another."""
    loading = model("loading", 10, freeable=1 * GiB, loading=True)
    assert admit(need(4), machine(available=14 * GiB), [loading]).kind == "admit"
    assert admit(need(4), machine(available=12 * GiB), [loading]).kind == "wait"


def test_memory_that_is_on_its_way_back_is_waited_for() -> None:
    """Nobody else goes for it."""
    decision = admit(need(12), machine(), [model("leaving", 15, leaving=True), model("b", 14)])
    assert (decision.kind, decision.victims) == ("wait", ())


def test_under_pressure_a_load_may_not_raise_the_total() -> None:
    """At "warn" only in exchange, at "critical" not at all."""
    loaded_models = [model("a", 10)]
    assert admit(need(5), machine(level="warn"), loaded_models).victims == ("a",)
    assert admit(need(11), machine(level="warn"), loaded_models).kind == "wait"
    assert admit(need(5), machine(level="critical"), loaded_models).kind == "wait"


def test_a_floor_is_kept_if_somebody_sets_one() -> None:
    """[memory] min_residency, from the first answer, or from when it was ready; it is 0 otherwise."""
    floor = Rules(min_residency=30)
    for young in ({"first_served": NOW - 5}, {"first_served": None, "last_used": NOW - 5}):
        here = model("a", 20, **young)
        assert admit(need(20), machine(), [here]).victims == ("a",)
        decision = admit(need(20), machine(), [here], rules=floor)
        assert "5 s of at least 30 s" in why(decision, "a")
        assert NOW < decision.again <= NOW + 25
        assert admit(need(20), machine(now=NOW + 25), [here], rules=floor).victims == ("a",)
        assert admit(need(20), machine(), [evolve(here, ttl_expired=True)], rules=floor).victims == ("a",)


@pytest.mark.parametrize("refaults", [0, 1, 30])
def test_a_floor_stays_what_it_is(refaults: int) -> None:
    """It is the user's: however often the model came back, not a second more."""
    here = model("a", 20, first_served=NOW - 5, refaults=refaults, reload_seconds=60.0)
    decision = admit(need(20, load_seconds=60.0), machine(), [here], rules=Rules(min_residency=8))
    assert "5 s of at least 8 s" in why(decision, "a")
    assert decision.again == NOW + 3
    later = admit(need(20, load_seconds=60.0), machine(now=NOW + 3), [here], rules=Rules(min_residency=8))
    assert later.victims == ("a",)


def test_an_idle_model_makes_way_at_once() -> None:
    """However young it is, and however soon it may be wanted again: who waits can't use it meanwhile."""
    fresh = model("a", 20, first_served=NOW, last_used=NOW, ready_since=NOW - 1, rate=1.0, refaults=5)
    assert admit(need(20, load_seconds=10.0), machine(), [fresh]).victims == ("a",)


def test_a_busy_model_that_had_its_turn_is_held() -> None:
    """Six times both loads after it was ready; its requests in flight are finished, new ones wait."""
    wants = need(20, load_seconds=5.0)
    busy = model("busy", 20, in_flight=1, last_used=NOW, ready_since=NOW - 89)
    decision = admit(wants, machine(), [busy])
    assert (decision.kind, decision.paused, decision.again) == ("wait", (), NOW + 1)
    decision = admit(wants, machine(now=decision.again), [busy])
    assert (decision.kind, decision.paused, decision.victims) == ("wait", ("busy",), ())
    assert admit(wants, machine(now=NOW + 1), [evolve(busy, in_flight=0)]).victims == ("busy",)


def test_no_turn_is_longer_than_a_person_waits() -> None:
    """Two minutes, however long both loads take."""
    busy = model("busy", 20, in_flight=1, reload_seconds=200.0, ready_since=NOW - 119)
    wants = need(20, load_seconds=200.0)
    assert admit(wants, machine(), [busy]).paused == ()
    assert admit(wants, machine(), [evolve(busy, ready_since=NOW - 120)]).paused == ("busy",)


def test_rivals_take_turns_that_end_early_where_nobody_uses_them() -> None:
    """An idle one that others ask for stays for three quarters of both loads."""
    wants = need(20, load_seconds=10.0)
    idle = model("idle", 20, last_used=NOW - 14, ready_since=NOW - 30, rivals={"new": NOW - 5})
    decision = admit(wants, machine(), [idle])
    assert (decision.kind, decision.paused, decision.again) == ("wait", (), NOW + 1)
    assert admit(wants, machine(now=decision.again), [idle]).victims == ("idle",)
    assert admit(wants, machine(), [evolve(idle, rivals={"another": NOW})]).victims == ("idle",)
    assert admit(wants, machine(), [evolve(idle, rivals={"new": NOW - 601})]).victims == ("idle",), "long ago"
    assert admit(wants, machine(), [evolve(idle, ready_since=NOW - 120)]).victims == ("idle",), "its turn is over"


def test_who_passed_a_load_has_no_turn_against_it() -> None:
    """A load that waits for much is passed by smaller ones: each of them owes."""
    wants = need(20, since=NOW - 50, load_seconds=10.0)
    busy = model("a", 20, in_flight=1, ready_since=NOW - 5, wanted_since=NOW - 60)
    assert admit(wants, machine(), [busy]).paused == ()
    assert admit(wants, machine(), [evolve(busy, wanted_since=NOW - 40)]).paused == ("a",)


def test_who_passed_a_load_is_held_while_it_loads() -> None:
    """It serves those who wait for it, and goes. Else a load that needs all the room waits for a moment in which
    nothing loads, and others' loads may follow each other without one. Who came before has its turn.
    """
    wants = need(28, since=NOW - 50, load_seconds=10.0)
    busy = model("busy", 14, in_flight=1)
    loading = model("b", 14, freeable=GiB, loading=True, waiting=1, wanted_since=NOW - 40, ready_since=NOW)
    there = machine(available=15 * GiB)
    assert admit(wants, there, [busy, loading]).paused == ("b", "busy")
    assert admit(wants, there, [busy, evolve(loading, wanted_since=NOW - 60)]).paused == ()
    small = Need("small", by_pool(2 * GiB), since=NOW)
    assert [each.kind for each in admit_all([wants, small], there, [busy, loading])] == ["wait", "admit"]


def test_who_is_held_stays_held_though_another_is_cheaper_now() -> None:
    """What is asked of it meanwhile makes it dearer; the other, held instead, becomes dearer in its turn."""
    one, other = (model(name, 15, in_flight=1, rate=rate) for name, rate in (("one", 0.1), ("other", 0.01)))
    wants = need(15, since=NOW - 50)
    assert admit(wants, machine(), [one, other]).paused == ("other",)
    assert admit(evolve(wants, paused=frozenset({"one"})), machine(), [one, other]).paused == ("one",)
    more = need(30, since=NOW - 50, paused=frozenset({"one"}))
    assert admit(more, machine(), [one, other]).paused == ("other", "one"), "it is no longer enough"
    assert admit(evolve(wants, paused=frozenset({"gone"})), machine(), [one, other]).paused == ("other",)


def test_nobody_is_held_in_vain() -> None:
    """A load that would not fit even then holds nobody."""
    loaded_models = [model("busy", 10, in_flight=1), model("pinned", 15, pinned=True)]
    assert admit(need(20, since=0), machine(), loaded_models).paused == ()


def test_loads_that_fit_together_go_together() -> None:
    """And the third, for which the other two leave no room, waits."""
    needs = [Need(name, by_pool(12 * GiB), since=NOW + i) for i, name in enumerate("abc")]
    assert [(each.model, each.kind) for each in admit_all(needs, machine(), [])] == [
        ("a", "admit"),
        ("b", "admit"),
        ("c", "wait"),
    ]


def test_one_victim_makes_room_for_one_load() -> None:
    """Two that wait don't each count on the same model's going."""
    first, second = (Need(name, by_pool(20 * GiB), since=NOW) for name in "ab")
    decisions = admit_all([first, second], machine(), [model("old", 25)])
    assert [(each.model, each.kind, each.victims) for each in decisions] == [
        ("a", "evict", ("old",)),
        ("b", "wait", ()),
    ]


def test_no_load_waits_behind_one_that_it_does_not_compete_with() -> None:
    """A small one goes past a large one that waits for a busy model, but not with the room that it is going to have."""
    busy = model("busy", 20, in_flight=1)
    large, small = (
        Need("large", by_pool(24 * GiB), since=NOW - 60),
        Need("small", by_pool(4 * GiB), since=NOW),
    )
    wait, passes = admit_all([small, large], machine(), [busy])
    assert (wait.model, wait.paused, passes.kind) == ("large", ("busy",), "admit")
    _, stays_behind = admit_all([evolve(small, cost=by_pool(8 * GiB)), large], machine(), [busy])
    assert stays_behind.kind == "wait"


def test_a_claimed_model_is_not_taken_by_another() -> None:
    """It is kept for the load that has waited for it."""
    claims = [Claim(by_pool(20 * GiB), frozenset({"idle"}))]
    decision = admit(need(15), machine(), [model("idle", 20)], claims=claims)
    assert "waited longer" in why(decision, "idle")
    assert decision.kind == "wait"


def test_the_more_important_load_is_decided_first() -> None:
    """Although it came later."""
    needs = [Need("a", by_pool(20 * GiB), since=NOW - 9), Need("b", by_pool(20 * GiB), "high", since=NOW)]
    assert [(each.model, each.kind) for each in admit_all(needs, machine(), [])] == [("b", "admit"), ("a", "wait")]


def test_greedy_takes_nothing_superfluous() -> None:
    """Beyond the exact search: what was taken first and is no longer needed, stays."""
    small = [Candidate(f"s{i:02}", both(1), 1, 1) for i in range(20)]
    assert len(cheapest(small, both(5))) == 5
    assert cheapest([*small, Candidate("large", both(30), 1, 2)], both(5)) == (Candidate("large", both(30), 1, 2),)


def test_greedy_spares_the_important() -> None:
    """Of the higher rank only what the lower can't make up for."""
    low = [Candidate(f"l{i:02}", both(1), 0, 1000) for i in range(20)]
    high = [Candidate(f"h{i:02}", both(1), 1, 1) for i in range(20)]
    assert {each.rank for each in cheapest(low + high, Amounts({CEILING: 20}))} == {0}
    assert sum(each.rank for each in cheapest(low + high, Amounts({CEILING: 23}))) == 3


# --- worth, rivals, speed ---------------------------------------------------------------------------------------------


def test_the_rate_of_steady_visits_is_found() -> None:
    """One in ten minutes; half of it is forgotten after half an hour of silence."""
    rate = Rate()
    for second in range(0, 20 * int(HALF_LIFE), 600):
        rate = rate.asked(float(second))
    end = rate.at + 300
    assert rate.per_second(end) == pytest.approx(1 / 600, rel=0.01)
    assert rate.per_second(end + HALF_LIFE) == pytest.approx(1 / 1200, rel=0.01)


def test_requests_in_a_row_are_one_visit() -> None:
    """Evicting the model before or after all of them costs one reload."""
    once = Rate().asked(0.0)
    assert once.asked(VISIT / 3).asked(VISIT / 2) == once
    assert once.asked(VISIT).weight > once.weight


def test_the_chance_grows_with_the_rate_and_falls_with_the_silence_if_there_is_none() -> None:
    """A known rate has decayed by itself, so that the silence says nothing new."""
    rare, often = (model("a", 1, rate=rate) for rate in (0.0001, 0.01))
    assert 0 < chance(rare, NOW, RULES) < chance(often, NOW, RULES) < 1
    assert chance(evolve(often, last_used=0), NOW, RULES) == chance(often, NOW, RULES)
    fresh, old = (model("a", 1, last_used=NOW - silence) for silence in (60, 3600))
    assert chance(old, NOW, RULES) < chance(fresh, NOW, RULES)


def test_a_model_that_was_evicted_wrongly_is_worth_twice_as_much() -> None:
    """A refault is a lesson."""
    once = model("a", 1)
    assert loss(evolve(once, refaults=1), NOW, RULES) == 2 * loss(once, NOW, RULES)


def test_the_list_of_the_running_ends_with_the_first_to_go() -> None:
    """The order of GET /running."""
    loaded_models = [
        model("idle", 1),
        model("pinned", 1, pinned=True, last_used=0),
        model("busy", 1, in_flight=1),
        model("expired", 1, ttl_expired=True),
        model("high", 1, priority="high", last_used=0),
    ]
    order = [each.name for each in dearest_first(loaded_models, NOW, RULES)]
    assert order == ["pinned", "busy", "high", "idle", "expired"]


def test_refaults_are_counted_and_forgotten_in_quiet_times() -> None:
    """By the seconds that a reload takes: ten times as long for a model that takes ten times as long."""
    for takes in (1.0, 10.0):
        seen, now = Refaults(), 0.0
        for count in (1, 2, 3):
            seen = seen.evicted(now, takes).loaded(now + SOON * takes, takes)
            assert seen.count == count
            now += SOON * takes
        assert seen.by(now + QUIET * takes, takes).count == 2
        assert seen.by(now + 9 * QUIET * takes, takes).count == 0


def test_a_late_return_is_no_refault() -> None:
    """Nor is a first load, nor one after an unload that was no eviction."""
    assert Refaults().loaded(5.0, 1.0).count == 0
    late = Refaults().evicted(0.0, 1.0).loaded(SOON + 1, 1.0)
    assert late.count == 0
    assert late.loaded(SOON + 2, 1.0).count == 0


def test_who_waits_for_one_while_another_is_asked_for_makes_them_rivals() -> None:
    """The request that came later proves that it is another client."""
    wants, here = need(20, since=NOW - 5), model("a", 20)
    seen = Rivals().seen([wants], [evolve(here, last_asked=NOW - 4)], NOW)
    assert seen.of("a") == {"new": NOW}
    assert seen.of("new") == {"a": NOW}
    assert Rivals().seen([wants], [evolve(here, loading=True, waiting=1)], NOW).of("a") == {"new": NOW}
    assert Rivals().seen([wants, Need("z", by_pool(1), since=NOW)], [], NOW).of("z") == {"new": NOW}


def test_one_client_that_asks_now_this_now_that_makes_no_rivals() -> None:
    """The one may still be in flight for a moment when its reader asks the other. Nor does a preload."""
    wants = need(20, since=NOW - 5)
    for state in ({"in_flight": 1}, {}, {"loading": True}):
        assert not Rivals().seen([wants], [model("a", 20, last_asked=NOW - 6, **state)], NOW).met
    assert not Rivals().seen([evolve(wants, evicts=False)], [model("a", 20, last_asked=NOW)], NOW).met
    assert not Rivals().seen([wants], [model("new", 20, last_asked=NOW)], NOW).met, "nobody is its own"


def test_a_load_is_expected_to_be_as_fast_as_those_before() -> None:
    """The last counts most; until there was one, something is assumed."""
    assert Speed().expected(round(2 * ASSUMED)) == pytest.approx(2.0)
    once = Speed().seen(10 * GiB, 2.0)
    assert once.expected(5 * GiB) == pytest.approx(1.0)
    again = once.seen(10 * GiB, 20.0)
    assert 4.0 < again.expected(5 * GiB) < 10.0


# --- pressure -----------------------------------------------------------------------------------------------------


def press(level: str, loaded_models: list[LoadedModel], relief: Relief | None = None, **given: Any) -> Decision:
    given = {"shortfall": by_pool(2 * GiB), "relief": relief or Relief(), **given}
    return relieve(machine(level=level, available=0), loaded_models, **given)


def test_without_pressure_none_is_unloaded() -> None:
    """Neither one whose ttl is over."""
    decision = press("normal", [model("a", 10, ttl_expired=True)])
    assert (decision.kind, decision.victims, decision.reason) == ("leave", (), "there is no pressure")


def test_when_critical_one_that_works_goes_after_its_equals() -> None:
    """Small requests in a row leave it idle for moments: it is as good as busy. But not after the more important."""
    at_work, idle = model("at-work", 5, last_used=NOW - 1, reload_seconds=0.1), model("idle", 5, reload_seconds=99.0)
    assert press("critical", [at_work, idle]).victims == ("idle",)
    assert press("critical", [at_work, evolve(idle, priority="high")]).victims == ("at-work",)
    assert press("critical", [at_work]).victims == ("at-work",)


def test_one_goes_at_a_time_and_the_one_that_ends_it() -> None:
    """Not the least worth of all, if it would not be enough, and a cheap one can do it alone."""
    loaded_models = [model("tiny", 1, last_used=NOW - 5000), model("large", 10), model("dear", 10, last_used=NOW - 90)]
    decision = press("warn", loaded_models, shortfall=by_pool(8 * GiB))
    assert decision.victims == ("large",)
    assert "short of 8.0 GiB (warn); large frees 10.0 GiB" in decision.reason


def test_models_that_have_more_than_they_may() -> None:
    """That is no shortage of the machine's, and the reason says so."""
    reason = press("warn", [model("a", 10)], grown=True).reason
    assert "2.0 GiB more than they may; a frees 10.0 GiB" in reason


def test_if_it_takes_all_of_them_the_least_worth_begins() -> None:
    """One step, then it is looked at again."""
    loaded_models = [model("a", 10, last_used=NOW - 900), model("b", 10), model("low", 10, priority="low")]
    assert press("critical", loaded_models, shortfall=by_pool(99 * GiB)).victims == ("low",)


def test_at_warn_what_was_used_a_moment_ago_stays() -> None:
    """At "critical" it may go, and so may one that has just been loaded."""
    loaded_models = [model("a", 10, last_used=NOW - 20, first_served=NOW - 20)]
    assert press("warn", loaded_models).kind == "leave"
    assert press("critical", loaded_models).victims == ("a",)
    old = [evolve(loaded_models[0], first_served=NOW - 900)]
    assert press("warn", old).kind == "leave"
    assert press("warn", [evolve(old[0], priority="low")]).victims == ("a",)


@pytest.mark.parametrize("given", [{"pinned": True}, {"in_flight": 1}, {"waiting": 1}, {"loading": True}])
def test_even_then_some_stay(given: dict[str, Any]) -> None:
    """A request is never cut off for memory."""
    assert press("critical", [model("a", 10, **given)]).kind == "leave"


def test_the_memory_of_the_last_victim_comes_back_first() -> None:
    """One leaves; then the settling time, shorter when it is critical."""
    assert press("critical", [model("a", 10), model("gone", 5, leaving=True)]).kind == "leave"
    just = Relief().stepped(NOW - 1, expected=GiB, freed=GiB)
    assert press("critical", [model("a", 10)], just).kind == "leave"
    for level, settle in [("warn", SETTLE), ("critical", SETTLE_CRITICAL)]:
        done = Relief().stepped(NOW - settle, expected=GiB, freed=GiB)
        assert press(level, [model("a", 10)], done).victims == ("a",)


def test_two_steps_in_vain_say_that_the_pressure_is_not_ours() -> None:
    """Then the models are left alone for two minutes."""
    relief = Relief().stepped(NOW - 90, expected=8 * GiB, freed=1 * GiB)
    assert press("warn", [model("a", 10)], relief).kind == "evict"
    relief = relief.stepped(NOW - 60, expected=8 * GiB, freed=0)
    decision = press("critical", [model("a", 10)], relief)
    assert (decision.kind, decision.left) == ("leave", "not ours")
    assert decision.reason.endswith("60 s")
    assert relief.ended().until == NOW - 60 + BACK_OFF
    later = evolve(machine(level="critical"), now=NOW - 60 + BACK_OFF)
    assert relieve(later, [model("a", 10)], relief, shortfall=by_pool(GiB)).kind == "evict"


def test_a_step_that_helped_wipes_out_one_that_did_not() -> None:
    """Only two in a row count."""
    relief = Relief()
    for freed in (0, 8 * GiB, 0):
        relief = relief.stepped(NOW - 60, expected=8 * GiB, freed=freed)
    assert press("warn", [model("a", 10)], relief).kind == "evict"


def test_models_that_have_little_are_not_the_cause() -> None:
    """Less than a tenth of the ceiling together; or one too small to help."""
    assert "too little" in press("critical", [model("a", 2)]).reason
    decision = press("critical", [model("a", 10, in_flight=1), model("small", 0.2)])
    assert decision.kind == "leave"
    assert why(decision, "small") == "it would free only 205 MiB"
