"""What models were seen to cost, kept from one run to the next, on a disk that may hold anything."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from threading import Thread

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmsup.config.load_modes import LOAD_MODES
from llmsup.config.schema import GiB
from llmsup.memory.cost.load_mode import Load, Loads
from llmsup.memory.cost.load_speed import Speed
from llmsup.memory.cost.store import FORMAT, LARGEST_FILE, MOST, FootprintStore
from llmsup.units import Bytes


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "state" / "footprints.json"


def written(file: Path, data: bytes) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(data)
    return file


def loaded(file: Path) -> FootprintStore:
    store = FootprintStore(file)
    assert store.load() is None
    return store


def kept(file: Path, **sizes: int) -> FootprintStore:
    store = FootprintStore(file)
    for key, size in sizes.items():
        store.put(key, Bytes(size))
    assert store.save() is None
    return store


def test_a_first_run(file: Path) -> None:
    """There is nothing, and that is no problem; the directory is made when there is something to keep."""
    store = loaded(file)
    assert store.get("a") is None
    assert store.save() is None
    assert not file.parent.exists()
    kept(file, a=5)
    assert loaded(file).get("a") == 5


def test_the_last_run_counts(file: Path) -> None:
    """Not the highest of all: files and prompts change."""
    kept(file, a=500, b=7)
    store = loaded(file)
    store.put("a", Bytes(300))
    assert store.save() is None
    assert (loaded(file).get("a"), loaded(file).get("b")) == (300, 7)


def test_load_times_and_the_machines_speed_are_kept(file: Path) -> None:
    """Beside what the model took, whichever of them is known first; the last counts, and the speed is of all."""
    store = FootprintStore(file)
    store.loaded("a", 4.0, 8 * GiB)
    assert (store.get("a"), store.load_seconds("a"), store.load_seconds("b")) == (None, 4.0, None)
    store.put("a", Bytes(9 * GiB))
    store.put("b", Bytes(5))
    store.loaded("a", 2.0, 8 * GiB)
    assert store.save() is None
    found = loaded(file)
    assert [(found.get(key), found.load_seconds(key)) for key in "ab"] == [(9 * GiB, 2.0), (5, None)]
    assert found.speed == store.speed == Speed().seen(8 * GiB, 4.0).seen(8 * GiB, 2.0)
    assert found.speed.expected(GiB) == pytest.approx(1 / 3)


def test_loads_are_kept_by_mode_and_by_what_was_cached(file: Path) -> None:
    """The last cold one and the last warm one of each; what can't be, isn't believed of a file."""
    store = FootprintStore(file)
    store.loaded("a", 29.0, 20 * GiB, "mmap", 0.0)
    store.loaded("a", 2.0, 20 * GiB, "mmap", 1.0)
    store.trying("a", "read")
    store.loaded("a", 3.3, 20 * GiB, "read", 0.01)
    store.loaded("b", 5.0, GiB)  # nobody knows how
    assert store.save() is None
    loads = loaded(file).loads("a")
    assert loads == store.loads("a")
    assert {mode: load.seconds for mode, load in loads.cold.items()} == {"mmap": 29.0, "read": 3.3}
    assert (loads.warm, loads.last, loads.tried) == ({"mmap": Load(20 * GiB, 2.0, 1.0)}, "read", ("read",))
    assert loaded(file).loads("b") == loaded(file).loads("c") == Loads()
    damaged = json.loads(file.read_text())
    damaged["seen"]["a"]["loads"]["cold"]["mmap"]["seconds"] = 0
    damaged["seen"]["a"]["loads"]["warm"]["mmap"]["bytes"] = 2**60
    loads = loaded(written(file, json.dumps(damaged).encode())).loads("a")
    assert (set(loads.cold), set(loads.warm)) == ({"read"}, set())


def test_a_file_of_before_load_times_were_kept(file: Path) -> None:
    """What it has counts; the rest is not known yet."""
    found = loaded(written(file, GOOD))
    assert (found.get("a"), found.load_seconds("a"), found.speed) == (9, None, Speed())


@pytest.mark.parametrize("seconds", [0, -1, 1e9, 1e290])
def test_absurd_load_times(file: Path, seconds: float) -> None:
    """They are not kept, and not believed of a file, nor is a machine's speed; what is sound beside them is."""
    store = FootprintStore(file)
    store.loaded("a", seconds, GiB)
    assert (store.load_seconds("a"), store.speed) == (None, Speed())
    seen = {"a": {"bytes": 0, "at": 1.0, "seconds": seconds}, "b": {"bytes": 9, "at": 1.0, "seconds": seconds}}
    for speed in ({"bytes": 1e9, "seconds": seconds}, {"bytes": seconds * 1e9, "seconds": 1.0}):
        found = loaded(written(file, json.dumps({"format": FORMAT, "seen": seen, "speed": speed}).encode()))
        assert (found.get("a"), found.load_seconds("a")) == (None, None)
        assert (found.get("b"), found.load_seconds("b")) == (9, None)
        assert found.speed == Speed()


