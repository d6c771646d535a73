"""Which links there should be: what they are called, and which of Ollama's models get none."""

from __future__ import annotations

import json
import string
from pathlib import Path
from typing import Any

import ollama_store
import pytest
from gguf_files import tiny_llama, write_gguf
from hypothesis import given
from hypothesis import strategies as st

from llmsup.bridge.builtin import look
from llmsup.bridge.naming import folder_of, projector_of, weights_of
from llmsup.bridge.plan import Plan, plan
from llmsup.catalog.gguf.header_cache import HeaderCache
from llmsup.catalog.ollama.places import ManifestPath
from llmsup.catalog.ollama.store import read_store


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "ollama"


def planned(store: Path) -> Plan:
    return plan(*read_store(store), look(HeaderCache(store / "none.json")))


def gguf(store: Path, name: str, **more: Any) -> Path:
    return tiny_llama(store.parent / f"{name}.gguf", name=name, **more)


def projector(store: Path, name: str = "mmproj", **more: Any) -> Path:
    metadata = {"general.architecture": "clip", "clip.has_vision_encoder": True, "clip.projector_type": "mlp", **more}
    return write_gguf(store.parent / f"{name}.gguf", metadata, [("v.patch_embd.weight", (32, 32), "F16")])


def why_not(store: Path) -> str:
    """Why the one model of a store has no link."""
    result = planned(store)
    assert result.links == ()
    (skipped,) = result.skipped
    return skipped.reason


def test_all_of_a_name_is_in_the_links(store: Path) -> None:
    """Two tags, two namespaces, another registry with a port, a vision model: each has a folder of its own."""
    for name in ("llama3.1:8b", "llama3.1:8b-text", "x", "bob/x", "hf.co/org/x-GGUF:Q4_K_M", "reg.example:5000/a/b:c"):
        ollama_store.add(store, name, gguf(store, name.replace("/", "_")))
    ollama_store.add(store, "eye:4b", gguf(store, "eye"), projector=projector(store))
    result = planned(store)
    assert result.skipped == ()
    assert [link.path for link in result.links] == [
        "bob~x~latest/bob~x~latest.gguf",
        "eye~4b/eye~4b.gguf",
        "eye~4b/mmproj-eye~4b.gguf",
        "hf.co~org~x-GGUF~Q4_K_M/hf.co~org~x-GGUF~Q4_K_M.gguf",
        "llama3.1~8b-text/llama3.1~8b-text.gguf",
        "llama3.1~8b/llama3.1~8b.gguf",
        "reg.example+5000~a~b~c/reg.example+5000~a~b~c.gguf",
        "x~latest/x~latest.gguf",
    ]
    assert all(link.blob.parent == store / "blobs" for link in result.links)
    assert {link.model for link in result.links if "eye" in link.path} == {"eye:4b"}


_FIRST, _REST = string.ascii_letters + string.digits + "_", string.ascii_letters + string.digits + "_-"


def parts(rest: str) -> st.SearchStrategy[str]:
    return st.builds(str.__add__, st.sampled_from(_FIRST), st.text(rest, max_size=4))


PLACES = st.builds(
    ManifestPath,
    st.just(Path("x")),
    st.one_of(st.just("registry.ollama.ai"), parts(_REST + ".:")),
    st.one_of(st.just("library"), parts(_REST)),
    parts(_REST + "."),
    parts(_REST + "."),
)


@given(PLACES, PLACES)
def test_no_two_names_have_the_same_folder(one: ManifestPath, other: ManifestPath) -> None:
    """Whatever Ollama takes for a name: the folder tells it."""
    assert (folder_of(one.name) == folder_of(other.name)) == (one.name == other.name)
    for path in (weights_of(one.name), projector_of(one.name)):
        assert path.count("/") == 1
        assert not path.startswith(".")


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"not a model", "its weights: it is not a GGUF: it begins with b'not '"),
        (b"", "its weights: it is empty"),
        (b"GGUF\x03\0\0\0", "its weights: it ends within its start"),
    ],
)
def test_what_is_no_gguf(store: Path, content: bytes, why: str) -> None:
    ollama_store.add(store, "x", content)
    assert why_not(store) == why


def test_one_that_is_cut_short(store: Path) -> None:
    """A right magic and a whole header are not enough."""
    ollama_store.add(store, "x", gguf(store, "x"))
    (blob,) = (path for path in (store / "blobs").iterdir() if path.stat().st_size > 10_000)
    with blob.open("r+b") as file:
        file.truncate(blob.stat().st_size - 1)
    assert "it is cut short" in why_not(store)


