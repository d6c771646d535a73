"""Looking through folders: what is found there, by which way, and what is left out and why."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import ollama_store
import pytest

from llmsup.catalog.disk import walk as walking
from llmsup.catalog.disk.survey import Survey, survey
from llmsup.catalog.disk.walk import Scandir, Walk
from llmsup.config.schema import Catalog


def put(path: Path, content: bytes = b"GGUF") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def link(path: Path, target: Path | str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(target)
    return path


def walked(root: Path, scandir: Scandir = os.scandir) -> Walk:
    walk = Walk(root, scandir)
    walk.run()
    return walk


def found(root: Path) -> list[str]:
    return sorted(candidate.relative for candidate in walked(root).candidates)


def left_out(root: Path, scandir: Scandir = os.scandir) -> dict[str, str]:
    return {str(left.path.relative_to(root)): left.reason for left in walked(root, scandir).left_out.values()}


def surveyed(*roots: Path, ollama: Path | None = None, extra: tuple[Path, ...] = ()) -> Survey:
    return survey(Catalog(roots=roots, ollama=ollama), extra=extra)


@pytest.mark.parametrize(
    ("name", "is_found"),
    [
        ("x.gguf", True),
        ("p/m/x.GGUF", True),
        ("p/m/a b (1).gguf", True),
        ("p/m/Мышь 猫.gguf", True),
        ("p/m/x\n\x1b[31m.gguf", True),
        ("p/.git/x.gguf", False),
        ("p/m/.x.gguf", False),
        ("p/m/x.bin", False),
        ("p/m/gguf", False),
        ("1/2/3/4/5/6/7/8/x.gguf", True),
        ("1/2/3/4/5/6/7/8/9/x.gguf", False),
    ],
)
def test_what_is_found(tmp_path: Path, name: str, is_found: bool) -> None:
    """A GGUF is known by its suffix in any case; what is hidden is not for us, nor what lies too deep."""
    put(tmp_path / name)
    assert found(tmp_path) == ([name] if is_found else [])


def test_a_name_that_is_no_text(tmp_path: Path) -> None:
    """Bytes that are no UTF-8 are kept, so that the file can still be opened. macOS refuses to make one."""
    try:
        Path(os.fsdecode(bytes(tmp_path) + b"/\xff.gguf")).write_bytes(b"GGUF")
        expected = [b"\xff.gguf"]
    except OSError:
        expected = []
    assert [os.fsencode(name) for name in found(tmp_path)] == expected


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("x.gguf.part", "an unfinished download"),
        ("x.gguf.partial", "an unfinished download"),
        ("x.gguf.download", "an unfinished download"),
        ("x.gguf.crdownload", "an unfinished download"),
        ("x.GGUF.incomplete", "an unfinished download"),
        ("x.gguf.tmp", "an unfinished download"),
        ("downloading_x.gguf", "an unfinished download"),
        ("downloading_x.gguf.part", "an unfinished download"),
        ("x.imatrix", "an importance matrix"),
    ],
)
def test_what_its_name_gives_away(tmp_path: Path, name: str, reason: str) -> None:
    """Downloads that go on, and what only helped to make a model, are told by their names."""
    put(tmp_path / "p/m" / name)
    assert found(tmp_path) == []
    assert left_out(tmp_path) == {f"p/m/{name}": reason}


def test_aria2_keeps_a_file_beside_its_download(tmp_path: Path) -> None:
    """The download has its final name from the start; the other file goes when it is done."""
    put(tmp_path / "x.gguf")
    sidecar = put(tmp_path / "x.gguf.aria2")
    assert (found(tmp_path), left_out(tmp_path)) == ([], {"x.gguf": "an unfinished download"})
    sidecar.unlink()
    assert found(tmp_path) == ["x.gguf"]


def test_links_are_followed_and_what_they_lead_to_is_known(tmp_path: Path) -> None:
    """A link to a file and a link to a folder lead to real files, whatever these are called."""
    real = put(tmp_path / "elsewhere/blob")
    folder = put(tmp_path / "elsewhere/folder/y.gguf").parent
    root = tmp_path / "root"
    link(root / "p/m/x.gguf", real)
    link(root / "p/linked", folder)
    ways = {candidate.relative: candidate for candidate in walked(root).candidates}
    assert {way: candidate.stamp.path for way, candidate in ways.items()} == {
        "p/m/x.gguf": real.resolve(),
        "p/linked/y.gguf": (folder / "y.gguf").resolve(),
    }
    assert ways["p/linked/y.gguf"].path == root / "p/linked/y.gguf"
    assert all(candidate.linked for candidate in ways.values())


def test_loops_end_and_no_folder_is_looked_into_twice(tmp_path: Path) -> None:
    """What really lies in a folder is reached on its own way, not by a link, even if that is first by name."""
    root = tmp_path / "root"
    put(root / "p/m/x.gguf")
    link(root / "a", "p/m")
    link(root / "p/m/up", root)
    link(root / "p/self", "self")
    link(root / "outer", tmp_path)
    assert [(c.relative, c.linked) for c in walked(root).candidates] == [("p/m/x.gguf", False)]
    assert left_out(root) == {"p/self": "it can't be read: Too many levels of symbolic links"}


def test_what_leads_nowhere_is_told(tmp_path: Path) -> None:
    """A link to what is gone, a folder that goes while it is looked for, and what is no file."""
    link(tmp_path / "x.gguf", "nowhere")
    link(tmp_path / "folder", "nowhere")
    os.mkfifo(tmp_path / "pipe.gguf")
    (tmp_path / "going").mkdir()

    def removing(path: str) -> os._ScandirIterator[str]:
        if path.endswith("going"):
            os.rmdir(path)
        return os.scandir(path)

    assert left_out(tmp_path, removing) == {
        "x.gguf": "a dangling link",
        "folder": "a dangling link",
        "pipe.gguf": "it is not a regular file",
        "going": "it can't be listed: No such file or directory",
    }


def test_a_folder_that_may_not_be_read_is_told_and_its_neighbours_are_found(tmp_path: Path) -> None:
    """The refusal is the system's own, for the one folder."""
    put(tmp_path / "a/secret/x.gguf")
    put(tmp_path / "b/m/x.gguf")

    def refusing(path: str) -> os._ScandirIterator[str]:
        if path.endswith("secret"):
            raise PermissionError(13, "Permission denied", path)
        return os.scandir(path)

    walk = walked(tmp_path, refusing)
    assert [candidate.relative for candidate in walk.candidates] == ["b/m/x.gguf"]
    (left,) = walk.left_out.values()
    assert "Permission denied" in left.reason


