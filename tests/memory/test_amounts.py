"""Bytes by pool: they add up, compare and print pool by pool."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmsup.config.schema import GiB
from llmsup.memory.amounts import HOST, ZERO, Amounts, add_up

POOLS = ("ceiling", "host", "GPU 0", "GPU 1")
AMOUNTS = st.builds(Amounts, st.dictionaries(st.sampled_from(POOLS), st.integers(-9, 9)))


@given(AMOUNTS, AMOUNTS, AMOUNTS)
def test_they_add_up_pool_by_pool(a: Amounts, b: Amounts, c: Amounts) -> None:
    """As whole numbers do, in any order; and what was added can be taken away again."""
    assert [(a + b)[pool] for pool in POOLS] == [a[pool] + b[pool] for pool in POOLS]
    assert [(a - b)[pool] for pool in POOLS] == [a[pool] - b[pool] for pool in POOLS]
    assert a + b == b + a
    assert (a + b) + c == a + (b + c) == add_up((a, b, c))
    assert a + b - b == a
    assert a - a == ZERO
    assert (a + b).total == a.total + b.total


@given(AMOUNTS, AMOUNTS, AMOUNTS)
def test_one_covers_another_where_no_pool_has_less(a: Amounts, b: Amounts, c: Amounts) -> None:
    """Pools that only one of them names count, too."""
    assert a.covers(b) == all(a[pool] >= b[pool] for pool in POOLS)
    assert a.covers(b) == ZERO.covers(b - a) == (a + c).covers(b + c)
    assert (a == b) == (a.covers(b) and b.covers(a))


@given(AMOUNTS, AMOUNTS)
def test_the_larger_of_two_is_the_least_that_covers_both(a: Amounts, b: Amounts) -> None:
    """Of each pool one of the two."""
    most = a.max(b)
    assert [most[pool] for pool in POOLS] == [max(a[pool], b[pool]) for pool in POOLS]
    assert most == b.max(a)
    assert most.covers(a)
    assert most.covers(b)


@given(AMOUNTS, st.sets(st.sampled_from(POOLS)))
def test_parts_make_the_whole(a: Amounts, some: set[str]) -> None:
    """What is in some pools and what is in the others."""
    assert a.within(some) + a.within(set(POOLS) - some) == a
    assert set(a.within(some)) <= some


@given(AMOUNTS)
def test_nothing_of_a_pool_is_as_if_it_were_not_named(a: Amounts) -> None:
    """So that what is alike is equal; empty is zero."""
    same = Amounts({pool: a[pool] for pool in reversed(POOLS)})
    assert (same, hash(same)) == (a, hash(a))
    assert set(a) == {pool for pool in POOLS if a[pool]}
    assert bool(a) == (a != ZERO)
    assert a + ZERO == a - ZERO == a


def test_it_says_what_there_is() -> None:
    """In units that people read."""
    assert repr(Amounts({"GPU 0": 20 * GiB, HOST: -GiB, "GPU 1": 0})) == "<GPU 0 20.0 GiB, host -1.0 GiB>"
    assert repr(ZERO) == "<nothing>"


def test_it_can_not_be_changed() -> None:
    """Nor by whoever made it."""
    given = {HOST: GiB}
    amounts = Amounts(given)
    given[HOST] = 0
    assert amounts[HOST] == GiB
    with pytest.raises(TypeError):
        amounts[HOST] = 0  # type: ignore[index]  # mypy is right; so is the interpreter, which is tested
    with pytest.raises(AttributeError):
        amounts.host = 0  # type: ignore[attr-defined]  # likewise
