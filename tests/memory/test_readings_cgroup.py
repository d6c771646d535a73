"""Control groups: where ours are, their limits, and what is left in them."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmsup.config.schema import GiB
from llmsup.memory.machine.cgroup import (
    Group,
    bounds,
    cgroup_limit,
    oom_kills,
    own_groups,
    own_limit,
    parse_membership,
    parse_mounts,
)
from llmsup.memory.machine.files import Read, read_file

DATA = Path(__file__).parents[1] / "data" / "memory"
V1 = (DATA / "cgroup-v1.txt").read_text()
HYBRID = (DATA / "mountinfo-hybrid.txt").read_text()
UNLIMITED = "9223372036854771712\n"
STAT = (DATA / "memory-stat-v1.txt").read_text()


@pytest.mark.parametrize(
    ("texts", "own"),
    [
        ({"/proc/self/cgroup": "0::/\n", "/sys/fs/cgroup/memory.max": "max\n"}, None),
        ({"/proc/self/cgroup": "0::/\n", "/sys/fs/cgroup/memory.max": "1073741824\n"}, GiB),  # a container
        (  # a unit of systemd's
            {
                "/proc/self/cgroup": "0::/user.slice/llmsup.service\n",
                "/sys/fs/cgroup/user.slice/llmsup.service/memory.max": "1073741824\n",
                "/sys/fs/cgroup/user.slice/memory.max": "2147483648\n",
            },
            GiB,
        ),
        (  # everything that its user runs
            {
                "/proc/self/cgroup": "0::/user.slice/llmsup.service\n",
                "/sys/fs/cgroup/user.slice/llmsup.service/memory.max": "2147483648\n",
                "/sys/fs/cgroup/user.slice/memory.max": "1073741824\n",
            },
            None,
        ),
        (
            {
                "/proc/self/cgroup": "4:memory:/a/b\n",
                "/sys/fs/cgroup/memory/a/b/memory.limit_in_bytes": "1073741824\n",
                "/sys/fs/cgroup/memory/a/b/memory.stat": "hierarchical_memory_limit 1073741824\n",
                "/sys/fs/cgroup/memory/a/memory.limit_in_bytes": "2147483648\n",
            },
            GiB,
        ),
        (  # version 1 tells the group above's limit in ours, too
            {
                "/proc/self/cgroup": "4:memory:/a/b\n",
                "/sys/fs/cgroup/memory/a/b/memory.limit_in_bytes": "9223372036854771712\n",
                "/sys/fs/cgroup/memory/a/b/memory.stat": "hierarchical_memory_limit 1073741824\n",
                "/sys/fs/cgroup/memory/a/memory.limit_in_bytes": "1073741824\n",
            },
            None,
        ),
        (  # ... also where that group is outside of our container
            {
                "/proc/self/cgroup": "4:memory:/\n",
                "/sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
                "/sys/fs/cgroup/memory/memory.stat": "hierarchical_memory_limit 1073741824\n",
            },
            GiB,
        ),
    ],
)
def test_a_limit_of_our_own(texts: dict[str, str], own: int | None) -> None:
    """Not one that others than we live under."""
    read = files(**texts)
    groups = own_groups(read)
    assert own_limit(groups, bounds(groups, read)) == own


def files(**texts: str) -> Read:
    return lambda path: texts.get(str(path), "").encode()


def test_membership_as_it_was_captured() -> None:
    """Version 1's memory controller has a group of its own; version 2 is there without one."""
    assert parse_membership(V1.encode()) == {1: "/process_api/81d7", 2: "/"}
    assert parse_membership(b"4:cpu,memory:/x (deleted)\n") == {1: "/x"}


def test_mounts_as_they_were_captured() -> None:
    """Both versions at once, as systemd's hybrid does; the memory controller alone counts of version 1's."""
    assert parse_mounts(HYBRID.encode()) == {
        1: ("/", Path("/sys/fs/cgroup/memory")),
        2: ("/", Path("/sys/fs/cgroup/unified")),
    }


