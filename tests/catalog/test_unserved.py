"""A request for a file that is there and isn't served: what it may be called, and that its 404 says why."""

from __future__ import annotations

import hashlib
import unicodedata
from pathlib import Path

import ollama_store
import pytest
from gguf_files import tiny_llama, write_gguf
from serving import serving

from llmsup.catalog.labels import unserved_names
from llmsup.config.schema import Bridge, Catalog, Config
from llmsup.units import NEVER


@pytest.mark.parametrize(
    ("relative", "name"),
    [
        ("x.gguf", "x.gguf"),
        ("p/m/x-Q4_K_M.gguf", "p/m/x-Q4_K_M.gguf"),
        ("p/m/x-Q4_K_M.gguf", "p/m"),
        ("p/m/x-Q4_K_M.gguf", "m"),
        ("p/m/downloading_x.gguf.part", "x.gguf"),
        ("p/m/downloading_x.gguf.part", "p/m/x.gguf"),
        ("p/m/Downloading_x.gguf", "x.gguf"),
        ("x.gguf.crdownload", "x.gguf"),
        ("x.gguf.tmp", "x.gguf"),
    ],
)
def test_what_it_may_be_asked_for_as(relative: str, name: str) -> None:
    """Its path, its name, its folder; an unfinished download is asked for as what it will be."""
    assert name in unserved_names(relative)


async def test_who_asks_for_one_that_is_not_served_hears_why(tmp_path: Path) -> None:
    """A pull that goes on, and a file that is no model, by the names that people know them by."""
    ollama_store.add(tmp_path / "store", "pulling", b"weights")
    (blob,) = (tmp_path / "store/blobs").glob(f"sha256-{hashlib.sha256(b'weights').hexdigest()}")
    blob.rename(blob.with_name(f"{blob.name}-partial"))
    write_gguf(tmp_path / "root/bob/lora/x.gguf", {"general.architecture": "llama", "general.type": "adapter"})
    (tmp_path / "root/bob/late").mkdir()
    (tmp_path / "root/bob/late/downloading_late-Q4_K_M.gguf.part").touch()
    catalog = Catalog(roots=(tmp_path / "root",), ollama=tmp_path / "store")
    async with serving(config=Config(catalog=catalog, bridge=Bridge(every=NEVER))) as served:
        for name, why in {
            "pulling": "`ollama pull pulling:latest`",
            "pulling:latest": "`ollama pull pulling:latest`",
            "bob/lora": "a LoRA adapter",
            "x.gguf": "a LoRA adapter",
            "bob/late": "an unfinished download",
            "late-Q4_K_M": "an unfinished download",
        }.items():
            got = await served.client.chat(name)
            assert (got.status, got.error["code"]) == (404, "model_not_found")
            assert why in got.error["message"], name


async def test_who_copies_a_name_from_somewhere_finds_the_model(tmp_path: Path) -> None:
    """A Mac's folder, a path, a file's name, the hub's cache and its pages: over the API, with nothing configured."""
    root = tmp_path / "root"
    umlaut = tiny_llama(root / "bob" / unicodedata.normalize("NFD", "Übung") / "x-Q4_K_M.gguf")
    blob = tiny_llama(root / "models--org--repo/blobs/abc.gguf").rename(root / "models--org--repo/blobs/abc")
    cached = root / "models--org--repo/snapshots/123/y-Q8_0.gguf"
    cached.parent.mkdir(parents=True)
    cached.symlink_to(blob)
    catalog = Catalog(roots=(root,), ollama=None)
    async with serving(config=Config(catalog=catalog, bridge=Bridge(every=NEVER))) as served:
        for id_, names in {
            "bob/Übung": ("Übung", unicodedata.normalize("NFD", "bob/übung"), "x-Q4_K_M.gguf", str(umlaut)),
            "org/repo": ("hf.co/org/repo:Q8_0", "y-Q8_0", str(cached), str(blob), str(cached.relative_to(root))),
        }.items():
            for name in names:
                got = await served.client.post("/models/unload", model=name)
                assert (got.status, got.json.get("model")) == (200, id_), name