def test_an_entry_that_goes_after_it_was_listed(tmp_path: Path) -> None:
    """It isn't taken for a link that leads nowhere."""
    put(tmp_path / "x.gguf")
    put(tmp_path / "y.gguf")

    @contextmanager
    def stale(path: str) -> Iterator[list[os.DirEntry[str]]]:
        with os.scandir(path) as listing:
            entries = list(listing)
        (tmp_path / "x.gguf").unlink()
        yield entries

    assert left_out(tmp_path, stale) == {"x.gguf": "it can't be read: No such file or directory"}


def test_too_many_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A walk has an end even where a link leads out into a whole disk."""
    monkeypatch.setattr(walking, "MOST_FOLDERS", 3)
    for name in "abcde":
        put(tmp_path / name / "x.gguf")
    assert found(tmp_path) == ["a/x.gguf", "b/x.gguf"]
    assert list(left_out(tmp_path)) == ["c"]


def test_roots_that_are_not_folders(tmp_path: Path) -> None:
    """A missing root is as good as empty; a file, or a dangling link, is a mistake of the user's."""
    assert surveyed(tmp_path / "missing") == Survey(roots=(tmp_path / "missing",))
    file, gone = put(tmp_path / "file"), link(tmp_path / "link", "nowhere")
    reasons = {left.path: left.reason for left in surveyed(file, gone).left_out}
    assert reasons == {
        file: "it can't be listed: Not a directory",
        gone: "it can't be listed: No such file or directory",
    }


