"""A reading of Linux: its parsers on captured files, what they make together, and this machine itself."""

from __future__ import annotations

import sys
from pathlib import Path

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmsup.memory.machine.files import number, pairs, read_file
from llmsup.memory.machine.linux import Linux, parse_meminfo
from llmsup.memory.machine.psi import parse_pressure
from llmsup.memory.machine.reading import Reading, Stall

DATA = Path(__file__).parents[1] / "data" / "memory"
MEMINFO, VMSTAT = DATA / "meminfo-6.18.txt", DATA / "vmstat-6.18.txt"
BUSY = (DATA / "pressure-busy.txt").read_bytes()
MiB = 1024**2


def machine(**files: bytes) -> dict[str, bytes]:
    """The files of a machine without control groups."""
    return {
        "/proc/meminfo": MEMINFO.read_bytes(),
        "/proc/vmstat": VMSTAT.read_bytes(),
        "/proc/pressure/memory": BUSY,
        **files,
    }


@pytest.mark.parametrize(("limit", "own"), [("1073741824", True), ("99999999999999", False), ("max", False)])
def test_a_group_of_our_own(limit: str, own: bool) -> None:
    """Its limit is what there is; one that is more than the machine has bounds nothing."""
    group = {"/proc/self/cgroup": b"0::/\n", "/sys/fs/cgroup/memory.max": limit.encode()}
    found = read(machine(**group))
    assert found.own_group == own
    assert found.sources.get("own_group") == ("/sys/fs/cgroup/memory.max" if own else None)


def read(files: dict[str, bytes]) -> Reading:
    return Linux(lambda path: files.get(str(path), b""), page_size=4096).reading()


def test_meminfo_as_it_was_captured() -> None:
    """Sizes in bytes; counts of huge pages, which have no unit, are none."""
    found = parse_meminfo(MEMINFO.read_bytes())
    lines = dict(line.split(b":") for line in MEMINFO.read_bytes().splitlines())
    assert found["MemTotal"] == 24684084 * 1024
    assert found["MemAvailable"] == int(lines[b"MemAvailable"].removesuffix(b" kB")) * 1024
    assert found["Active(file)"] > 0
    assert "HugePages_Total" not in found


def test_pressure_as_it_was_captured() -> None:
    """Both lines, of an idle machine; those of a busy one are made up."""
    assert parse_pressure((DATA / "pressure-6.18.txt").read_bytes()) == (Stall(0, 0, 0, 0), Stall(0, 0, 0, 0))
    assert parse_pressure(BUSY) == (Stall(12.34, 3.05, 0.61, 48219375), Stall(10.02, 2.51, 0.5, 41003112))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"some avg10=12.34 avg60=",
        b"some avg10=nan avg60=0.00 avg300=0.00 total=0\n",
        b"some avg10=0.00 avg60=0.00 avg300=0.00 total=" + b"9" * 5000 + b"\n",
        b"\xff\x00some avg10=0.00 avg60=0.00 avg300=0.00 total=0",
    ],
)
def test_pressure_that_is_not_understood_is_unknown(data: bytes) -> None:
    """Cut off, of another form, or absent: None, and not zero."""
    assert parse_pressure(data) == (None, None)


def test_pressure_of_a_kernel_that_has_only_one_line() -> None:
    """/proc/pressure/cpu of old kernels has no "full"; neither is taken for the other."""
    some, full = parse_pressure(BUSY.splitlines(keepends=True)[0])
    assert some == Stall(12.34, 3.05, 0.61, 48219375)
    assert full is None


def test_a_whole_reading() -> None:
    """What stands where, and who said it."""
    found = read(machine())
    memory = parse_meminfo(MEMINFO.read_bytes())
    assert (found.total, found.available) == (memory["MemTotal"], memory["MemAvailable"])
    assert found.some == Stall(12.34, 3.05, 0.61, 48219375)
    assert (found.swap_total, found.swap_free, found.swapped_out, found.oom_kills) == (0, 0, 0, 0)
    assert (found.level, found.compressed, found.swap_out_rate, found.gpus) == (None, None, None, None)
    assert found.sources["available"] == "/proc/meminfo MemAvailable"
    assert found.raw["/proc/meminfo MemTotal"] == str(24684084 * 1024)
    assert found.raw["/proc/pressure/memory"].startswith("some avg10=12.34")
    assert set(found.sources) == {
        *("total", "available", "some", "full", "swap_total", "swap_free", "swapped_out", "oom_kills"),
    }


def test_swapping_is_counted_in_bytes() -> None:
    """/proc/vmstat counts pages."""
    assert read(machine(**{"/proc/vmstat": b"pswpin 7\npswpout 3\noom_kill 2\n"})).swapped_out == 3 * 4096


def test_nothing_to_read_is_all_unknown() -> None:
    """No /proc: no value, no source, nothing raw, and above all no zero."""
    assert read({}) == Reading()


