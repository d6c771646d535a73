"""Files are written whole or not at all."""

from __future__ import annotations

import ast
import errno
import os
import stat
from pathlib import Path

import pytest

import llmsup
from llmsup.process.atomic import replacing, write_atomic


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_what_is_private_is_so_from_the_first_moment_on(tmp_path: Path) -> None:
    """The file, and the directory that is made for it, but not one that is there."""
    tmp_path.chmod(0o755)
    path = tmp_path / "state" / "keys.json"
    with replacing(path) as file:
        assert [mode(each) for each in path.parent.iterdir()] == [0o600]
        file.write(b"{}")
        assert not path.exists()
    assert (path.read_bytes(), mode(path), mode(path.parent), mode(tmp_path)) == (b"{}", 0o600, 0o700, 0o755)
    assert os.listdir(path.parent) == ["keys.json"]


def test_what_others_may_read_stays_as_they_may(tmp_path: Path) -> None:
    """The mode of the file that is replaced; a private one doesn't take it over."""
    path = tmp_path / "c.toml"
    write_atomic(path, b"old", private=False)
    path.chmod(0o640)
    write_atomic(path, b"new", private=False)
    assert (path.read_bytes(), mode(path)) == (b"new", 0o640)
    write_atomic(path, b"key")
    assert mode(path) == 0o600


def test_a_block_that_fails_leaves_what_was_there(tmp_path: Path) -> None:
    """And nothing beside it."""
    path = tmp_path / "a"
    path.write_bytes(b"old")

    def fail() -> None:
        with replacing(path) as file:
            file.write(b"half")
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert (path.read_bytes(), os.listdir(tmp_path)) == (b"old", ["a"])


def test_file_and_directory_are_on_the_disk_in_that_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A rename that is on the disk before what it names would be an empty file after a power cut."""
    done: list[str] = []
    fsync, rename = os.fsync, os.replace

    def sync(descriptor: int) -> None:
        state = os.fstat(descriptor)
        done.append("directory" if stat.S_ISDIR(state.st_mode) else f"{state.st_size} bytes")
        fsync(descriptor)

    def replace(source: Path, target: Path) -> None:
        done.append("rename")
        rename(source, target)

    monkeypatch.setattr(os, "fsync", sync)
    monkeypatch.setattr(os, "replace", replace)
    write_atomic(tmp_path / "a", b"12345")
    assert done == ["5 bytes", "rename", "directory"]


@pytest.mark.parametrize("links", [True, False])
def test_a_file_that_is_there_may_have_to_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, links: bool) -> None:
    """Where there are hard links, and where there are none."""

    def no_link(*_: object) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    if not links:
        monkeypatch.setattr(os, "link", no_link)
    path = tmp_path / "a"
    write_atomic(path, b"mine", replace=False)
    with pytest.raises(FileExistsError):
        write_atomic(path, b"yours", replace=False)
    assert (path.read_bytes(), os.listdir(tmp_path)) == (b"mine", ["a"])


def test_nobody_else_writes_files() -> None:
    """One place knows how: each other call that could write has a reason not to be it."""
    known = {
        "process/atomic.py": "here",
        "bridge/links.py": "replaces symbolic links",
        "bridge/lock.py": "is locked, not written",
        "prompt_cache/store.py": "is locked, not written",
        "downloads/fetch.py": "goes on with a part of a large file, which gets its name when it is whole",
        "history/file.py": "is SQLite's, which writes whole transactions",
    }
    package, found = Path(llmsup.__file__).parent, set()
    for path in package.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Attribute) and (
                node.attr in ("write_text", "write_bytes", "mkstemp", "NamedTemporaryFile", "O_CREAT")
                or ast.unparse(node) == "os.replace"
            ):
                found.add(str(path.relative_to(package)))
    assert found == set(known)
