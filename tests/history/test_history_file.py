"""The history's file: how large it gets, what it does when it is damaged, taken, or the disk is full."""

from __future__ import annotations

import logging
import shutil
import sqlite3
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from llmsup.history.file import HistoryFile
from llmsup.history.looks import step_of
from llmsup.history.rows import Happened, RequestRow, Sample
from llmsup.history.tables import FIRSTS, LAST, MOST_BYTES, MOST_HAPPENED, Batch

NOW = 1_800_000_000.0
WEEK = 7 * 86400.0
GiB = 1024**3
MODELS = [f"lmstudio-community/Some-Model-{number}B-Instruct-GGUF@Q4_K_M" for number in range(5)]


def sample(at: float = NOW, size: int = GiB, models: list[str] = MODELS) -> Sample:
    each = {name: size + number for number, name in enumerate(models)}
    return {"at": at, "models": each, "others": 9 * GiB, "free": 7 * GiB, "total": 64 * GiB, "pressure": "normal"}


def request(at: float = NOW, number: int = 1, first: float | None = 0.5, **more: Any) -> RequestRow:
    row: Any = {
        "id": f"19a-{number}",
        "at": at,
        "model": MODELS[number % len(MODELS)],
        "client": "laptop",
        "path": "/v1/chat/completions",
        "status": 200,
        "waited_s": 0.012,
        "first_token_s": first,
        "took_s": 12.345,
        "tokens_in": 12345,
        "tokens_cached": 12000,
        "tokens_out": 678,
        "tokens_per_s": 55.432,
        "error": None,
        "captured": False,
    }
    return cast("RequestRow", {**row, **more})


def loaded(at: float = NOW, number: int = 0) -> Happened:
    """A load with a decision that weighed the models of a large machine, in words that differ each time."""
    weighed = [
        {
            "model": name,
            "footprint_bytes": GiB * 3 + number * 7919,
            "freeable_bytes": GiB * 2 + number * 104729,
            "rank": 1,
            "loss_seconds": number / 7,
            "stays": f"in use for {number} s of at least 3 s (min_residency)",
        }
        for name in MODELS * 4
    ]
    decision = {"decision": "evict", "model": MODELS[0], "reason": f"it needs {number} MiB", "weighed": weighed}
    reason = f"loaded in 3.{number} s at 6.4 GB/s (read), pid {number}"
    return {"at": at, "event": "load", "model": MODELS[0], "reason": reason, "decision": decision}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "history.sqlite"


@pytest.fixture
def file(path: Path) -> Iterator[HistoryFile]:
    file = HistoryFile(path)
    file.open()
    yield file
    file.close()


def said(file: HistoryFile, level: int = logging.WARNING) -> list[str]:
    """What it says, at a level and above; taken out."""
    lines = [line.text for line in file.said if line.level >= level]
    file.said.clear()
    return lines


def size(path: Path) -> int:
    return sum(each.stat().st_size for each in path.parent.iterdir())


@pytest.mark.slow
def test_a_week_is_small(file: HistoryFile, path: Path) -> None:
    """7 days of 1,000 requests a day, with five models whose sizes change all the time, and a load every 5 minutes:
    under 20 MB, SQLite's log included, and so it stays in the second week.
    """
    largest, hours = 0, 24 * 8
    for hour in range(hours):
        begin = NOW + 3600 * hour
        batch = Batch(
            samples=[sample(begin + 15 * step, GiB + (hour * 240 + step) * 2**21) for step in range(240)],
            happened=[loaded(begin + 300 * each, hour * 12 + each) for each in range(12)],
            requests=[request(begin + 86.4 * each, hour * 42 + each) for each in range(42)],
        )
        file.write(batch, begin + 3600, WEEK)
        largest = max(largest, size(path))
    assert said(file) == []
    print(f"a week of history: {largest:,} bytes")
    assert largest < 20e6
    end = NOW + 3600 * hours
    samples, happened, _, buckets = file.time(end - WEEK, end)
    assert len(samples) <= 722
    assert samples[0]["at"] == pytest.approx(end - WEEK, abs=1500)
    assert samples[-1]["models"].keys() == set(MODELS)
    assert sum(each["count"] for each in buckets) == pytest.approx(24 * 7 * 42, abs=42)
    assert len(buckets) <= 722
    assert happened[-1]["decision"]
    assert file.time(NOW, end - WEEK - 3600)[0] == [], "what is older is gone"
    assert len(file.last_requests()) == LAST


