"""TOML for people, and files that are written whole or not at all."""

from __future__ import annotations

import errno
import os
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmsup.config.write import Table, comment, commented_out, document, write_whole
from llmsup.errors import SetupError

TEXT = st.text(st.characters(codec="utf-8"))
VALUES = st.recursive(
    st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=8,
)


@pytest.mark.slow
@given(st.dictionaries(TEXT, VALUES, max_size=5), TEXT, TEXT)
def test_what_is_written_is_read_back(values: dict[str, Any], name: str, said: str) -> None:
    """Whatever keys, values and comments hold; a long list or a table within changes nothing."""
    table = Table(("models", name), above=[said])
    for key, value in values.items():
        table.put(key, value, said)
    assert tomllib.loads(document([said], [table])) == {"models": {name: values}}
    assert tomllib.loads(commented_out(table.text())) == {}


def test_how_it_looks() -> None:
    """As a person would write it."""
    table = Table(("models", "a.b"), above=["The best one."])
    table.put("path", "/x/y.gguf")
    table.put("aliases", ["one", "two"], "Also called so.")
    table.put("env", {"A": "1", "b c": "2"})
    table.put("args", [f"--flag-number-{n}" for n in range(7)])
    assert document(["Made by hand."], [table, "# text\n"]) == (
        '# Made by hand.\n\n# The best one.\n[models."a.b"]\npath = "/x/y.gguf"\n# Also called so.\n'
        'aliases = ["one", "two"]\nenv = { A = "1", "b c" = "2" }\nargs = [\n'
        "    " + " ".join(f'"--flag-number-{n}",' for n in range(5)) + "\n"
        "    " + " ".join(f'"--flag-number-{n}",' for n in range(5, 7)) + "\n]\n\n# text\n"
    )


def test_comments_are_wrapped_and_can_not_break_out() -> None:
    """A line break or an escape in them stays in them; what is indented is kept as it is."""
    assert comment("a\nb\x1b[0m\r\n  as is" + " x" * 100) == ["# a", "# b [0m", "#   as is" + " x" * 100]
    assert max(map(len, comment("word " * 100))) <= 102
    assert comment("") == ["#"]


# --- files ------------------------------------------------------------------------------------------------


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_a_new_file_in_a_new_directory(tmp_path: Path) -> None:
    """Nothing else is left beside it."""
    path = tmp_path / "a" / "b" / "c.toml"
    write_whole(path, "x = 1\n", force=False)
    assert path.read_text() == "x = 1\n"
    assert os.listdir(path.parent) == ["c.toml"]
    write_whole(tmp_path / "keys.toml", "", force=False, private=True)
    assert mode(tmp_path / "keys.toml") == 0o600


def test_a_file_that_is_there_stays_without_force(tmp_path: Path) -> None:
    """So does a link that leads nowhere."""
    path, link = tmp_path / "c.toml", tmp_path / "link.toml"
    path.write_text("mine")
    link.symlink_to("nowhere")
    for each in (path, link):
        with pytest.raises(SetupError, match=r"exists.*--force"):
            write_whole(each, "yours", force=False)
    assert path.read_text() == "mine"
    assert sorted(os.listdir(tmp_path)) == ["c.toml", "link.toml"]


def test_a_race_overwrites_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another program creates the file after the check."""
    path = tmp_path / "c.toml"
    fsync = os.fsync

    def slow(descriptor: int) -> None:
        path.write_text("mine")
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", slow)
    with pytest.raises(SetupError, match="exists"):
        write_whole(path, "yours", force=False)
    assert path.read_text() == "mine"
    assert os.listdir(tmp_path) == ["c.toml"]


@pytest.mark.parametrize("there", [False, True])
def test_a_file_system_without_hard_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, there: bool) -> None:
    """The same promise, by other means."""
    path = tmp_path / "c.toml"

    def link(_source: Path, _target: Path) -> None:
        if there:
            path.write_text("mine")
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "link", link)
    if there:
        with pytest.raises(SetupError, match="exists"):
            write_whole(path, "yours", force=False)
    else:
        write_whole(path, "yours", force=False)
    assert path.read_text() == ("mine" if there else "yours")
    assert os.listdir(tmp_path) == ["c.toml"]


def test_force_replaces_a_file_but_not_the_link_to_it_nor_its_mode(tmp_path: Path) -> None:
    """Dotfiles are often links, and a file that was private stays so."""
    path, link = tmp_path / "real.toml", tmp_path / "link.toml"
    path.write_text("old")
    path.chmod(0o640)
    link.symlink_to(path)
    write_whole(link, "new", force=True)
    assert link.is_symlink()
    assert (path.read_text(), mode(path)) == ("new", 0o640)
    write_whole(path, "keys", force=True, private=True)
    assert mode(path) == 0o600
    assert sorted(os.listdir(tmp_path)) == ["link.toml", "real.toml"]


def test_no_room_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor anything half written."""
    path = tmp_path / "c.toml"
    path.write_text("mine")

    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(SetupError, match=r"No space left.*Make room"):
        write_whole(path, "yours", force=True)
    assert path.read_text() == "mine"
    assert os.listdir(tmp_path) == ["c.toml"]


def test_what_can_not_be_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each with what to do instead."""
    with pytest.raises(SetupError, match=r"is a directory.*llmsup\.toml"):
        write_whole(tmp_path, "", force=True)
    with pytest.raises(SetupError, match="not a plain file"):
        write_whole(Path(os.devnull), "", force=True)
    (tmp_path / "file").touch()
    with pytest.raises(SetupError, match="is a file, not a directory"):
        write_whole(tmp_path / "file" / "c.toml", "", force=False)

    def denied(*_: Any, **__: Any) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(os, "mkdir", denied)
    with pytest.raises(SetupError, match=r"Permission denied.*Check the directory's permissions"):
        write_whole(tmp_path / "new" / "c.toml", "", force=False)
