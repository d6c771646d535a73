"""What models were seen to cost, on the disk: whole or not at all, and never in the way of serving."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from llmsup.memory import footprint_store
from llmsup.memory.footprint_store import FORMAT, FootprintStore
from llmsup.units import Bytes


def store(folder: Path) -> FootprintStore:
    return FootprintStore(folder / "state" / "footprints.json")


def test_what_was_put_is_there_the_next_time(tmp_path: Path) -> None:
    """Readable by its owner only, and nothing is left lying about."""
    first = store(tmp_path)
    assert first.load() is None, "there is none yet: that is fine"
    first.put("a", Bytes(5))
    first.put("a", Bytes(3))
    assert first.save() is None
    second = store(tmp_path)
    assert second.load() is None
    assert (second.get("a"), second.get("b")) == (3, None), "the last run counts"
    file = tmp_path / "state" / "footprints.json"
    assert file.stat().st_mode & 0o077 == 0
    assert list(file.parent.iterdir()) == [file]


def test_nothing_new_is_not_written(tmp_path: Path) -> None:
    """A laptop's disk may sleep."""
    kept = store(tmp_path)
    kept.load()
    assert kept.save() is None
    assert not (tmp_path / "state").exists()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is damaged"),
        (b'{"format":1,"seen":{"abc":{"bytes":12', "is damaged"),
        (b"\xff\xfe\x00", "is damaged"),
        (b"[" * 100_000, "is damaged"),
        (b'{"format":1,"seen":{"a":{"bytes":"many","at":1}}}', "is damaged"),
        (b" " * (5 * 1024**2), "is too large to be ours"),
    ],
)
def test_a_bad_file_is_told_and_the_store_starts_empty(tmp_path: Path, content: bytes, said: str) -> None:
    """It is measured anew, and the next save makes it whole."""
    file = tmp_path / "footprints.json"
    file.write_bytes(content)
    kept = FootprintStore(file)
    told = kept.load()
    assert told is not None
    assert said in told
    assert str(file) in told
    kept.put("a", Bytes(7))
    assert kept.save() is None
    again = FootprintStore(file)
    assert again.load() is None
    assert again.get("a") == 7


def test_another_format_is_not_understood_nor_complained_about(tmp_path: Path) -> None:
    """A newer llmsup wrote it; an older one measures anew."""
    file = tmp_path / "footprints.json"
    file.write_text(json.dumps({"format": FORMAT + 1, "seen": {"a": {"bytes": 7, "at": 1.0}}}))
    kept = FootprintStore(file)
    assert kept.load() is None
    assert kept.get("a") is None


@pytest.mark.parametrize("size", [0, -5, 2**60])
def test_absurd_sizes_are_neither_kept_nor_believed(tmp_path: Path, size: int) -> None:
    """A model that costs nothing, or more than any machine has, was not measured."""
    file = tmp_path / "footprints.json"
    file.write_text(json.dumps({"format": FORMAT, "seen": {"a": {"bytes": size, "at": 1.0}}}))
    kept = FootprintStore(file)
    assert kept.load() is None
    kept.put("b", Bytes(size))
    assert (kept.get("a"), kept.get("b")) == (None, None)


def test_those_that_were_not_seen_for_the_longest_time_are_forgotten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each setting that somebody ever tried is an entry of its own."""
    monkeypatch.setattr(footprint_store, "MOST", 3)
    kept = store(tmp_path)
    for key in "abcad":
        kept.put(key, Bytes(1))
    assert [key for key in "abcd" if kept.get(key)] == ["a", "c", "d"]


def test_a_place_that_can_not_be_written_is_told(tmp_path: Path) -> None:
    """A file where the folder should be; and no half-written file stays."""
    (tmp_path / "state").write_text("I am a file")
    kept = store(tmp_path)
    assert kept.load() is not None
    kept.put("a", Bytes(1))
    told = kept.save()
    assert told is not None
    assert "can't be kept in" in told
    assert [path.name for path in tmp_path.iterdir()] == ["state"]


def test_a_file_that_is_a_folder(tmp_path: Path) -> None:
    """It is not removed, whatever it holds."""
    file = tmp_path / "footprints.json"
    (file / "precious").mkdir(parents=True)
    kept = FootprintStore(file)
    assert kept.load() is not None
    kept.put("a", Bytes(1))
    assert kept.save() is not None
    assert (file / "precious").is_dir()
    assert [path.name for path in tmp_path.iterdir()] == ["footprints.json"], "the temporary one is gone"