@pytest.mark.slow
def test_it_is_bounded_whatever_happens(file: HistoryFile, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Dozens of models loaded at a time, a load every few seconds, no end to `keep`: the oldest goes."""
    monkeypatch.setattr("llmsup.history.tables.MOST_BYTES", most := MOST_BYTES // 9)
    many = [f"{name}-{number}" for name in MODELS for number in range(10)]
    for hour in range(60):
        begin = NOW + 3600 * hour
        happened = [loaded(begin + 18 * each, hour * 200 + each) for each in range(200)]
        samples = [sample(begin + 36 * step, GiB + step * 2**30, many) for step in range(100)]
        file.write(Batch(samples=samples, happened=happened), begin + 3600, 365 * 86400)
    assert size(path) < most * 1.5
    end = NOW + 3600 * 60
    samples, happened, left_out, _ = file.time(NOW, end)
    assert samples[-1]["at"] == pytest.approx(end, abs=36)
    assert samples[0]["at"] > NOW + 3600
    assert happened[-1]["at"] == pytest.approx(end, abs=18)
    assert 0 < len(happened) + left_out < MOST_HAPPENED


def test_requests_by_the_minute(file: HistoryFile) -> None:
    """Counts, errors and the median, also of minutes that are added to and of those with more than is kept."""
    minute = NOW // 60 * 60
    rows = [request(minute, first=first) for first in (0.1, 0.2, 9.0)]
    file.write(Batch(requests=rows), NOW, WEEK)
    rows = [request(minute + 1, status=500, first=None), request(minute + 2, error="client left", status=0, first=0.3)]
    file.write(Batch(requests=rows), NOW, WEEK)
    file.write(Batch(requests=[request(minute - 60, first=1.0 + each / 1000) for each in range(1000)]), NOW, WEEK)
    *_, before, then = file.time(NOW - 3600, NOW)[3]
    assert before["at"] == minute - 60
    assert (before["count"], before["errors"]) == (1000, 0)
    assert 1.2 < (before["first_token_s"] or 0) < 1.8
    assert (then["count"], then["errors"], then["first_token_s"]) == (5, 1, 0.2)
    (both,) = (each for each in file.time(NOW - WEEK, NOW)[3] if each["count"])
    assert both["count"] == 1005
    assert 1 < (both["first_token_s"] or 0) < 2, "the busy minute weighs more"
    assert FIRSTS < 1000
    assert (step_of(0, 6 * 3600), step_of(0, 86400), step_of(0, WEEK)) == (60, 120, 840)


def test_what_holds_at_the_beginning(file: HistoryFile) -> None:
    """Nothing is written down while nothing changes, so the last sample before still holds."""
    file.write(Batch(samples=[sample(NOW - 200)]), NOW, WEEK)
    (first,) = file.time(NOW - 60, NOW)[0]
    assert first["at"] == NOW - 60
    assert file.time(NOW + 700, NOW + 760)[0] == [], "but not for ever"


def test_nobody_else_may_read_it(file: HistoryFile, path: Path) -> None:
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert said(file, logging.INFO) == [f"the history begins in {path}"]


@pytest.mark.parametrize("damage", ["no database", "a page", "another version", "an older table"])
def test_a_damaged_file_is_set_aside(damage: str, path: Path) -> None:
    """It begins anew, says so once, and the old file is there to look at."""
    file = HistoryFile(path)
    file.open()
    file.write(Batch(requests=[request(number=each) for each in range(400)]), NOW, WEEK)
    file.close()
    if damage == "no database":
        path.write_bytes(b"?" * 5000)
    elif damage == "a page":
        data = bytearray(path.read_bytes())
        data[4096:] = b"\xaa" * (len(data) - 4096)
        path.write_bytes(data)
    else:
        db = sqlite3.connect(path)
        db.execute("PRAGMA user_version = 99" if damage == "another version" else "PRAGMA user_version = 0")
        db.close()
    broken = path.read_bytes()
    file = HistoryFile(path)
    file.open()
    (line,) = said(file)
    assert "it begins anew" in line
    assert f"{path}.damaged" in line
    assert Path(f"{path}.damaged").read_bytes() == broken
    assert file.last_requests() == []
    file.write(Batch(requests=[request()]), NOW, WEEK)
    assert len(file.last_requests()) == 1
    assert said(file) == []
    file.close()


def test_damage_that_shows_later(file: HistoryFile, path: Path) -> None:
    """While it is in use: the same."""
    file.write(Batch(requests=[request(number=each) for each in range(400)]), NOW, WEEK)
    assert file._db is not None
    file._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    file._db.execute("PRAGMA shrink_memory")  # else it answers from what it has read
    with path.open("r+b") as raw:
        raw.seek(4096)
        raw.write(b"\xaa" * (path.stat().st_size - 4096))
    for _ in range(2):
        assert file.time(NOW - 60, NOW + 60)[1:3] == ([], 0)
        file.write(Batch(requests=[request()], samples=[sample()]), NOW, WEEK)
    assert [line for line in said(file) if "begins anew" in line]
    assert file.time(NOW - 60, NOW + 60)[0]


def test_a_full_disk_is_told_once(file: HistoryFile) -> None:
    """What can't be written is lost, what was there can be read, and it goes on once there is room."""
    file.write(Batch(samples=[sample(NOW - 10)]), NOW, WEEK)
    db = file._db
    assert db is not None
    pages = db.execute("PRAGMA page_count").fetchone()[0]
    db.execute(f"PRAGMA max_page_count = {pages}")  # then SQLite says what it says of a full disk
    for number in range(3):
        file.write(Batch(requests=[request(number=each) for each in range(500)]), NOW + number, WEEK)
    (line,) = said(file)
    assert "database or disk is full" in line
    assert len(file.time(NOW - 60, NOW + 60)[0]) == 1
    db.execute("PRAGMA max_page_count = 100000")
    file.write(Batch(requests=[request()]), NOW + 9, WEEK)
    assert said(file, logging.INFO)[-1:] == ["the history is kept again"]
    assert len(file.last_requests()) == 1


def test_a_place_that_can_not_be_written_to(tmp_path: Path) -> None:
    """It is remembered in memory, and that is said."""
    (tmp_path / "state").write_text("a file, not a directory")
    file = HistoryFile(tmp_path / "state" / "history.sqlite")
    file.open()
    assert "kept in memory only" in said(file)[0]
    file.write(Batch(requests=[request()]), NOW, WEEK)
    assert len(file.last_requests()) == 1
    file.close()


def test_two_on_one_file(file: HistoryFile, path: Path) -> None:
    """The second one remembers in memory; when the first ends, it takes the file, with what it has."""
    file.write(Batch(samples=[sample(NOW - 9, models=MODELS[:2])], requests=[request()]), NOW, WEEK)
    second = HistoryFile(path)
    second.open()
    assert second.taken
    assert "another llmsup writes its history" in said(second)[0]
    batch = Batch(samples=[sample(NOW - 5, models=MODELS[::-1])], requests=[request(number=2)], happened=[loaded()])
    second.write(batch, NOW, WEEK)
    assert [row["id"] for row in second.last_requests()] == ["19a-2"]
    file.write(Batch(requests=[request(number=3)]), NOW, WEEK)
    file.close()
    second.write(Batch(requests=[request(number=4)]), NOW, WEEK)
    assert not second.taken
    assert [row["id"] for row in second.last_requests()] == ["19a-1", "19a-3", "19a-2", "19a-4"]
    samples, happened, _, buckets = second.time(NOW - 60, NOW + 1)
    assert [list(each["models"]) for each in samples] == [MODELS[:2], MODELS[::-1]]
    assert samples[1] == sample(NOW - 5, models=MODELS[::-1])
    assert len(happened) == 1
    assert sum(each["count"] for each in buckets) == 4
    second.close()


def test_a_power_cut(file: HistoryFile, path: Path, tmp_path: Path) -> None:
    """What was on the disk at any moment can be opened, and has all batches but perhaps the last."""
    for number in range(3):
        file.write(Batch(requests=[request(number=number)]), NOW, WEEK)
    then = tmp_path / "then"
    shutil.copytree(path.parent, then)
    later = HistoryFile(then / path.name)
    later.open()
    assert [row["id"] for row in later.last_requests()] == ["19a-0", "19a-1", "19a-2"]
    assert said(later) == []
    later.close()


def test_a_clock_that_was_wrong(file: HistoryFile) -> None:
    """What was written in a far future doesn't stay until then."""
    file.write(Batch(samples=[sample(NOW + 99 * WEEK)], happened=[loaded(NOW + 99 * WEEK)]), NOW + 99 * WEEK, WEEK)
    file.write(Batch(samples=[sample(NOW)]), NOW, WEEK)
    samples, happened, _, _ = file.time(NOW - 60, NOW + 100 * WEEK)
    assert [each["at"] for each in samples] == [NOW]
    assert happened == []


def test_text_that_is_no_utf8(file: HistoryFile) -> None:
    """A reason may name a file whose name is none."""
    told = {**loaded(), "reason": "no file /\udcff.gguf", "decision": {"reason": "/\udcff.gguf"}}
    file.write(Batch(happened=[told]), NOW, WEEK)  # type: ignore[list-item]
    (happened,) = file.time(NOW - 60, NOW + 1)[1]
    assert happened["reason"] == "no file /?.gguf"
    assert happened["decision"] == {"reason": "/?.gguf"}