def test_a_mount_point_with_a_space() -> None:
    """mountinfo writes it in octal (proc(5))."""
    line = rb"31 23 0:28 /docker/1 /a\040b rw shared:9 master:1 - cgroup2 none rw"
    assert parse_mounts(line) == {2: ("/docker/1", Path("/a b"))}


@pytest.mark.parametrize(
    ("texts", "limit"),
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
        (
            {
                "/proc/self/cgroup": "0::/a\n",
                "/sys/fs/cgroup/a/memory.max": "3221225472\n",
                "/sys/fs/cgroup/a/memory.high": "1073741824\n",
            },
            GiB,
        ),
        ({"/proc/self/cgroup": "0::/a\n", "/sys/fs/cgroup/a/memory.max": "-5\n"}, None),
        ({"/proc/self/cgroup": "0::/a\n", "/sys/fs/cgroup/a/memory.max": "²\n"}, None),
        ({"/proc/self/cgroup": "0::/../../etc\n", "/sys/fs/cgroup/../../etc/memory.max": "5\n"}, None),
        (
            {
                "/proc/self/cgroup": V1,
                "/proc/self/mountinfo": HYBRID,
                "/sys/fs/cgroup/memory/process_api/81d7/memory.limit_in_bytes": UNLIMITED,
                "/sys/fs/cgroup/memory/process_api/memory.limit_in_bytes": "1073741824\n",
            },
            GiB,
        ),
        (
            {
                "/proc/self/cgroup": V1,
                "/sys/fs/cgroup/memory/process_api/81d7/memory.limit_in_bytes": UNLIMITED,
            },
            None,
        ),
    ],
)
def test_the_least_of_a_group_and_those_above_it(texts: dict[str, str], limit: int | None) -> None:
    """Of both versions; "max", and version 1's greatest number, are no bound."""
    assert cgroup_limit(files(**texts)) == limit


@pytest.mark.parametrize("version", [1, 2])
def test_a_container_sees_its_own_group_at_the_mount_point(version: int) -> None:
    """Without a namespace of its own: the path is the host's, the mount begins at the group (Docker)."""
    kind, controllers = ("cgroup2", "rw") if version == 2 else ("cgroup", "rw,memory")
    name = "memory.max" if version == 2 else "memory.limit_in_bytes"
    read = files(
        **{
            "/proc/self/mountinfo": f"9 8 0:1 /docker/4711 /sys/fs/cgroup/x ro - {kind} none {controllers}\n",
            "/proc/self/cgroup": f"{'0:' if version == 2 else '4:memory'}:/docker/4711\n",
            f"/sys/fs/cgroup/x/{name}": "2147483648\n",
        }
    )
    assert cgroup_limit(read) == 2 * GiB


def test_a_mount_that_is_none_of_ours() -> None:
    """The path isn't below what is mounted: then what is mounted is the best that can be looked at."""
    read = files(
        **{
            "/proc/self/mountinfo": "9 8 0:1 /docker/4711 /sys/fs/cgroup ro - cgroup2 none rw\n",
            "/proc/self/cgroup": "0::/docker/47110\n",
            "/sys/fs/cgroup/memory.max": "2147483648\n",
            "/sys/fs/cgroup/docker/47110/memory.max": "1\n",
        }
    )
    assert cgroup_limit(read) == 2 * GiB


def v1_group(limit: str, stat: str) -> Read:
    place = "/sys/fs/cgroup/memory"
    return files(
        **{
            "/proc/self/cgroup": "4:memory:/\n",
            f"{place}/memory.limit_in_bytes": limit,
            f"{place}/memory.usage_in_bytes": "109547520\n",
            f"{place}/memory.stat": stat,
        }
    )


def test_what_is_used_in_version_1() -> None:
    """As captured: usage less inactive cache, and less the active cache that nobody maps."""
    read = v1_group("4294967296\n", STAT)
    (bound,) = bounds(own_groups(read), read)
    assert bound.used == 109547520 - 97398784 - (6643712 - 0)
    assert bound.room == 4294967296 - bound.used


