"""A load that nobody waits for (`preload`): it takes what is free, and nobody goes for it."""

from __future__ import annotations

from typing import Any

from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from llmsup.config.schema import GiB
from llmsup.memory.cost.cost import by_pool
from llmsup.memory.policy.admission import admit, admit_all
from llmsup.memory.policy.inputs import LoadedModel, Machine, Need, host_pools

NOW = 10_000.0
MACHINE = Machine(host_pools(30 * GiB), now=NOW)
NO_EVICTION = Need("new", by_pool(10 * GiB), since=NOW - 60, evicts=False)


def model(name: str, gib: int, **given: Any) -> LoadedModel:
    idle = {"first_served": NOW - 3600, "last_used": NOW - 600, "reload_seconds": 10.0}
    return LoadedModel(name, by_pool(gib * GiB), by_pool(gib * GiB), **{**idle, **given})


def test_it_is_let_in_where_there_is_room() -> None:
    """Like any other."""
    assert admit(NO_EVICTION, MACHINE, [model("a", 20)]).kind == "admit"


def test_none_is_unloaded_for_it() -> None:
    """Not even one that nobody has used for hours, of low priority, whose ttl is over."""
    idle = model("a", 25, priority="low", last_used=0.0, ttl_expired=True)
    decision = admit(NO_EVICTION, MACHINE, [idle])
    assert (decision.kind, decision.victims, decision.paused) == ("wait", (), ())
    assert "it needs 10.0 GiB, 5.0 GiB is free" in decision.reason
    assert "preload" in decision.reason
    assert admit(evolve(NO_EVICTION, evicts=True), MACHINE, [idle]).victims == ("a",)


def test_it_holds_nobody_however_long_it_waits() -> None:
    """A model that is always busy need not make way for it."""
    busy = model("a", 25, in_flight=1)
    assert admit(NO_EVICTION, MACHINE, [busy]).paused == ()
    assert admit(evolve(NO_EVICTION, evicts=True), MACHINE, [busy]).paused == ("a",)


def test_it_waits_for_those_that_leave_anyway() -> None:
    """Their memory is as good as free."""
    decision = admit(NO_EVICTION, MACHINE, [model("a", 25, leaving=True)])
    assert "will be free once" in decision.reason


def test_what_can_never_fit_is_refused() -> None:
    """Whether anybody waits or not."""
    assert admit(evolve(NO_EVICTION, cost=by_pool(31 * GiB)), MACHINE, []).kind == "refuse"


def test_nothing_is_kept_for_it() -> None:
    """Who comes after it and is waited for gets what there is."""
    wanted = Need("wanted", by_pool(5 * GiB), since=NOW)
    no_eviction, other = admit_all([NO_EVICTION, wanted], MACHINE, [model("a", 25)])
    assert (no_eviction.kind, other.kind) == ("wait", "admit")


@given(
    st.lists(st.tuples(st.integers(1, 20), st.booleans(), st.booleans()), max_size=8),
    st.lists(st.tuples(st.integers(1, 20), st.booleans()), max_size=5),
)
def test_a_load_without_evictions_changes_nothing_for_loaded_models(
    loaded_models: list[tuple[int, bool, bool]], needs: list[tuple[int, bool]]
) -> None:
    """Whoever goes or is held, it is for one that is waited for."""
    here = [model(f"r{i}", size, in_flight=busy, pinned=pinned) for i, (size, busy, pinned) in enumerate(loaded_models)]
    wanted = [
        Need(f"n{i}", by_pool(size * GiB), since=NOW - 60, evicts=evicts) for i, (size, evicts) in enumerate(needs)
    ]
    for need, decision in zip(wanted, admit_all(wanted, MACHINE, here), strict=True):
        assert decision.model == need.model
        assert need.evicts or not (decision.victims or decision.paused)
