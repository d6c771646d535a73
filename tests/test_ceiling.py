"""How much all models together may take: the config's limit, or this machine's memory less a reserve."""

from __future__ import annotations

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmsup.config.schema import GiB, Memory
from llmsup.engines.context import Context
from llmsup.memory.ceiling import ceiling, cgroup_limit, fits, machine_total, reserve
from llmsup.memory.estimate import Estimate
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
    """A machine with less than the reserve has room for no model."""
    assert ceiling(Memory(), Bytes(3 * GiB)) == 0
    assert ceiling(Memory(reserve=Bytes(99 * GiB)), Bytes(16 * GiB)) == 0


def test_this_machine() -> None:
    """Without a total it is this machine's memory, or less."""
    assert 0 < machine_total() <= psutil.virtual_memory().total
    assert ceiling(Memory(reserve=Bytes(0))) == machine_total()


V1 = "9:name=systemd:/\n4:memory:/process_api/81d7\n1:cpu:/\n0::/\n"
"""As it was captured in a container with version 1's controllers."""


@pytest.mark.parametrize(
    ("files", "limit"),
    [
        ({}, None),
        ({"/proc/self/cgroup": V1}, None),
        ({"/proc/self/cgroup": "0::/\n", "/sys/fs/cgroup/memory.max": "max\n"}, None),
        ({"/proc/self/cgroup": "0::/\n", "/sys/fs/cgroup/memory.max": "4294967296\n"}, 4 * GiB),
        (
            {
                "/proc/self/cgroup": "0::/system.slice/llmsup.service\n",
                "/sys/fs/cgroup/system.slice/llmsup.service/memory.max": "max\n",
                "/sys/fs/cgroup/system.slice/memory.max": "8589934592\n",
            },
            8 * GiB,
        ),
        (
            {
                "/proc/self/cgroup": "0::/a/b/c\n",
                "/sys/fs/cgroup/a/b/c/memory.max": "3221225472\n",
                "/sys/fs/cgroup/a/memory.max": "2147483648\n",
            },
            2 * GiB,
        ),
        ({"/proc/self/cgroup": "0::/a\n", "/sys/fs/cgroup/a/memory.max": "-5\n"}, None),
        ({"/proc/self/cgroup": "0::/a\n", "/sys/fs/cgroup/a/memory.max": "²\n"}, None),
        ({"/proc/self/cgroup": "0::/../../etc\n", "/sys/fs/cgroup/../../etc/memory.max": "5\n"}, None),
    ],
)
def test_a_control_group_bounds_the_memory(files: dict[str, str], limit: int | None) -> None:
    """The least of a group and those above it; version 1 and "max" are no bound."""
    assert cgroup_limit(lambda path: files.get(str(path), "")) == limit


@given(st.text(), st.text())
def test_any_text_is_read(group: str, limit: str) -> None:
    """What stands in these files never breaks anything."""
    found = cgroup_limit(lambda path: group if path.name == "cgroup" else limit)
    assert found is None or found >= 0


def test_what_fits() -> None:
    """A model fits if all its parts together do."""
    one = Bytes(GiB)
    model = Estimate(one, one, one, one, one, Context(n_ctx=256, n_ctx_seq=256, sequences=1, unified=True))
    assert fits(model, Bytes(5 * GiB))
    assert not fits(model, Bytes(5 * GiB - 1))