@pytest.mark.parametrize("size", [0, -1, 2**60])
def test_a_load_of_a_size_that_nobody_knows(file: Path, size: int) -> None:
    """It tells how long that model takes, and nothing of the machine."""
    store = FootprintStore(file)
    store.loaded("a", 3.0, size)
    assert (store.load_seconds("a"), store.speed) == (3.0, Speed())


def test_only_its_owner_may_read_it(file: Path) -> None:
    """It tells which models are used."""
    kept(file, a=5)
    assert file.stat().st_mode & 0o777 == 0o600
    assert os.listdir(file.parent) == [file.name]


@pytest.mark.parametrize("size", [0, -1, 2**50, 2**70])
def test_absurd_sizes(file: Path, size: int) -> None:
    """They are not kept, and not believed of a file."""
    store = FootprintStore(file)
    store.put("a", Bytes(size))
    assert store.get("a") is None
    seen = {"a": {"bytes": size, "at": 1.0}, "b": {"bytes": 9, "at": 1.0}}
    written(file, json.dumps({"format": FORMAT, "seen": seen}).encode())
    store = FootprintStore(file)
    problem = store.load()
    assert store.get("a") is None
    assert (problem is None) == (store.get("b") == 9)


GOOD = json.dumps({"format": FORMAT, "seen": {"a": {"bytes": 9, "at": 1.0}}}).encode()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0" * 4096,
        b"rubbish",
        b"null",
        b"[]",
        b"{}",
        b"[" * 100_000,
        b'{"format": "1", "seen": {}}',
        b'{"format": 1, "seen": {"a": 5}}',
        b'{"format": 1, "seen": {"a": {"bytes": 1.5, "at": 1}}}',
        b'{"format": 1, "seen": {"a": {"bytes": "9", "at": 1}}}',
        b'{"format": 1, "seen": {"a": {"bytes": NaN, "at": 1}}}',
        b'{"format": 1, "seen": {"\xff": {"bytes": 9, "at": 1}}}',
        b'{"format": 1, "seen": {"a": {"bytes": 9, "at": 1, "seconds": "2"}}}',
        b'{"format": 1, "seen": {"a": {"bytes": 9, "at": 1, "seconds": 1e999}}}',
        b'{"format": 1, "seen": {}, "speed": 5}',
        b'{"format": 1, "seen": {}, "speed": {"bytes": 1.0, "seconds": NaN}}',
        GOOD + GOOD,
        *(GOOD[:end] for end in range(1, len(GOOD))),
    ],
)
def test_a_damaged_file(file: Path, data: bytes) -> None:
    """Half-written, overwritten, of another program: said once, and everything is measured again."""
    store = FootprintStore(written(file, data))
    said = store.load() or ""
    assert said.startswith(f"{file} is damaged")
    assert "measured again" in said
    assert store.get("a") is None
    store.put("a", Bytes(5))
    assert store.save() is None
    assert loaded(file).get("a") == 5