def test_a_kernel_without_pressure_or_available_memory() -> None:
    """Linux before 3.14, or with psi=0: these are unknown, the rest is not."""
    old = b"\n".join(line for line in MEMINFO.read_bytes().splitlines() if b"MemAvailable" not in line) + b"\n"
    found = read(machine(**{"/proc/meminfo": old, "/proc/pressure/memory": b""}))
    assert (found.available, found.some, found.full) == (None, None, None)
    assert found.total == 24684084 * 1024
    assert not {"available", "some", "full"} & set(found.sources)


GROUP = {
    "/proc/self/mountinfo": b"31 23 0:28 / /sys/fs/cgroup rw,relatime shared:4 - cgroup2 cgroup2 rw\n",
    "/proc/self/cgroup": b"0::/a/b\n",
    "/sys/fs/cgroup/a/memory.max": b"1073741824\n",
    "/sys/fs/cgroup/a/memory.current": b"943718400\n",
    "/sys/fs/cgroup/a/memory.stat": b"anon 1\nfile 2\nfile_mapped 0\ninactive_file 104857600\nactive_file 0\n",
    "/sys/fs/cgroup/a/memory.pressure": (DATA / "pressure-6.18.txt").read_bytes(),
    "/sys/fs/cgroup/a/b/memory.max": b"max\n",
    "/sys/fs/cgroup/a/b/memory.events": b"low 0\nhigh 3\nmax 0\noom 1\noom_kill 1\noom_group_kill 0\n",
}


def test_a_control_group_bounds_all_of_it() -> None:
    """Total, what is available, whose stalls count, and whose processes were killed."""
    found = read(machine(**GROUP))
    assert (found.total, found.available) == (1024 * MiB, 224 * MiB)
    assert (found.some, found.oom_kills) == (Stall(0, 0, 0, 0), 1)
    assert found.sources["total"] == "/sys/fs/cgroup/a/memory.max"
    assert found.sources["available"] == "/sys/fs/cgroup/a/memory.max less what is used"
    assert found.sources["some"] == "/sys/fs/cgroup/a/memory.pressure"
    assert found.raw["/sys/fs/cgroup/a used"] == str(800 * MiB)


def test_a_control_group_with_more_left_than_the_machine_has() -> None:
    """The lower of both is available."""
    scarce = b"MemTotal: 24684084 kB\nMemAvailable: 1024 kB\n"
    found = read(machine(**{**GROUP, "/proc/meminfo": scarce}))
    assert (found.total, found.available) == (1024 * MiB, MiB)


@pytest.mark.parametrize(
    ("used", "left", "stalled"),
    [(0, 224, "/sys/fs/cgroup/a/memory.pressure"), (400, 112, "/sys/fs/cgroup/a/b/memory.pressure")],
)
def test_of_several_groups_the_one_with_the_least_left_counts(used: int, left: int, stalled: str) -> None:
    """A lower limit that is far away says less than a higher one that is near."""
    inner = {
        "/sys/fs/cgroup/a/b/memory.max": b"536870912\n",
        "/sys/fs/cgroup/a/b/memory.current": b"%d\n" % (used * MiB),
        "/sys/fs/cgroup/a/b/memory.stat": b"inactive_file 0\n",
        "/sys/fs/cgroup/a/b/memory.pressure": BUSY,
    }
    found = read(machine(**{**GROUP, **inner}))
    assert (found.total, found.available) == (512 * MiB, left * MiB)
    assert found.sources["some"] == stalled


def test_a_group_without_stalls_of_its_own() -> None:
    """Version 1, or a kernel without per-group accounting: the machine's."""
    found = read(machine(**{**GROUP, "/sys/fs/cgroup/a/memory.pressure": b""}))
    assert found.sources["some"] == "/proc/pressure/memory"


@given(st.binary())
def test_any_bytes_are_read(data: bytes) -> None:
    """What stands in these files never breaks anything."""
    found = Linux(lambda path: data, page_size=4096).reading()
    assert found.total is None or found.total >= 0
    assert number(data) is None or number(data) == int(data)
    assert all(value >= 0 for value in pairs(data).values())


def test_a_long_file_is_not_read_whole(tmp_path: Path) -> None:
    """Nothing in /proc is as long as what we might be pointed at."""
    (tmp_path / "long").write_bytes(b"x" * 2**20)
    assert len(read_file(tmp_path / "long")) == 2**18
    assert read_file(tmp_path / "none") == b""
    assert read_file(tmp_path) == b""
    assert read_file(Path("a\0b")) == b""


@pytest.mark.parametrize("field", ["total", "available", "swapped_out"])
def test_this_machine(field: str) -> None:
    """The files of the kernel that these tests run on are understood, where that is Linux."""
    if sys.platform == "linux":
        found = Linux().reading()
        assert found.total is not None
        assert found.available is not None
        assert 0 < found.available <= psutil.virtual_memory().total
        assert found.total <= psutil.virtual_memory().total
        assert field in found.sources
