"""What the page cache has of a file: a real file, read, dropped, and read ahead."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import pytest
import trio

from llmsup.memory.machine import page_cache
from llmsup.memory.machine.page_cache import PAGE, WINDOW, WINDOWS, advisory, cached_share, read_ahead, windows

PAGES = 1000


@pytest.fixture(name="file")
def a_file(tmp_path: Path) -> Path:
    """One that is on the disk: what is dirty can't be dropped."""
    path = tmp_path / "weights"
    with path.open("wb") as file:
        file.write(os.urandom(PAGES * PAGE))
        os.fsync(file.fileno())
    return path


def drop(path: Path, offset: int = 0, length: int = 0) -> None:
    with path.open("rb") as file:
        os.posix_fadvise(file.fileno(), offset, length, os.POSIX_FADV_DONTNEED)


def test_a_file_is_warm_after_it_was_read_and_cold_after_it_was_dropped(file: Path) -> None:
    file.read_bytes()
    assert cached_share([file]) == 1.0
    drop(file)
    assert cached_share([file]) == 0.0
    file.read_bytes()
    drop(file, 0, PAGES * PAGE // 2)
    assert cached_share([file]) == pytest.approx(0.5, abs=0.05)


def test_looking_reads_nothing(file: Path) -> None:
    drop(file)
    for _ in range(5):
        cached_share([file])
    assert cached_share([file]) == 0.0


def test_several_files_count_by_their_size(file: Path, tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.write_bytes(bytes(10 * PAGE))
    drop(file)
    assert cached_share([file, small]) == pytest.approx(10 / (PAGES + 10))


def test_a_large_file_is_sampled_from_its_first_page_to_its_last(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(windows(WINDOWS * WINDOW)) == 1
    monkeypatch.setattr(page_cache, "WINDOWS", 10)
    monkeypatch.setattr(page_cache, "WINDOW", 8)
    sampled = windows(PAGES)
    assert (len(sampled), sampled[0], sampled[-1]) == (10, (0, 8), (PAGES - 8, 8))
    file.read_bytes()
    drop(file, PAGES * PAGE // 2, 0)
    assert cached_share([file]) == pytest.approx(0.5, abs=0.1)


def test_what_cannot_be_told_is_not_guessed(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The system says of a stranger's file that all of it is there."""
    assert cached_share([]) is None
    assert cached_share([file, tmp_path / "none"]) is None
    empty = tmp_path / "empty"
    empty.touch()
    assert cached_share([empty]) is None
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert cached_share([file]) is None


async def test_a_part_can_be_read_ahead(file: Path) -> None:
    """The system does that in its own time."""
    drop(file)
    with trio.fail_after(60):
        while (cached_share([file]) or 0.0) < 0.4:
            read_ahead(file, 0, PAGES * PAGE // 2)
            await trio.sleep(0.01)
    assert cached_share([file]) == pytest.approx(0.5, abs=0.1)


def test_reading_ahead_on_a_mac(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """fcntl(F_RDADVISE) takes a C structure, laid out as the compiler does."""
    asked: list[tuple[int, bytes]] = []
    monkeypatch.setattr("fcntl.fcntl", lambda _file, command, data: asked.append((command, data)))
    read_ahead(file, 2**33, 5 * PAGE, platform="darwin")
    assert asked == [(44, struct.pack("@qi0q", 2**33, 5 * PAGE))]
    assert advisory(0, 2**40) == struct.pack("@qi0q", 0, 2**31 - 1)