@given(st.binary(max_size=200))
def test_any_bytes(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    """Whatever the file holds, it can be begun with."""
    store = FootprintStore(written(tmp_path_factory.mktemp("s") / "f.json", data))
    assert store.load() is None or store.get("a") is None


def test_another_format(file: Path) -> None:
    """Of an older or newer llmsup: nothing is taken from it, and nothing is wrong."""
    written(file, GOOD.replace(b"1,", b"2,", 1))
    assert loaded(file).get("a") is None


def test_a_file_that_is_too_large(file: Path) -> None:
    """It is not read."""
    written(file, b" " * (LARGEST_FILE + 1))
    problem = FootprintStore(file).load() or ""
    assert problem.startswith(f"{file} is too large")


def test_a_full_store_is_not_too_large(file: Path) -> None:
    """As many entries as are kept can be read again; beyond, those that were not seen for the longest time go."""
    store = FootprintStore(file)
    for i in range(MOST):
        store.put(f"{i:032x}", Bytes(2**49))
        for mode in LOAD_MODES:
            store.trying(f"{i:032x}", mode)
            for cached in (0.123, 0.987):
                store.loaded(f"{i:032x}", 604799.999, 2**49, mode, cached)
    store.put(f"{0:032x}", Bytes(7))  # seen again
    store.put("new", Bytes(8))
    assert store.save() is None
    found = loaded(file)
    assert (found.get(f"{0:032x}"), found.get("new"), found.get(f"{1:032x}")) == (7, 8, None)
    assert found.get(f"{2:032x}") is not None


def test_a_directory_in_its_place(file: Path) -> None:
    """It can neither be read nor written; both are said, with the place, and the directory stays."""
    (file / "precious").mkdir(parents=True)
    store = FootprintStore(file)
    assert (store.load() or "").startswith(f"{file} can't be read (Is a directory)")
    store.put("a", Bytes(5))
    problem = store.save()
    assert problem is not None
    assert f"can't be saved in {file}: " in problem
    assert os.listdir(file.parent) == [file.name]
    assert (file / "precious").is_dir()
    assert store.get("a") == 5


def test_a_file_where_its_directory_should_be(file: Path) -> None:
    """A state_dir that is none."""
    file.parent.write_text("mine")
    store = FootprintStore(file)
    assert store.load() is not None
    store.put("a", Bytes(5))
    assert store.save() is not None
    assert file.parent.read_text() == "mine"


@pytest.fixture
def locked(file: Path) -> Iterator[Path]:
    """A directory in which nothing can be written. Root is not kept out by its mode: see the test."""
    written(file, GOOD)
    if os.geteuid():
        file.parent.chmod(0o500)
    yield file
    file.parent.chmod(0o700)


def test_a_directory_that_can_not_be_written(locked: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was there stays as it was; it is said once, tried again, and works as soon as it can."""

    def refused(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    store = loaded(locked)
    store.put("b", Bytes(5))
    with monkeypatch.context() as patch:
        if not os.geteuid():
            patch.setattr("os.open", refused)
        assert f"{locked}: Permission denied" in (store.save() or "")
        assert store.save() is None  # said already
    locked.parent.chmod(0o700)
    assert locked.read_bytes() == GOOD
    assert store.save() is None
    assert (loaded(locked).get("a"), loaded(locked).get("b")) == (9, 5)


def test_a_disk_that_is_full(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file is the old one or the new one, never a part; no temporary file is left; the next time it is written."""
    kept(file, a=9)
    before = file.read_bytes()
    store = loaded(file)
    store.put("b", Bytes(5))

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("os.replace", full)
        problem = store.save()
    assert f"{file}: No space left on device" in (problem or "")
    assert file.read_bytes() == before
    assert os.listdir(file.parent) == [file.name]
    assert store.save() is None
    assert loaded(file).get("b") == 5


def test_it_is_said_again_when_it_went_well_in_between(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A problem that comes back is news."""
    store = FootprintStore(file)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    for size in (1, 2):
        store.put("a", Bytes(size))
        with monkeypatch.context() as patch:
            patch.setattr("os.replace", full)
            assert store.save() is not None
        assert store.save() is None
        assert loaded(file).get("a") == size


def test_two_that_write_at_the_same_time(file: Path) -> None:
    """Two llmsups with one state_dir: the file is one's or the other's, whole, and nothing else is left."""

    def write(name: str) -> None:
        store = FootprintStore(file)
        for size in range(1, 60):
            store.put(name * size, Bytes(size))
            assert store.save() is None

    threads = [Thread(target=write, args=(name,)) for name in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = loaded(file)
    assert (found.get("a" * 59) or 0) + (found.get("b" * 59) or 0) in (59, 118)
    assert os.listdir(file.parent) == [file.name]


def test_nothing_new_is_not_written(file: Path) -> None:
    """The file isn't touched every minute for nothing."""
    store = kept(file, a=5)
    file.unlink()
    assert store.save() is None
    assert not file.exists()
