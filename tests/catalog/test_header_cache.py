"""The headers' cache: read once, kept, and never in the way."""

from __future__ import annotations

import errno
import os
import stat
import sys
from pathlib import Path

import pytest
from gguf_files import tiny_llama, write_gguf
from gguf_zoo import ZOO

from llmsup.catalog.found import Stamp, Unreadable
from llmsup.catalog.gguf import header_cache as headers
from llmsup.catalog.gguf.facts import Facts
from llmsup.catalog.gguf.header_cache import FORMAT, HeaderCache
from llmsup.catalog.gguf.reader import read_header


def stamp(path: Path) -> Stamp:
    status = path.stat()
    return Stamp(path.resolve(), status.st_size, status.st_mtime_ns)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "state" / "headers.json"


def filled(file: Path, *stamps: Stamp) -> HeaderCache:
    cache = HeaderCache(file)
    for each in stamps:
        cache.read(each)
    assert cache.save(stamps) is None
    return cache


def loaded(file: Path) -> HeaderCache:
    cache = HeaderCache(file)
    cache.load()
    return cache


def test_what_was_read_is_known_in_the_next_run(tmp_path: Path, file: Path) -> None:
    """All of it, for every sort of model, and of bad files the reason."""
    bad = tmp_path / "bad.gguf"
    bad.write_bytes(b"junk")
    stamps = [stamp(bad), *(stamp(one.write(tmp_path / f"{name}.gguf")) for name, one in ZOO.items())]
    first = filled(file, *stamps)
    second = loaded(file)
    assert second.get(stamps[0]) == Unreadable("it is not a GGUF: it begins with b'junk'")
    for each in stamps:
        assert second.get(each) is not None
        assert second.get(each) == first.get(each)


def test_a_file_that_changed_is_not_known(tmp_path: Path, file: Path) -> None:
    """By its time or by its size."""
    model = tiny_llama(tmp_path / "m.gguf")
    before = stamp(model)
    cache = filled(file, before)
    os.utime(model, ns=(1, before.mtime_ns + 1))
    assert cache.get(before) is not None
    assert cache.get(stamp(model)) is None
    assert cache.get(Stamp(before.path, before.size + 1, before.mtime_ns)) is None


def test_a_file_that_changes_under_the_reader_is_not_remembered(tmp_path: Path, file: Path) -> None:
    """What was read may belong to the one state or to the other."""
    model = tiny_llama(tmp_path / "m.gguf")
    old = stamp(model)
    os.utime(model, ns=(1, 1))
    cache = HeaderCache(file)
    assert isinstance(cache.read(old), Facts)
    assert cache.get(old) is None


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"\xff\xfe", b"null", b'{"format": %d}' % FORMAT, b'{"format": 0, "files": []}', b"[" * 100_000,
     b'{"format": %d, "files": ' % FORMAT + b"[" * 100_000, b'{"format": %d, "files": [{"path": 7}]}' % FORMAT,
     b'{"format": %d, "files": [{"path": "x", "size": 1, "mtime_ns": 1, "facts": {"role": "king"}}]}' % FORMAT],
)  # fmt: skip
def test_a_damaged_cache_is_an_empty_one(tmp_path: Path, file: Path, content: bytes) -> None:
    """It is replaced by the next that is saved."""
    model = stamp(tiny_llama(tmp_path / "m.gguf"))
    file.parent.mkdir()
    file.write_bytes(content)
    cache = HeaderCache(file)
    other = content.startswith(b'{"format": 0')
    assert cache.load() == (None if other else f"{file} is damaged; the models' files are read again.")
    assert cache.get(model) is None
    cache.read(model)
    assert cache.save([model]) is None
    assert isinstance(loaded(file).get(model), Facts)


def test_another_versions_cache_is_an_empty_one(tmp_path: Path, file: Path) -> None:
    """Even if it could be read."""
    model = stamp(tiny_llama(tmp_path / "m.gguf"))
    filled(file, model)
    file.write_bytes(file.read_bytes().replace(f'"format":{FORMAT}'.encode(), b'"format":0', 1))
    assert loaded(file).get(model) is None


def test_a_missing_cache_or_a_directory_in_its_place_is_an_empty_one(tmp_path: Path, file: Path) -> None:
    """And neither is an error."""
    assert loaded(file).get(Stamp(tmp_path, 0, 0)) is None
    file.mkdir(parents=True)
    assert loaded(file).get(Stamp(tmp_path, 0, 0)) is None


