"""How much tasks waited for memory just now, from the kernel's running total."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmsup.memory.machine.reading import Stall
from llmsup.memory.machine.trends import RecentStall, recent

SECOND = 1_000_000


def stall(total_us: int, avg10: float = 40.0) -> Stall:
    return Stall(avg10, 10.0, 3.0, total_us)


@pytest.mark.parametrize(
    ("before", "seconds"),
    [
        (None, None),
        (None, 1.0),
        (RecentStall(1.0, 500), None),
        (RecentStall(1.0, 500), -3.0),
        (RecentStall(1.0, 5000), 1.0),
    ],
)
def test_where_there_is_nothing_to_compare_with(before: RecentStall | None, seconds: float | None) -> None:
    """A first look, a clock that went back, a total that shrank (it is another file's): the kernel's mean."""
    assert recent(stall(1000), before, seconds) == RecentStall(40.0, 1000)


def test_no_stall_information() -> None:
    """It is not known, whatever was known before."""
    assert recent(None, RecentStall(50.0, 1), 1.0) is None


def test_two_looks_at_one_moment() -> None:
    """No time, no share; the total is kept, so that the time in between isn't lost."""
    before = RecentStall(7.0, 1000)
    assert recent(stall(2000), before, 0.0) == before


def test_it_is_over_when_it_is_over() -> None:
    """The kernel's mean still says 40 % where nobody has waited for 3 s; ours is below 3 %."""
    now = RecentStall(50.0, SECOND)
    for _ in range(3):
        found = recent(stall(SECOND), now, 1.0)
        assert found is not None
        now = found
    assert now.share < 3


def test_it_is_quick_to_come() -> None:
    """Half of the time for 2 s is nearly all there."""
    now = RecentStall(0.0, 0)
    for second in (1, 2):
        found = recent(stall(second * SECOND // 2, avg10=9.0), now, 1.0)
        assert found is not None
        now = found
    assert 40 < now.share < 50


@given(
    st.floats(0, 100),
    st.lists(st.tuples(st.floats(0, 1e6), st.integers(0, 10**15)), max_size=30),
)
def test_a_share_is_a_share(first: float, looks: list[tuple[float, int]]) -> None:
    """From 0 to 100 %, whatever totals and clocks say."""
    now: RecentStall | None = RecentStall(first, 0)
    for seconds, total in looks:
        now = recent(stall(total), now, seconds)
        assert now is not None
        assert 0 <= now.share <= 100.000001


@given(st.floats(0, 100), st.floats(0.05, 30), st.integers(1, 40))
def test_how_often_one_looks_makes_no_difference(first: float, seconds: float, looks: int) -> None:
    """A steady share is the same in one look as in many."""
    one = recent(stall(round(seconds * SECOND / 4)), RecentStall(first, 0), seconds)
    many: RecentStall | None = RecentStall(first, 0)
    for i in range(1, looks + 1):
        many = recent(stall(round(seconds * i / looks * SECOND / 4)), many, seconds / looks)
    assert one is not None
    assert many is not None
    assert many.share == pytest.approx(one.share, abs=0.1)
