"""Hugging Face's cache as a root: `models--org--repo/snapshots/REVISION/...`, links into `blobs`."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from catalog_disk import MODEL, PROJECTOR, Disk, part

from llmsup.catalog.gguf.facts import Facts
from llmsup.catalog.resolver import Called, Names

REPO = "root/models--bob--Qwen3-4B-GGUF"
OLD, NEW = "0a" * 20, "1b" * 20


@pytest.fixture
def disk(tmp_path: Path) -> Disk:
    return Disk(tmp_path)


def put(disk: Disk, file: str, *, repo: str = REPO, revision: str = NEW, age: int = 0, header: Facts = MODEL) -> Path:
    """Download a file, so many seconds ago."""
    blob = disk.put(f"{repo}/blobs/{revision[:4]}{file.encode().hex()}", header)
    os.utime(blob, (1_000_000 - age, 1_000_000 - age))
    return disk.link(f"{repo}/snapshots/{revision}/{file}", blob)


def test_a_repository_is_called_as_the_hub_calls_it(disk: Disk) -> None:
    """It is found by whatever names it there, on the disk, and in llama.cpp's or Ollama's words."""
    path = put(disk, "Qwen3-4B-Q4_K_M.gguf")
    (found,) = disk.models().values()
    assert (found.id, found.path) == ("bob/Qwen3-4B-GGUF", path)
    names = Names({found.id: Called(also=dict.fromkeys(found.names, ""), paths=found.paths)})
    for name in (
        "bob/Qwen3-4B-GGUF:Q4_K_M",
        "hf.co/bob/Qwen3-4B-GGUF",
        "hf.co/bob/Qwen3-4B-GGUF:Q4_K_M",
        "https://huggingface.co/bob/Qwen3-4B-GGUF/blob/main/Qwen3-4B-Q4_K_M.gguf",
        "bob/Qwen3-4B-GGUF/Qwen3-4B-Q4_K_M.gguf",
        "Qwen3-4B-Q4_K_M.gguf",
        "Qwen3-4B",
        f"models--bob--Qwen3-4B-GGUF/snapshots/{NEW}/Qwen3-4B-Q4_K_M.gguf",
        str(path),
        str(path.resolve()),
        path.resolve().name,
    ):
        assert names.resolve(name).id == found.id
    assert not [name for name in found.names if "snapshots" in name]


@pytest.mark.parametrize("root", [".", "root", REPO, f"{REPO}/snapshots", f"{REPO}/snapshots/{NEW}"])
def test_wherever_the_root_is(disk: Disk, root: str) -> None:
    """The cache, a folder above it, one repository, one revision."""
    disk.roots = (root,)
    put(disk, "a-Q4_K_M.gguf")
    put(disk, "Q8_0/a-Q8_0-00001-of-00001.gguf")
    assert set(disk.models()) == {"bob/Qwen3-4B-GGUF", "bob/Qwen3-4B-GGUF/Q8_0"}


def test_revisions_are_one_folder(disk: Disk) -> None:
    """Each has what was downloaded at it; of a file that several have, the last download is served."""
    put(disk, "a-Q4_K_M.gguf", revision=OLD, age=100)
    put(disk, "a-Q8_0.gguf", revision=OLD, age=100)
    newer = put(disk, "a-Q8_0.gguf", revision=NEW)
    models = disk.models()
    assert list(models) == ["bob/Qwen3-4B-GGUF@Q4_K_M", "bob/Qwen3-4B-GGUF@Q8_0"]
    assert models["bob/Qwen3-4B-GGUF@Q8_0"].path == newer
    assert disk.left_out() == {
        f"{REPO}/snapshots/{OLD}/a-Q8_0.gguf": ("another revision of it is served: the one that was downloaded last")
    }


def test_a_file_that_revisions_share(disk: Disk) -> None:
    """It is one model, and nothing is left out."""
    put(disk, "a.gguf", revision=NEW)
    projector = put(disk, "mmproj-F16.gguf", revision=NEW, header=PROJECTOR)
    for file in ("a.gguf", "mmproj-F16.gguf"):
        disk.link(f"{REPO}/snapshots/{OLD}/{file}", (disk.base / REPO / "snapshots" / NEW / file).resolve())
    (found,) = disk.models().values()
    assert (found.id, disk.left_out()) == ("bob/Qwen3-4B-GGUF", {})
    assert found.projector is not None
    assert found.projector.resolve() == projector.resolve()


def test_a_projector_of_another_revision(disk: Disk) -> None:
    """It was downloaded on another day, and goes with the model all the same."""
    put(disk, "a.gguf", revision=OLD)
    projector = put(disk, "mmproj-F16.gguf", revision=NEW, header=PROJECTOR)
    (found,) = disk.models().values()
    assert found.projector == projector


def test_parts_of_two_revisions_are_not_mixed(disk: Disk) -> None:
    """llama.cpp looks for the others beside the first; the revision that is whole is served."""
    for number in (1, 2):
        put(disk, f"a-0000{number}-of-00002.gguf", revision=OLD, age=100, header=part(number, 2))
    put(disk, "a-00001-of-00002.gguf", revision=NEW, header=part(1, 2))
    (found,) = disk.models().values()
    assert (found.path.parent.name, found.problem) == (OLD, "")


def test_a_repository_without_an_owner(disk: Disk) -> None:
    """As the oldest ones are; `--` in what follows is part of a name."""
    put(disk, "a.gguf", repo="root/models--gpt2")
    assert list(disk.models()) == ["gpt2/a"]


def test_an_unfinished_download_has_its_reason(disk: Disk) -> None:
    """Its link is made when it is done."""
    disk.put(f"{REPO}/blobs/abc.incomplete")
    assert list(disk.left_out().values()) == ["an unfinished download"]
