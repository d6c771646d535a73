"""Whether a model may sleep instead of being unloaded, and how deeply: never where that leaves others too little."""

from __future__ import annotations

from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmsup.memory.amounts import CEILING, HOST, Amounts
from llmsup.memory.policy.decision import Decision, Weighed
from llmsup.memory.policy.inputs import Machine, Pool, host_pools, taken
from llmsup.memory.policy.sleep import holds, sleep_level, spare_of

GPU = "gpu0"
SIZES = st.integers(0, 50)


def machine(available: int = 100, reserve: int = 10) -> Machine:
    return Machine({**host_pools(200, reserve, available), GPU: Pool(total=40, available=10)})


def level(
    wanted: int | Literal["auto"] = "auto", *, gpu: int = 30, weights: int = 20, free: int | None = 100, room: int = 200
) -> int:
    awake = Amounts({HOST: 2, GPU: gpu})
    return sleep_level(wanted, awake, awake, weights, machine(), free=free, room=room, spare={})


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ({}, 1),
        ({"wanted": 2}, 2),
        ({"wanted": 0}, 0),
        ({"gpu": 0}, 0),
        ({"gpu": 0, "wanted": 2}, 2),
        ({"free": 30}, 1),
        ({"free": 29}, 0),
        ({"free": 29, "wanted": 1}, 0),
        ({"free": 29, "wanted": 2}, 2),
        ({"free": None}, 0),
        ({"weights": 30, "room": 0}, 0),
    ],
)
def test_how_deeply(how: dict[str, int], expected: int) -> None:
    """`auto` wants a device with its own memory, and room for the weights beyond the reserve of 10."""
    assert level(**how) == expected


@given(SIZES, SIZES, SIZES, st.sampled_from((1, 2)), st.sampled_from((HOST, GPU, CEILING)), st.integers(-10, 60))
def test_what_is_wanted_by_another_is_never_kept(
    host: int, gpu: int, weights: int, wanted: int, pool: str, lack: int
) -> None:
    """If it sleeps, what it frees less what it goes on holding still covers what was missing."""
    awake = Amounts({HOST: host, GPU: gpu})
    here = machine()
    decision = Decision(
        kind="evict",
        reason="",
        victims=("a",),
        missing=Amounts({pool: lack}),
        weighed=(Weighed("a", awake, awake, 0, 0),),
    )
    spare = spare_of(decision, here)
    if sleep_level(wanted, awake, awake, weights, here, free=100, room=200, spare=spare) and lack:
        kept = taken(holds(awake, weights, wanted), pool)
        assert here.frees(awake, awake)[pool] - kept >= lack


@given(SIZES, SIZES, SIZES)
def test_level_2_holds_no_more_than_level_1(host: int, gpu: int, weights: int) -> None:
    awake = Amounts({HOST: host, GPU: gpu})
    assert holds(awake, weights, 1).covers(holds(awake, weights, 2))
    assert holds(awake, weights, 1)[GPU] <= gpu // 10
