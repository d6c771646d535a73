"""What a group of processes costs: parsers on captures, and this machine's own processes."""

from __future__ import annotations

import mmap
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmsup.memory.cost.process import (
    Footprint,
    footprint_of_group,
    measure_linux,
    parse_rollup,
    parse_status,
    this_system,
)
from llmsup.units import Bytes

DATA = Path(__file__).parents[1] / "data" / "memory"
KiB, MiB = 1024, 1024**2


def test_an_engine_that_shares_its_file() -> None:
    """An mmapped model served twice: its own memory is held, its half of the file may be dropped."""
    # A captured file's form with the sizes that a llama-server was measured with.
    found = parse_rollup((DATA / "smaps-rollup-mmap.txt").read_bytes())
    assert found == Footprint(Bytes(205824 * KiB), Bytes(54272 * KiB))


def test_a_rollup_as_it_was_captured() -> None:
    """Linux 6.18, with its many other lines."""
    found = parse_rollup((DATA / "smaps-rollup-6.18.txt").read_bytes())
    lines = dict(line.split(":", 1) for line in (DATA / "smaps-rollup-6.18.txt").read_text().splitlines()[1:])
    anonymous, files = (int(lines[name].removesuffix(" kB")) * KiB for name in ("Pss_Anon", "Pss_File"))
    assert found == Footprint(Bytes(anonymous), Bytes(files))
    assert anonymous > 0


def test_what_is_swapped_out_is_held_still() -> None:
    """As a Mac counts what is compressed: swapping a model out doesn't make it cheap."""
    data = b"Pss_Anon:  100 kB\nPss_Shmem:  20 kB\nPss_File: 9 kB\nSwapPss: 3 kB\n"
    assert parse_rollup(data) == Footprint(Bytes(123 * KiB), Bytes(9 * KiB))


@pytest.mark.parametrize("data", [b"", b"Rss: 5 kB\nPss: 5 kB\nAnonymous: 3 kB\n", b"Pss_Anon: x kB\nPss_Shmem: 1 kB"])
def test_a_rollup_without_the_parts_is_unknown(data: bytes) -> None:
    """Before Linux 5.4, or cut off."""
    assert parse_rollup(data) is None


def test_an_older_kernel_is_read_by_its_status() -> None:
    """It has the same kinds, undivided."""
    files = {
        "/proc/7/smaps_rollup": b"Rss: 5 kB\nPss: 5 kB\n",
        "/proc/7/status": b"Name:\tx\nVmSwap:\t 1 kB\nRssAnon:\t 100 kB\nRssFile:\t 9 kB\nRssShmem:\t 20 kB\n",
    }
    assert measure_linux(7, lambda path: files.get(str(path), b"")) == Footprint(Bytes(121 * KiB))
    assert measure_linux(8, lambda path: files.get(str(path), b"")) is None


@given(st.binary())
def test_any_bytes_are_read(data: bytes) -> None:
    """Nothing is raised, and nothing is negative."""
    for found in (parse_rollup(data), parse_status(data)):
        assert found is None or found.held >= 0


def test_sums() -> None:
    """Droppable is unknown only if it is for all."""
    one, other = Footprint(Bytes(1), Bytes(2)), Footprint(Bytes(10))
    assert one + other == Footprint(Bytes(11), Bytes(2))
    assert other + other == Footprint(Bytes(20))


def test_a_group_with_a_grandchild() -> None:
    """All descendants count; one that can't be measured any more counts nothing."""
    script = "sh -c 'sleep 1000 & echo; wait' & wait"
    with subprocess.Popen(["/bin/sh", "-c", script], stdout=subprocess.PIPE, start_new_session=True) as child:
        try:
            assert child.stdout is not None
            child.stdout.readline()
            all_three = footprint_of_group(child.pid, lambda pid: Footprint(Bytes(1)))
            one = footprint_of_group(child.pid, lambda pid: Footprint(Bytes(1)) if pid == child.pid else None)
            none = footprint_of_group(child.pid, lambda pid: None if pid == child.pid else Footprint(Bytes(1)))
        finally:
            os.killpg(child.pid, 9)
    assert all_three == Footprint(Bytes(3))
    assert one == Footprint(Bytes(1))
    assert none is None


def test_a_process_that_is_gone() -> None:
    """Unknown, not nothing."""
    with subprocess.Popen(["/bin/sh", "-c", ":"]) as child:
        child.wait()
    assert footprint_of_group(child.pid) is None


def test_its_own_memory_is_held_and_a_mapped_file_is_not(tmp_path: Path) -> None:
    """Measured by this machine: 32 MiB of each, of which only the one's end gives memory back."""
    if sys.platform != "linux":
        return
    path = tmp_path / "weights"
    path.write_bytes(b"w" * (32 * MiB))
    before = footprint_of_group(os.getpid())
    own = bytearray(b"x" * (32 * MiB))
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as mapped:
        assert sum(mapped[offset] for offset in range(0, len(mapped), 4096)) > 0
        after = footprint_of_group(os.getpid())
    assert len(own) == 32 * MiB
    assert before is not None
    assert after is not None
    assert 28 * MiB < after.held - before.held < 48 * MiB
    assert after.droppable is not None
    assert before.droppable is not None
    assert after.droppable - before.droppable > 28 * MiB


def test_a_system_without_shares() -> None:
    """Neither Linux nor a Mac: the resident size is all there is."""
    measured = this_system("freebsd14")(os.getpid())
    assert measured is not None
    assert measured.held > MiB
    assert measured.droppable is None
