"""Below which amounts of memory a machine is short of it, and how that fits with what is let in."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmsup.config.schema import GiB, Memory
from llmsup.memory.machine.limits import reserve
from llmsup.memory.machine.signals import EXIT, marks
from llmsup.units import Bytes

MiB = 1024**2
TOTALS = st.integers(64 * MiB, 2048 * GiB)


def test_an_ordinary_machine() -> None:
    """32 GiB with a reserve of 4: three eighths of it, and half of that."""
    found = marks(32 * GiB, 4 * GiB)
    assert (found.low, found.very_low, found.enough) == (1536 * MiB, 768 * MiB, 1920 * MiB)


def test_a_reserve_of_nothing() -> None:
    """The system itself needs some memory to stay alive: 256 MiB, of a small machine 1.5 %."""
    assert marks(32 * GiB, 0).low == 256 * MiB
    assert marks(2 * GiB, 0).low == int(2 * GiB * 0.015)
    assert marks(None, 0).low == 256 * MiB


def test_a_reserve_that_is_most_of_the_machine() -> None:
    """A small machine would be short of memory for ever: a tenth is enough."""
    assert marks(2 * GiB, 4 * GiB).low == 2 * GiB // 10
    assert marks(2 * GiB, 2**60).very_low == 2 * GiB // 10 // 2


@pytest.mark.parametrize("total", [None, 0])
def test_a_total_that_is_not_known(total: int | None) -> None:
    """The reserve alone says."""
    assert marks(total, 4 * GiB).low == 1536 * MiB


@given(st.none() | st.integers(0, 2048 * GiB), st.integers(0, 2048 * GiB))
def test_the_marks_are_in_order(total: int | None, kept: int) -> None:
    """Very low, low, enough; and no more than the machine has is ever asked for."""
    found = marks(total, kept)
    assert 0 <= found.very_low <= found.low <= found.enough
    assert found.enough - 1 < found.low * EXIT <= found.enough
    if total:
        assert found.enough <= total * 0.10 * EXIT + 1


@given(TOTALS, st.booleans())
def test_a_machine_that_is_as_full_as_it_may_be_is_not_short(total: int, own_group: bool) -> None:
    """A load is let in while half of the reserve remains; that must be enough to leave any pressure, by either mark."""
    kept = reserve(Memory(), Bytes(total), own_group=own_group)
    assert marks(total, kept).enough <= kept // 2


@given(st.integers(8 * GiB, 2048 * GiB), st.floats(0.01, 0.9))
def test_the_same_for_a_reserve_that_somebody_set(total: int, share: float) -> None:
    """As long as it leaves the system what it needs itself."""
    kept = max(round(total * share), GiB)
    assert marks(total, kept).enough <= kept // 2
