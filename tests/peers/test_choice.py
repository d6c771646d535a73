"""Who gets a request, by each clause of the rule, and what holds whatever the backends are like."""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Sequence
from functools import partial

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from llmsup.peers.choice import HERE, Candidate, choose
from llmsup.peers.estimate import busy_by_now, expected

LOADED = Candidate(loaded=True, slots=4, fits=True, load_seconds=10)
UNLOADED = Candidate(slots=4, fits=True, load_seconds=10)

CLAUSES = {
    "loaded and idle before loaded": (
        evolve(LOADED, where="idle"),
        evolve(LOADED, where="busy", busy=4),
        "loaded and idle there",
    ),
    "loaded and idle before this llmsup, which isn't": (
        evolve(LOADED, where="idle", latency=0.2),
        evolve(LOADED, busy=4),
        "loaded and idle there; here others are before it",
    ),
    "loaded before what would have to be loaded": (
        evolve(LOADED, where="busy", busy=5),
        UNLOADED,
        "loaded there, where the queue is the shortest; here it would have to be loaded",
    ),
    "the queue is the shortest where it is shortest for each slot": (
        evolve(LOADED, where="wide", busy=18, slots=16),
        evolve(LOADED, where="narrow", busy=3, slots=1),
        "loaded there, where the queue is the shortest",
    ),
    "loaded and idle before what would be loaded in a moment": (
        evolve(LOADED, where="idle"),
        evolve(UNLOADED, load_seconds=0.3),
        "loaded and idle there; here it would have to be loaded",
    ),
    "where it is being loaded, before another load of it": (
        evolve(UNLOADED, where="loading", loading=True, busy=3),
        UNLOADED,
        "it is being loaded there already; here it would have to be loaded",
    ),
    "where it fits, before where something has to go": (
        evolve(UNLOADED, where="roomy", load_seconds=12),
        evolve(UNLOADED, fits=False, evicts=("qwen3-4b",)),
        "it fits there without unloading anything; here qwen3-4b would have to go",
    ),
    "where it fits, before where nobody knows": (
        evolve(UNLOADED, where="roomy"),
        evolve(UNLOADED, where="unknown", fits=None),
        "it fits there without unloading anything",
    ),
    "where something has to go in any case, the quickest load": (
        evolve(UNLOADED, where="quick", fits=False, load_seconds=5),
        evolve(UNLOADED, fits=False),
        "it is the cheapest to load there; here another model would have to go",
    ),
    "here before elsewhere": (LOADED, evolve(LOADED, where="peer"), "loaded and idle here"),
    "also here if it isn't loaded anywhere": (
        UNLOADED,
        evolve(UNLOADED, where="peer"),
        "it fits here without unloading anything",
    ),
    "a peer of high priority before this llmsup": (
        evolve(LOADED, where="peer", priority="high"),
        LOADED,
        "loaded and idle there; here it is, too, but that peer's priority is higher",
    ),
    "a peer of low priority last": (
        evolve(LOADED, where="normal"),
        evolve(LOADED, where="low", priority="low"),
        "loaded and idle there",
    ),
    "but low priority before waiting": (
        evolve(LOADED, where="low", priority="low"),
        evolve(LOADED, where="normal", busy=4),
        "loaded and idle there",
    ),
    "the nearer one": (
        evolve(LOADED, where="near", latency=0.001),
        evolve(LOADED, where="far", latency=0.2),
        "loaded and idle there",
    ),
    "where the conversation is": (
        evolve(LOADED, where="peer", remembers=3000, busy=2),
        LOADED,
        "the conversation's prompt cache is there",
    ),
    "a short one, too, as long as nothing else speaks against it": (
        evolve(LOADED, where="peer", remembers=60),
        LOADED,
        "the conversation's prompt cache is there",
    ),
    "but not if that is much worse": (
        LOADED,
        evolve(LOADED, where="peer", remembers=3000, busy=12),
        "loaded and idle here",
    ),
    "not where a machine has to be woken": (
        UNLOADED,
        evolve(LOADED, where="asleep", asleep=True),
        "it fits here without unloading anything",
    ),
    "unless loading takes longer than that": (
        evolve(LOADED, where="asleep", asleep=True),
        evolve(UNLOADED, load_seconds=300),
        "it is soonest there, although that machine has to be woken; here it would have to be loaded",
    ),
}


@pytest.mark.parametrize("clause", CLAUSES)
def test_the_rule_clause_by_clause(clause: str) -> None:
    wanted, other, reason = CLAUSES[clause]
    for order in ((wanted, other), (other, wanted)):
        choice = choose(order)
        assert (choice.where, choice.reason) == (wanted.where, reason)
        assert choice.order == (wanted, other)


def test_one_alone_gets_it_whatever_it_is_like() -> None:
    choice = choose((evolve(UNLOADED, where="peer", busy=9),))
    assert (choice.where, choice.reason) == ("peer", "it is the only one that has it")


