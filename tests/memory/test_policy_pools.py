"""A machine with more than one memory: two GPUs and the host. The policy knows them only as pools that it is given."""

from __future__ import annotations

from typing import Any

from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from llmsup.config.schema import GiB
from llmsup.memory.amounts import HOST, ZERO, Amounts, add_up
from llmsup.memory.policy.admission import admit, admit_all
from llmsup.memory.policy.inputs import LoadedModel, Machine, Need, Pool, host_pools
from llmsup.memory.policy.pressure import Relief, relieve

NOW = 10_000.0
LARGE, SMALL = "GPU 0", "GPU 1"


def machine(large: int = 24, small: int = 12, host: int = 60, **given: Any) -> Machine:
    """Of 24 and 12 GiB on the GPUs, and 64 GiB of the host's, so many are available."""
    pools = host_pools(100 * GiB, reserve=4 * GiB, available=host * GiB)
    pools[LARGE] = Pool(total=24 * GiB, available=large * GiB)
    pools[SMALL] = Pool(total=12 * GiB, available=small * GiB)
    return Machine(pools, now=NOW, **given)


def on(pool: str, gib: int, host: int = 1) -> Amounts:
    """A model that lies on one device, and a little of it in the host's memory."""
    return Amounts({pool: gib * GiB}) + Amounts({HOST: host * GiB})


def model(name: str, cost: Amounts, **given: Any) -> LoadedModel:
    """One that is idle for ten minutes and may go."""
    idle = {"first_served": NOW - 3600, "last_used": NOW - 600, "reload_seconds": 10.0}
    return LoadedModel(name, cost, cost, **{**idle, **given})


def need(cost: Amounts, **given: Any) -> Need:
    return Need("new", cost, since=NOW, **given)


def test_it_fits_on_one_device_only() -> None:
    """Let in there; on the other it is refused with that one's size, and what is free elsewhere doesn't count."""
    assert admit(need(on(LARGE, 20)), machine(), []).kind == "admit"
    refused = admit(need(on(SMALL, 20)), machine(), [])
    assert (refused.kind, refused.reason) == ("refuse", "it needs 20.0 GiB, and GPU 1 has only 12.0 GiB")


def test_who_goes_is_on_the_right_device() -> None:
    """Not the cheaper one, that is on the other; nor the largest, that is in the host's memory."""
    here = [
        model("dear", on(LARGE, 20), reload_seconds=90.0),
        model("cheap", on(SMALL, 10)),
        model("host", Amounts({HOST: 40 * GiB}), reload_seconds=0.1),
    ]
    full = machine(large=4, small=2, host=18)
    assert admit(need(on(LARGE, 16)), full, here).victims == ("dear",)
    assert admit(need(on(SMALL, 11)), full, here).victims == ("cheap",)
    assert admit(need(Amounts({HOST: 20 * GiB})), full, here).victims == ("host",)
    split = Amounts({LARGE: 6 * GiB, SMALL: 6 * GiB})
    assert admit(need(split), full, here).victims == ("cheap", "dear")


def test_what_is_missing_and_free_is_told_of_the_pool_that_has_the_least() -> None:
    """Of those that the load takes from."""
    busy = model("busy", on(LARGE, 20), in_flight=1)
    decision = admit(need(on(LARGE, 16)), machine(large=4, small=0), [busy])
    assert (decision.kind, decision.missing.max(ZERO)) == ("wait", Amounts({LARGE: 12 * GiB}))
    assert "4.0 GiB is free" in decision.reason


def test_a_full_device_keeps_out_nobody_who_takes_nothing_of_it() -> None:
    """Not even where more is promised of it than there is."""
    loads = evolve(model("loads", on(SMALL, 12), loading=True), freeable=ZERO)
    assert admit(need(on(LARGE, 20)), machine(small=0), [loads]).kind == "admit"
    assert admit(need(on(SMALL, 1)), machine(small=0), [loads]).kind == "wait"


def test_two_loads_go_together_where_they_are_on_different_devices() -> None:
    """And one after the other on the same."""
    one, other = Need("one", on(LARGE, 16), since=NOW), Need("other", on(SMALL, 10), since=NOW)
    assert [each.kind for each in admit_all([one, other], machine(), [])] == ["admit", "admit"]
    assert [each.kind for each in admit_all([one, evolve(other, cost=on(LARGE, 10))], machine(), [])] == [
        "admit",
        "wait",
    ]


def test_a_device_that_can_not_be_read_is_counted() -> None:
    """By what its models count for, of what it has."""
    pools = {**machine().pools, LARGE: Pool(total=24 * GiB)}
    blind = Machine(pools, now=NOW)
    here = [model("a", on(LARGE, 10)), model("b", on(SMALL, 2))]
    assert admit(need(on(LARGE, 14)), blind, here).kind == "admit"
    assert admit(need(on(LARGE, 15)), blind, here).victims == ("a",)


def test_a_device_that_is_short_is_relieved_there() -> None:
    """However little the others would be missed, and if nobody is there nobody goes."""
    here = [model("there", on(SMALL, 8), reload_seconds=90.0), model("elsewhere", on(LARGE, 20))]
    short = Amounts({SMALL: 2 * GiB})
    pressed = machine(level="critical")
    assert relieve(pressed, here, Relief(), shortfall=short).victims == ("there",)
    decision = relieve(pressed, here[1:], Relief(), shortfall=short)
    assert (decision.kind, decision.left) == ("leave", "too little")


COSTS = st.builds(
    lambda sizes: Amounts(dict(zip((HOST, LARGE, SMALL), sizes, strict=True))), st.tuples(*3 * [st.integers(0, 12)])
)


@given(st.lists(COSTS, max_size=6), COSTS, st.tuples(*3 * [st.integers(0, 30)]))
def test_who_goes_makes_room_everywhere(costs: list[Amounts], wanted: Amounts, free: tuple[int, int, int]) -> None:
    """In each pool that the load takes from; and nobody goes where it fits, or where all together would not do."""
    pools = host_pools(10_000)
    pools |= {name: Pool(available=size) for name, size in zip((HOST, LARGE, SMALL), free, strict=True)}
    there = Amounts({name: pool.available or 0 for name, pool in pools.items()})
    here = [model(f"m{i}", cost) for i, cost in enumerate(costs)]
    decision = admit(need(wanted), Machine(pools, now=NOW), here)
    gone = add_up(each.cost for each in here if each.name in decision.victims)
    assert (decision.kind == "admit") == there.covers(wanted)
    assert (decision.kind == "wait") == (not (there + add_up(costs)).covers(wanted))
    assert decision.kind == "wait" or (there + gone).covers(wanted)
