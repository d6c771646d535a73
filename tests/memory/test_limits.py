"""How much all models together may take: the config's limit, or this machine's memory less a reserve."""

from __future__ import annotations

import math

import psutil
import pytest

from llmsup.config.schema import GiB, Memory, MiB
from llmsup.memory.machine.limits import ceiling, machine_total, reserve
from llmsup.units import Bytes


@pytest.mark.parametrize(
    ("total", "kept"),
    [(8, 4.0), (50, 4.0), (64, 5.12), (128, 10.24), (150, 12.0), (512, 12.0)],
)
def test_the_reserve_is_a_share_within_bounds(total: float, kept: float) -> None:
    """8 % of the memory, never less than 4 GiB or more than 12."""
    assert reserve(Memory(), Bytes(round(total * GiB))) == round(kept * GiB)
    assert ceiling(Memory(), Bytes(round(total * GiB))) == round(total * GiB) - round(kept * GiB)


def test_the_config_says_it() -> None:
    """A reserve is taken off, a limit is the ceiling itself, whatever the reserve says."""
    total = Bytes(16 * GiB)
    assert ceiling(Memory(reserve=Bytes(GiB)), total) == 15 * GiB
    assert ceiling(Memory(reserve=Bytes(0)), total) == total
    assert ceiling(Memory(limit=Bytes(3 * GiB), reserve=Bytes(9 * GiB)), total) == 3 * GiB


def test_it_is_never_below_nothing() -> None:
    """A machine with less than a reserve that was asked for has room for no model; "auto" leaves half."""
    assert ceiling(Memory(), Bytes(3 * GiB)) == 3 * GiB // 2
    assert ceiling(Memory(reserve=Bytes(99 * GiB)), Bytes(16 * GiB)) == 0


@pytest.mark.parametrize(
    ("total", "kept"),
    [(100, 50), (200, 64), (1200, 64), (1280, 64), (2048, 102.4), (16 * 1024, 819.2), (256 * 1024, 13107.2)],
)
def test_a_control_group_of_our_own_has_nothing_else_in_it(total: int, kept: float) -> None:
    """5 %, at least 64 MiB, never more than half."""
    size = Bytes(total * MiB)
    assert reserve(Memory(), size, own_group=True) == math.ceil(kept * MiB)
    assert ceiling(Memory(), size, own_group=True) == size - math.ceil(kept * MiB)
    assert ceiling(Memory(reserve=Bytes(5 * MiB)), size, own_group=True) == size - 5 * MiB


def test_a_gpu_that_may_have_less_than_the_rest() -> None:
    """On a Mac the lower of both counts; an explicit limit is the user's own say."""
    total = Bytes(128 * GiB)
    assert ceiling(Memory(), total, Bytes(96 * GiB)) == 96 * GiB
    assert ceiling(Memory(), total, Bytes(125 * GiB)) == ceiling(Memory(), total)
    assert ceiling(Memory(limit=Bytes(100 * GiB)), total, Bytes(96 * GiB)) == 100 * GiB


def test_this_machine() -> None:
    """Without a total it is this machine's memory, or less."""
    assert 0 < machine_total() <= psutil.virtual_memory().total
    assert ceiling(Memory(reserve=Bytes(0))) == machine_total()