def test_the_limit_of_a_group_outside_of_the_container() -> None:
    """Version 1 tells the least limit above, but not what is used there: the room is unknown."""
    stat = STAT.replace(f"hierarchical_memory_limit {UNLIMITED.strip()}", "hierarchical_memory_limit 536870912")
    read = v1_group(UNLIMITED, stat)
    (bound,) = bounds(own_groups(read), read)
    assert (bound.limit, bound.file.name, bound.used, bound.room) == (536870912, "memory.stat", None, None)


def v2_group(**texts: str) -> Read:
    return files(
        **{"/proc/self/cgroup": "0::/\n", "/sys/fs/cgroup/memory.max": "1000\n"},
        **{f"/sys/fs/cgroup/{name.replace('_', '.', 1)}": text for name, text in texts.items()},
    )


@pytest.mark.parametrize(
    ("stat", "used"),
    [
        ("inactive_file 300\nactive_file 200\nfile_mapped 50\n", 900 - 300 - 150),
        ("inactive_file 300\nactive_file 200\nfile_mapped 400\n", 600),  # mapped weights are in use
        ("inactive_file 300\n", 600),
        ("inactive_file 1000\nactive_file 0\nfile_mapped 0\n", 0),  # both were not read at one moment
        ("inactive_anon 300\n", None),
        ("", None),
    ],
)
def test_what_is_used_in_version_2(stat: str, used: int | None) -> None:
    """File cache is not in use, except what somebody maps; without numbers for it nothing is known."""
    read = v2_group(memory_current="900\n", memory_stat=stat)
    (bound,) = bounds(own_groups(read), read)
    assert bound.used == used
    assert bound.room == (None if used is None else 1000 - used)


def test_more_used_than_allowed_leaves_nothing() -> None:
    """A limit may be lowered below what is used."""
    read = v2_group(memory_current="5000\n", memory_stat="inactive_file 0\n")
    (bound,) = bounds(own_groups(read), read)
    assert bound.room == 0


def test_usage_that_can_not_be_read_is_unknown() -> None:
    """The limit still is known."""
    read = v2_group(memory_stat="inactive_file 0\n")
    (bound,) = bounds(own_groups(read), read)
    assert (bound.limit, bound.used, bound.room) == (1000, None, None)


def test_processes_killed() -> None:
    """Each version counts them in a file of its own."""
    captured = (DATA / "oom-control-v1.txt").read_text()
    read = files(**{"/g/memory.oom_control": captured, "/g/memory.events": "oom 3\noom_kill 2\n"})
    assert oom_kills(Group(Path("/g"), 1), read) == 0
    assert oom_kills(Group(Path("/g"), 2), read) == 2
    assert oom_kills(Group(Path("/none"), 2), read) is None


@given(st.text(), st.text(), st.text())
def test_any_text_is_read(membership: str, mounts: str, limit: str) -> None:
    """What stands in these files never breaks anything."""
    texts = {"cgroup": membership, "mountinfo": mounts}
    read: Read = lambda path: texts.get(path.name, limit).encode(errors="replace")  # noqa: E731 -- it is that short
    found = cgroup_limit(read)
    assert found is None or found >= 0
    assert all(bound.room is None or bound.room >= 0 for bound in bounds(own_groups(read), read))


def test_a_very_long_path_is_not_followed() -> None:
    """The kernel's own limit is 4096."""
    assert parse_membership(b"0::" + b"/a" * 10_000 + b"\n") == {}


def test_this_machine() -> None:
    """Where there are control groups, ours is found at an existing place."""
    groups = own_groups(read_file)
    if sys.platform == "linux" and read_file(Path("/proc/self/cgroup")):
        assert any(group.path.is_dir() for group in groups)
        assert all((bound.room or 0) >= 0 for bound in bounds(groups, read_file))