def test_the_order_of_a_listing_does_not_matter(tmp_path: Path) -> None:
    """The same candidates in the same order, whatever the file system does."""
    for name in ("b/m/x.gguf", "a/m/y.gguf", "a/m/x.gguf"):
        put(tmp_path / name)
    link(tmp_path / "b/link", "../a/m")
    link(tmp_path / "a/link", "../../elsewhere")
    put(tmp_path / "elsewhere/z.gguf")

    @contextmanager
    def backwards(path: str) -> Iterator[list[os.DirEntry[str]]]:
        with os.scandir(path) as listing:
            yield sorted(listing, key=lambda entry: entry.name, reverse=True)

    assert walked(tmp_path, backwards).candidates == walked(tmp_path).candidates


def test_two_roots_that_are_one(tmp_path: Path) -> None:
    """Both ways are seen, to one and the same file; what is left out is told once, on the first way."""
    put(tmp_path / "new/p/m/x.gguf")
    put(tmp_path / "new/p/m/y.gguf.part")
    link(tmp_path / "old", "new")
    seen = surveyed(tmp_path / "new", tmp_path / "old", tmp_path / "new")
    assert [candidate.path for candidate in seen.candidates] == [
        tmp_path / "new/p/m/x.gguf",
        tmp_path / "old/p/m/x.gguf",
    ]
    assert [stamp.path for stamp in seen.stamps] == [(tmp_path / "new/p/m/x.gguf").resolve()]
    assert [left.path for left in seen.left_out] == [tmp_path / "new/p/m/y.gguf.part"]


def test_ollamas_store(tmp_path: Path) -> None:
    """Its models come with their real files; without a setting it is not searched."""
    store = tmp_path / "store"
    ollama_store.add(store, "x:1b", b"GGUF weights", projector=b"GGUF projector", adapters=[b"GGUF adapter"])
    link(tmp_path / "link", store)
    seen = surveyed(ollama=tmp_path / "link")
    (stored,) = seen.ollama
    assert stored.model.name == "x:1b"
    assert stored.blob.path.read_bytes() == b"GGUF weights"
    assert [stamp.path.read_bytes() for stamp in seen.stamps] == [b"GGUF weights", b"GGUF projector"]
    assert [stamp.path.read_bytes() for stamp in stored.adapters] == [b"GGUF adapter"]
    assert seen.store == store.resolve()
    assert surveyed().ollama == ()


def test_files_from_outside(tmp_path: Path) -> None:
    """One that was asked for comes with its parts and its projector, not with its neighbours."""
    for name in (
        "a-00001-of-00002.gguf",
        "a-00002-of-00002.gguf",
        "b-Q4_K_M.gguf",
        "mmproj-a-F16.gguf",
        "mmproj-b-F16.gguf",
        "other.gguf",
    ):
        put(tmp_path / "out" / name)
    inside = put(tmp_path / "in/p/m/x.gguf")
    asked = (
        tmp_path / "out/a-00001-of-00002.gguf",
        tmp_path / "out/b-Q4_K_M.gguf",
        inside,
        link(tmp_path / "to-x.gguf", inside),
        tmp_path / "missing.gguf",
        tmp_path,
    )
    seen = surveyed(tmp_path / "in", extra=asked)
    assert [[candidate.name for candidate in group] for group in seen.extra] == [
        ["a-00001-of-00002.gguf", "a-00002-of-00002.gguf", "mmproj-a-F16.gguf"],
        ["b-Q4_K_M.gguf", "mmproj-b-F16.gguf"],
    ]
    assert len(seen.stamps) == 6