@pytest.mark.parametrize("leftover", ["", "-partial", "-partial-0"])
def test_a_blob_that_is_not_there(store: Path, leftover: str) -> None:
    ollama_store.add(store, "x", gguf(store, "x"))
    (blob,) = (path for path in (store / "blobs").iterdir() if path.stat().st_size > 10_000)
    blob.rename(f"{blob}{leftover or '.away'}")
    what = "not wholly downloaded" if leftover else "missing"
    why = why_not(store)
    assert what in why
    assert "`ollama pull x:latest`" in why


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"{ not JSON", "it is not a manifest, or is damaged"),
        (b"{}", "it has no weights: a cloud model, or no language model"),
        (b'{"layers": null}', "it has no weights: a cloud model, or no language model"),
        (b'{"layers": [1]}', "it is not a manifest, or is damaged"),
        (
            json.dumps(
                {"layers": [{"mediaType": ollama_store.MEDIA + "model", "digest": "sha256:../../../etc/passwd"}]}
            ).encode(),
            "it is a damaged manifest: one of its digests is invalid",
        ),
    ],
)
def test_a_damaged_manifest(store: Path, content: bytes, why: str) -> None:
    """It is told with the name that it is about."""
    ollama_store.write_manifest(store, "bob/x:1b", content)
    result = planned(store)
    assert result.links == ()
    assert [(one.model, one.reason) for one in result.skipped] == [("registry.ollama.ai/bob/x/1b", why)]


def test_cloud_models_and_mlx(store: Path) -> None:
    ollama_store.add(store, "cloudy", gguf(store, "x"), config={"remote_host": "https://ollama.com"})
    tensors = [ollama_store.layer(store, "tensor", b"one tensor")]
    ollama_store.add(store, "mlx", config={"model_format": "safetensors"}, layers=tensors)
    assert [one.reason for one in planned(store).skipped] == [
        "a cloud model: its weights are not here",
        "its weights are for MLX, which llama.cpp can't run",
    ]


def test_what_a_link_would_lose(store: Path) -> None:
    """An adapter, a projector that is missing or none."""
    adapter = write_gguf(store.parent / "a.gguf", {"general.architecture": "llama", "general.type": "adapter"})
    ollama_store.add(store, "a:adapted", gguf(store, "a1"), adapters=[adapter])
    ollama_store.add(store, "b:blind", gguf(store, "b1"), projector=gguf(store, "no-projector"))
    ollama_store.add(store, "c:cut", gguf(store, "c1"), projector=b"GGUF")
    ollama_store.add(store, "d:gone", gguf(store, "d1"), projector=b"to be removed")
    for blob in (store / "blobs").iterdir():
        if blob.read_bytes()[:5] == b"to be":
            blob.unlink()
    result = planned(store)
    assert result.links == ()
    assert [one.reason for one in result.skipped] == [
        "it has a LoRA adapter, which a link to its weights would lose",
        "its projector is none",
        "its projector: it ends within its start",
        "its projector is missing: `ollama pull d:gone`",
    ]


def test_what_only_ollama_can_run(store: Path) -> None:
    """LM Studio would list it and fail."""
    ollama_store.add(store, "gpt-oss:20b", gguf(store, "gpt", **{"general.architecture": "gptoss"}))
    assert why_not(store).startswith("only Ollama's own llama.cpp can run it: 'gptoss'")
    assert planned(store).skipped[0].model == "gpt-oss:20b"


def test_weights_that_are_none(store: Path) -> None:
    ollama_store.add(store, "x", projector(store))
    assert "a projector" in why_not(store)


def test_names_that_differ_in_case_only(store: Path) -> None:
    """On a Mac they would be one file: the second is told."""
    for name in ("X:1b", "x:1b"):
        ollama_store.add(store, name, gguf(store, "x"))
    result = planned(store)
    assert [link.path for link in result.links] == ["X~1b/X~1b.gguf"]
    assert [one.model for one in result.skipped] == ["x:1b"]
    assert "X:1b" in result.skipped[0].reason


def test_what_is_gone(store: Path) -> None:
    """A manifest that can't be read is not one that is gone; if a folder can't be read, nothing is."""
    ollama_store.write_manifest(store, "bob/x:1b", b"half a mani")
    result = planned(store)
    assert not result.is_gone("bob/x:1b")
    assert result.is_gone("x:1b")
    assert result.is_gone("bob/x:2b")
    assert not Plan(blind=True).is_gone("x:1b")