def test_it_is_written_only_if_something_changed(tmp_path: Path, file: Path) -> None:
    """Told by the file's inode: it is replaced as a whole."""
    first, second = (stamp(tiny_llama(tmp_path / name)) for name in ("a.gguf", "b.gguf"))
    filled(file, first)
    inode = file.stat().st_ino
    cache = loaded(file)
    assert cache.save([first]) is None
    assert cache.save([first, second]) is None  # nobody has read the second one
    assert file.stat().st_ino == inode
    cache.read(second)
    assert cache.save([first, second]) is None
    assert file.stat().st_ino != inode
    assert isinstance(loaded(file).get(second), Facts)


def test_files_that_are_gone_are_forgotten(tmp_path: Path, file: Path) -> None:
    """Else the cache would grow with each download."""
    first, second = (stamp(tiny_llama(tmp_path / name)) for name in ("a.gguf", "b.gguf"))
    cache = filled(file, first, second)
    assert cache.save([second]) is None
    for each in (cache, loaded(file)):
        assert each.get(first) is None
        assert each.get(second) is not None


def test_only_the_owner_may_read_it_and_nothing_else_is_left(tmp_path: Path, file: Path) -> None:
    """It names files in a user's home."""
    filled(file, stamp(tiny_llama(tmp_path / "m.gguf")))
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert os.listdir(file.parent) == [file.name]


def test_a_full_disk_leaves_the_old_one(tmp_path: Path, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The reason comes back, the half-written file goes, and the next time may be better."""
    first, second = (stamp(tiny_llama(tmp_path / name)) for name in ("a.gguf", "b.gguf"))
    cache = filled(file, first)
    cache.read(second)

    def full(source: object, target: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", full)
        said = cache.save([first, second])
    assert said is not None
    assert f"{file}: No space left on device" in said
    assert os.listdir(file.parent) == [file.name]
    assert loaded(file).get(second) is None
    assert cache.save([first, second]) is None
    assert loaded(file).get(second) is not None


def test_a_state_directory_that_is_none(tmp_path: Path) -> None:
    """A reason, and no exception."""
    (tmp_path / "state").write_bytes(b"")
    cache = HeaderCache(tmp_path / "state" / "headers.json")
    cache.load()
    model = stamp(tiny_llama(tmp_path / "m.gguf"))
    cache.read(model)
    said = cache.save([model])
    assert said is not None
    assert said.startswith("what the models' headers say can't be kept in ")


def test_what_the_system_refuses_is_tried_again(tmp_path: Path, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A permission is given without a change of the file."""
    model = stamp(tiny_llama(tmp_path / "m.gguf"))

    def refuse(*args: object, **kwargs: object) -> int:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    cache = HeaderCache(file)
    with monkeypatch.context() as patch:
        patch.setattr(os, "open", refuse)
        assert cache.read(model) == Unreadable("it can't be read: Permission denied")
    assert cache.get(model) is None
    assert isinstance(cache.read(model), Facts)


def test_a_file_that_vanished(tmp_path: Path, file: Path) -> None:
    """Between the look at the folder and the reading."""
    cache = HeaderCache(file)
    assert cache.read(Stamp(tmp_path / "gone.gguf", 1, 1)) == Unreadable("it can't be read: No such file or directory")


def test_the_other_byte_order_is_refused(tmp_path: Path, file: Path) -> None:
    """llama.cpp reads only its own machine's."""
    other = "big" if sys.byteorder == "little" else "little"
    model = write_gguf(tmp_path / "m.gguf", {"general.architecture": "llama"}, big_endian=other == "big")
    said = HeaderCache(file).read(stamp(model))
    assert said == Unreadable(f"its numbers are {other}-endian, which llama.cpp can't read on this machine")


def test_a_name_that_is_no_text_is_known_but_not_saved(
    tmp_path: Path, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """JSON can't say it; the others are saved all the same. Not every system can have such a file: it is made up."""
    fine = stamp(tiny_llama(tmp_path / "m.gguf"))
    odd = Stamp(Path("\udcff.gguf"), fine.size, fine.mtime_ns)
    cache = filled(file, fine)
    with monkeypatch.context() as patch:
        patch.setattr(headers, "read_header", lambda path: read_header(fine.path))
        patch.setattr(Path, "stat", lambda path: os.stat(fine.path))
        assert isinstance(cache.read(odd), Facts)
    assert cache.save([odd, fine]) is None
    assert isinstance(cache.get(odd), Facts)
    assert loaded(file).get(odd) is None
    assert isinstance(loaded(file).get(fine), Facts)