def test_a_queue_becomes_a_second_copy_once_it_is_longer_than_a_load() -> None:
    short, long = evolve(LOADED, where="peer", busy=5), evolve(LOADED, where="peer", busy=8)
    assert choose((short, UNLOADED)).where == "peer"
    assert choose((long, UNLOADED)).where == HERE


def test_it_takes_a_longer_queue_if_another_model_would_have_to_go() -> None:
    """That one is loaded again, too."""
    here = evolve(UNLOADED, fits=False)
    short, long = evolve(LOADED, where="peer", busy=8), evolve(LOADED, where="peer", busy=16)
    assert choose((short, here)).where == "peer"
    assert choose((long, here)).where == HERE


def test_what_a_machine_does_for_other_models_counts() -> None:
    """They are computed by the same processor."""
    assert choose((evolve(LOADED, others=6), evolve(LOADED, where="peer"))).where == "peer"


def test_equals_share_requests_evenly() -> None:
    """They are sent by many who know the same: were the first always taken, it would be by all of them at once."""
    rest = [evolve(LOADED, where=f"peer {number}", latency=0.001 * number) for number in range(5)]
    chance = random.Random(1).random  # noqa: S311 -- repeatable, not secret
    counts = Counter(choose((evolve(LOADED, busy=4), *rest), chance).where for _ in range(500))
    assert set(counts) == {each.where for each in rest}
    assert min(counts.values()) > 60


SECONDS = st.floats(0, 600)
CANDIDATES = st.lists(
    st.builds(
        Candidate,
        where=st.sampled_from([HERE, *(f"peer {number}" for number in range(9))]),
        loaded=st.booleans(),
        loading=st.booleans(),
        busy=st.integers(0, 40),
        slots=st.none() | st.integers(1, 16),
        fits=st.none() | st.booleans(),
        load_seconds=st.none() | SECONDS,
        priority=st.sampled_from(("low", "normal", "high")),
        latency=st.floats(0, 2),
        remembers=st.integers(0, 9999),
        asleep=st.booleans(),
    ),
    min_size=1,
    unique_by=lambda each: each.where,
)


def possible(candidates: Sequence[Candidate]) -> set[str]:
    """All that chance could choose."""
    return {choose(candidates, partial(float, number / 50)).where for number in range(50)}


@given(CANDIDATES, st.floats(0, 1, exclude_max=True))
def test_nobody_is_chosen_who_is_clearly_later_than_another(candidates: Sequence[Candidate], chance: float) -> None:
    choice = choose(candidates, lambda: chance)
    assert choice.where == choice.order[0].where
    assert choice.seconds[0] <= min(choice.seconds) + max(0.5, 0.1 * min(choice.seconds))
    assert list(choice.seconds[1:]) == sorted(choice.seconds[1:])
    assert sorted(each.where for each in choice.order) == sorted(each.where for each in candidates)
    assert choice.reason


@given(CANDIDATES)
def test_the_order_of_the_candidates_says_nothing(candidates: Sequence[Candidate]) -> None:
    assert possible(candidates) == possible(candidates[::-1])


@given(CANDIDATES, st.integers(1, 9))
def test_a_longer_queue_is_never_a_reason(candidates: Sequence[Candidate], more: int) -> None:
    """Who would not be chosen is not chosen with more to do."""
    for each in candidates:
        worse = [evolve(one, busy=one.busy + more) if one is each else one for one in candidates]
        assert expected(evolve(each, busy=each.busy + more)) > expected(each)
        assert each.where in possible(candidates) or each.where not in possible(worse)


@given(CANDIDATES)
def test_an_estimate_is_a_number_and_no_better_for_what_is_worse(candidates: Sequence[Candidate]) -> None:
    for each in candidates:
        assert 0 <= expected(each) < math.inf
        assert expected(evolve(each, asleep=True)) >= expected(each)
        assert expected(evolve(each, loaded=True)) <= expected(each)
        assert (
            expected(evolve(each, fits=True)) <= expected(evolve(each, fits=None)) <= expected(evolve(each, fits=False))
        )


@pytest.mark.parametrize(
    ("told", "ours_then", "ours", "share", "now"),
    [
        (4, 1, 1, 0.1, 4),
        (0, 0, 1, 0.1, 10),  # somebody who has become free: the others have sent theirs, too
        (0, 0, 1, 1.0, 1),  # nobody else asks it
        (4, 2, 1, 0.5, 3),  # ours has ended; whether theirs have isn't known
        (0, 0, 2, 1.0, 2),
        (2, 3, 3, 1.0, 3),  # it has never fewer than ours
    ],
)
def test_what_others_have_sent_since_is_reckoned_with(
    told: int, ours_then: int, ours: int, share: float, now: int
) -> None:
    assert busy_by_now(told, ours_then, ours, share) == now
