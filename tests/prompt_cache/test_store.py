"""The directory of saved slots: whole or not at all, one owner, nothing left behind by the dead."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from llmsup.prompt_cache.saved import Saved
from llmsup.prompt_cache.store import Store

DAY = 86400


def saved(saved_id: str, size: int = 100, used_at: float = 0) -> Saved:
    return Saved(
        id=saved_id * 32, model="m", fingerprint={"files": "x"}, tokens=5, bytes=size, digest="", saved_at=0,
        used_at=used_at,
    )  # fmt: skip


def put(store: Store, saved_id: str, size: int = 100, *, most: int = 10**6, used_at: float = 0) -> Saved | None:
    """What an engine has written becomes an entry."""
    room = store.room_for_engine()
    (room / "x").write_bytes(os.urandom(size))
    store.take(room / "x", saved_id * 32)
    try:
        return store.add(saved(saved_id, size, used_at), most=most)
    finally:
        store.leave(room)


def names(store: Store) -> list[str]:
    return sorted(path.name for path in (store.directory / "saved").iterdir())


@pytest.fixture
def store(tmp_path: Path) -> Store:
    made = Store(tmp_path / "cache")
    assert made.open()
    return made


def test_only_its_owner_can_look_inside(store: Store) -> None:
    """Conversations are private: directories 0700, files 0600, whatever the umask or the engine's."""
    before = os.umask(0)
    try:
        put(store, "a")
        store.count(5)
    finally:
        os.umask(before)
    for path in store.directory.rglob("*"):
        mode = stat.S_IMODE(path.stat().st_mode)
        assert mode == (0o700 if path.is_dir() else 0o600), path
    assert stat.S_IMODE(store.directory.stat().st_mode) == 0o700


def test_the_least_recently_used_goes(store: Store) -> None:
    for name, at in (("a", 1), ("b", 3), ("c", 2)):
        put(store, name, used_at=at, most=200)
    assert [each.id[0] for each in store.of("m")] == ["c", "b"] or [each.id[0] for each in store.of("m")] == ["b", "c"]
    assert store.bytes == 200
    assert put(store, "d", 201, most=200) is None
    assert len(names(store)) == 6


def test_the_newest_stays_even_if_it_looks_old(store: Store) -> None:
    """A clock that went back doesn't remove what was just saved."""
    put(store, "a", used_at=1000)
    put(store, "b", used_at=1, most=100)
    assert [each.id[0] for each in store.of("m")] == ["b"]


def test_two_llmsups(store: Store) -> None:
    """The second leaves everything alone, and says why; it gets the directory once the first is gone."""
    put(store, "a")
    other = Store(store.directory)
    assert not other.open()
    assert other.problem == f"another llmsup uses {store.directory}"
    assert (other.entries, len(names(store))) == ({}, 3)
    store.close()
    assert other.open()
    assert [each.id[0] for each in other.of("m")] == ["a"]
    other.close()


def test_what_is_not_ours_stays(store: Store) -> None:
    """A file that somebody put there, in whatever place, is neither read nor removed."""
    places = [store.directory, store.directory / "saved", store.directory / "engines"]
    for place in places:
        (place / "notes.txt").write_text("mine")
        (place / "mine").mkdir()
    store.close()
    assert store.open()
    store.clear()
    for place in places:
        assert (place / "notes.txt").read_text() == "mine"
        assert (place / "mine").is_dir()


def test_a_directory_that_can_not_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    made = Store(tmp_path / "file" / "cache")
    assert not made.open()
    assert "can't be used" in made.problem


def test_days(store: Store) -> None:
    """What was written counts until the day is over."""
    now = [DAY * 100.0 + 5]
    made = Store(store.directory / "x", now=lambda: now[0])
    made.open()
    made.count(70)
    made.count(30)
    assert made.written == 100
    now[0] += DAY
    assert made.written == 0
    made.count(1)
    assert made.written == 1
    made.close()


def test_data_that_is_not_as_long_as_the_engine_said(store: Store) -> None:
    room = store.room_for_engine()
    (room / "x").write_bytes(b"12345")
    store.take(room / "x", "a" * 32)
    with pytest.raises(OSError, match="5 bytes instead of 100"):
        store.add(saved("a"), most=1000)
    assert names(store) == []


STEPS = ["take", "checksum", "sum", "manifest", "done", "drop", "restoring"]


@pytest.mark.parametrize("step", STEPS)
def test_kill_9_at_any_step(tmp_path: Path, step: str) -> None:
    """An entry that was complete is still there, another is not, and no file is left of it."""
    script = textwrap.dedent(
        """
        import os, signal, sys
        from pathlib import Path
        from llmsup.prompt_cache import saved as files, store as stores
        sys.path.insert(0, sys.argv[3])
        from test_store import put, saved

        def die(*_a, **_k):
            os.kill(os.getpid(), signal.SIGKILL)

        store, step = stores.Store(Path(sys.argv[1])), sys.argv[2]
        store.open()
        first = put(store, "a")
        if step == "take":
            files.hashlib.file_digest = die
        elif step == "checksum":
            files.os.fsync = die
        elif step in ("sum", "manifest"):
            whole = files.write_atomic
            last = {"sum": ".sum", "manifest": ".json"}[step]
            files.write_atomic = lambda path, data: die() if path.suffix == last else whole(path, data)
        elif step == "drop":
            put(store, "b")
            unlink = Path.unlink
            Path.unlink = lambda path, missing_ok=False: die() if path.suffix == ".sum" else unlink(path, missing_ok)
            store.drop("b" * 32)
        elif step == "restoring":
            store.lend(first, store.room_for_engine())
            die()
        put(store, "b")
        die()
        """
    )
    argv = [sys.executable, "-c", script, str(tmp_path / "cache"), step, str(Path(__file__).parent)]
    assert subprocess.run(argv, check=False, timeout=60).returncode == -signal.SIGKILL
    left = Store(tmp_path / "cache")
    assert left.open(), "the lock of a dead process is free"
    wanted = {"a", "b"} if step == "done" else {"a"}
    assert {each.id[0] for each in left.entries.values()} == wanted
    assert len(names(left)) == 3 * len(wanted)
    assert list((left.directory / "engines").iterdir()) == []
    room = left.room_for_engine()
    for each in left.of("m"):
        assert left.lend(each, room)
    left.close()
