"""Models that work, and small ones, when the machine is short of memory; `test_policy` has the rest of it."""

from __future__ import annotations

from typing import Any

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from llmsup.config.schema import GiB
from llmsup.memory.cost.cost import by_pool
from llmsup.memory.policy.decision import Decision
from llmsup.memory.policy.inputs import Level, LoadedModel, Machine, Rules, host_pools
from llmsup.memory.policy.pressure import OUR_SHARE, SETTLE_CRITICAL, Relief, relieve

NOW = 10_000.0
MiB = 1024**2
BUSY = Rules(evict_busy=True)


def model(name: str, gib: float, **given: Any) -> LoadedModel:
    size = round(gib * GiB)
    idle = {"first_served": NOW - 3600, "last_used": NOW - 600, "reload_seconds": 10.0}
    return LoadedModel(name, by_pool(size), by_pool(size), **{**idle, **given})


def pressed(
    *loaded_models: LoadedModel, level: Level = "critical", seconds: float = 60.0, rules: Rules = BUSY, **given: Any
) -> Decision:
    """A decision on a machine that has been at this level for so long."""
    pools = host_pools(given.pop("ceiling", 30 * GiB), available=0)
    machine = Machine(pools, level=level, now=NOW, since=NOW - seconds)
    relief = given.pop("relief", Relief())
    return relieve(machine, loaded_models, relief, shortfall=by_pool(2 * GiB), rules=rules)


WORKS = model("works", 10, in_flight=1)


def test_a_model_that_works_goes_when_that_is_allowed_and_high_time() -> None:
    """The decision says that it is forced, and why."""
    decision = pressed(WORKS)
    assert (decision.kind, decision.victims, decision.force) == ("evict", ("works",), True)
    assert decision.reason == (
        "the machine has been critically short of memory for 60 s and no idle model may go; "
        "works is busy, and frees 10.0 GiB (evict_busy)"
    )
    assert [each.stays for each in decision.weighed] == ["1 in flight"]


@pytest.mark.parametrize(
    "given",
    [
        {"rules": Rules()},  # not allowed
        {"seconds": 19.9},  # not for long enough
        {"level": "warn"},  # not bad enough, for however long
        {"relief": Relief(last=NOW - SETTLE_CRITICAL / 2)},  # the last victim's memory is still on its way
        {"relief": Relief(until=NOW + 5)},  # it is somebody else's
    ],
)
def test_else_it_stays(given: dict[str, Any]) -> None:
    """A request is not cut off for less."""
    assert pressed(WORKS, **given).kind == "leave"


def test_one_that_is_waited_for_counts_as_working() -> None:
    """Its requests go elsewhere or wait for its next life."""
    assert pressed(model("waited", 10, waiting=3)).victims == ("waited",)


def test_an_idle_one_goes_first() -> None:
    """However much more it is worth."""
    idle = model("idle", 1, priority="high", reload_seconds=600.0, rate=1.0, last_used=NOW - 1, first_served=NOW - 1)
    decision = pressed(evolve(WORKS, priority="low"), idle)
    assert (decision.victims, decision.force) == (("idle",), False)


def test_the_least_important_of_those_that_work() -> None:
    """Then the one whose reload is the least loss, then the one that frees the most."""
    low = model("low", 2, priority="low", in_flight=9, reload_seconds=900.0)
    assert pressed(WORKS, low).victims == ("low",)
    assert pressed(WORKS, evolve(WORKS, name="a", reload_seconds=20.0)).victims == ("works",)
    assert pressed(WORKS, model("b", 12, in_flight=1)).victims == ("b",)


@pytest.mark.parametrize("given", [{"pinned": True}, {"loading": True}, {"freeable": by_pool(100 * MiB)}])
def test_some_stay_all_the_same(given: dict[str, Any]) -> None:
    """What is pinned, what loads, and what would not help anyway."""
    decision = pressed(evolve(WORKS, **given), model("pinned", 10, pinned=True))
    assert decision.kind == "leave"
    assert decision.reason.startswith("no model may go now, not even a busy one (pinned: pinned; works: ")


def test_only_one_at_a_time() -> None:
    """While it leaves, the next one stays."""
    assert pressed(WORKS, model("gone", 5, leaving=True)).left == "leaving"


def test_what_is_small_depends_on_the_machine() -> None:
    """256 MiB on a large one; a thirty-second of the ceiling where that is less, else a small machine gives nothing."""
    small = model("small", 0.125)
    rest = model("pinned", 2, pinned=True)
    large = pressed(small, evolve(rest, cost=by_pool(20 * GiB), freeable=by_pool(20 * GiB)))
    assert [each.stays for each in large.weighed if each.name == "small"] == ["it would free only 128 MiB"]
    assert pressed(small, rest, ceiling=4 * GiB).victims == ("small",)
    assert pressed(small, rest, ceiling=4 * GiB + 64).kind == "leave"


def test_our_models_have_too_little() -> None:
    """Then it can't be them, and none that works is cut off for it either."""
    little = evolve(WORKS, freeable=by_pool(round(30 * GiB * OUR_SHARE) - 1))
    assert pressed(little).left == "too little"
    assert "3.0 GiB" in pressed(little).reason
    assert pressed(evolve(little, freeable=little.freeable + by_pool(1))).kind == "evict"


LOADED = st.lists(
    st.builds(
        LoadedModel,
        name=st.uuids().map(str),
        cost=st.integers(0, 20 * GiB).map(by_pool),
        freeable=st.integers(0, 20 * GiB).map(by_pool),
        priority=st.sampled_from(("low", "normal", "high")),
        pinned=st.booleans(),
        in_flight=st.integers(0, 2),
        waiting=st.integers(0, 1),
        loading=st.booleans(),
        leaving=st.booleans(),
        first_served=st.none() | st.floats(0, NOW),
        last_used=st.floats(0, NOW),
        ttl_expired=st.booleans(),
    ),
    max_size=8,
)


@given(LOADED, st.sampled_from(("normal", "warn", "critical")), st.floats(0, 100), st.booleans())
def test_what_holds_of_every_step(
    loaded_models: list[LoadedModel], level: Level, seconds: float, allowed: bool
) -> None:
    """At most one goes; one that works only by force, that only if allowed, critical for long, and no idle one may."""
    decision = pressed(*loaded_models, level=level, seconds=seconds, rules=Rules(evict_busy=allowed))
    assert len(decision.victims) == (decision.kind == "evict")
    for victim in (each for each in loaded_models if each.name in decision.victims):
        busy = bool(victim.in_flight or victim.waiting)
        assert decision.force == busy
        assert (victim.pinned, victim.loading, victim.leaving) == (False, False, False)
        if busy:
            assert allowed
            assert level == "critical"
            assert seconds >= BUSY.busy_after
            assert all(each.stays for each in decision.weighed)
