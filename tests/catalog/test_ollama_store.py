"""Ollama's store: which models it has, what they are called and made of, and that nothing in it can do harm."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import ollama_store
import pytest
from gguf_files import tiny_llama
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llmsup.catalog.found import LeftOut
from llmsup.catalog.ollama import places as ollama_places
from llmsup.catalog.ollama.params import IGNORED, LARGEST_CONTEXT, params
from llmsup.catalog.ollama.store import OllamaModel, read_store, store

GGUF = b"GGUF and so on"


def only(root: Path) -> OllamaModel:
    """The one model of a store that leaves nothing out."""
    (model,), left_out = read_store(root)
    assert left_out == []
    return model


def reason(root: Path) -> str:
    """Why the one manifest of a store gives no model."""
    models, (left,) = read_store(root)
    assert models == []
    return left.reason


# names


@pytest.mark.parametrize(
    ("added", "name", "aliases"),
    [
        ("llama3.1:8b", "llama3.1:8b", {"library/llama3.1:8b", "registry.ollama.ai/library/llama3.1:8b"}),
        ("qwen3", "qwen3:latest", {"qwen3", "library/qwen3", "library/qwen3:latest", "registry.ollama.ai/library/qwen3",
                                   "registry.ollama.ai/library/qwen3:latest"}),
        ("bob/x", "bob/x:latest", {"bob/x", "registry.ollama.ai/bob/x", "registry.ollama.ai/bob/x:latest"}),
        ("hf.co/bartowski/Llama-3.2-1B-GGUF:Q4_K_M", "hf.co/bartowski/Llama-3.2-1B-GGUF:Q4_K_M", set()),
        ("hf.co/org/repo", "hf.co/org/repo:latest", {"hf.co/org/repo"}),
        ("models.example:5000/team/m:v1.2", "models.example:5000/team/m:v1.2", set()),
    ],
)  # fmt: skip
def test_names(tmp_path: Path, added: str, name: str, aliases: set[str]) -> None:
    """A model is called as `ollama list` calls it, with the tag; its other spellings are its aliases."""
    ollama_store.add(tmp_path, added, GGUF)
    model = only(tmp_path)
    assert model.name == name
    assert set(model.aliases) == aliases
    assert len(model.aliases) == len(aliases)


def test_many_names(tmp_path: Path) -> None:
    """Tags, namespaces and hosts of the same model's name are models of their own, by name; two tags share a blob."""
    names = ["hf.co/org/x:8b", "bob/x:8b", "x:8b", "x:8b-q4_K_M", "x:70b"]
    for name in names:
        ollama_store.add(tmp_path, name, b"GGUF 70b" if "70b" in name else GGUF)
    models, left_out = read_store(tmp_path)
    assert [model.name for model in models] == sorted(names)
    assert left_out == []
    assert len({model.blob for model in models}) == 2


def test_the_newer_folder(tmp_path: Path) -> None:
    """Newer versions link manifests-v2/ollama.com/... to blobs; a name that is in both folders is read from there."""
    old = ollama_store.add(tmp_path, "x", b"GGUF old")
    ollama_store.add(tmp_path, "y", GGUF)
    new = ollama_store.manifest(tmp_path, b"GGUF new")
    blob = ollama_store.blob(tmp_path, ollama_store.layer(tmp_path, "", json.dumps(new).encode())["digest"])
    link = tmp_path / "manifests-v2/ollama.com/library/x/latest"
    link.parent.mkdir(parents=True)
    link.symlink_to(os.path.relpath(blob, link.parent))
    models, left_out = read_store(tmp_path)
    assert [(model.name, model.blob.read_bytes()) for model in models] == [
        ("x:latest", b"GGUF new"),
        ("y:latest", GGUF),
    ]
    assert left_out == []
    assert old.exists()


def test_what_is_no_name(tmp_path: Path) -> None:
    """A file that can't be a model's is told; hidden ones, files and folders of another depth are passed over."""
    ollama_store.add(tmp_path, "x", GGUF)
    library = tmp_path / "manifests/registry.ollama.ai/library"
    (library / "x" / ".DS_Store").touch()
    (library / "x" / ".manifest-123").touch()
    (library / "stray").touch()
    (library / "empty").mkdir()
    bad = library / "x" / "a b\x1b[31m"
    bad.write_bytes(b"{}")
    models, left_out = read_store(tmp_path)
    assert [model.name for model in models] == ["x:latest"]
    assert left_out == [LeftOut(bad, "its path is no name of an Ollama model")]


# what a model is made of


def test_its_files(tmp_path: Path) -> None:
    """The weights, the projector and the adapters of a model, and what the config says of it."""
    gguf = tiny_llama(tmp_path / "x.gguf")
    root = tmp_path / "store"
    ollama_store.add(root, "llava", gguf, projector=b"GGUF projector", adapters=[b"GGUF a", b"GGUF b"])
    model = only(root)
    assert os.path.samefile(model.blob, gguf)
    assert [path.read_bytes() for path in model.projectors] == [b"GGUF projector"]
    assert [path.read_bytes() for path in model.adapters] == [b"GGUF a", b"GGUF b"]
    assert model.problem == ""
    assert (model.sampling, model.ctx_size) == ({}, 0)


def test_a_linked_store(tmp_path: Path) -> None:
    """The store, and a blob in it, may be links to another disk."""
    root = tmp_path / "disk"
    ollama_store.add(root, "x", GGUF)
    blob = only(root).blob
    blob.rename(tmp_path / "elsewhere")
    blob.symlink_to(tmp_path / "elsewhere")
    (tmp_path / "store").symlink_to(root)
    assert only(tmp_path / "store").blob.read_bytes() == GGUF


def test_digest_with_a_dash(tmp_path: Path) -> None:
    """Old manifests write `sha256-...`."""
    manifest = ollama_store.manifest(tmp_path, GGUF)
    manifest["layers"][0]["digest"] = manifest["layers"][0]["digest"].replace(":", "-")
    ollama_store.write_manifest(tmp_path, "x", manifest)
    assert only(tmp_path).blob.read_bytes() == GGUF


def test_several_weights(tmp_path: Path) -> None:
    """Of several layers with weights Ollama runs the last."""
    last = ollama_store.layer(tmp_path, "model", b"GGUF last")
    ollama_store.add(tmp_path, "x", GGUF, layers=[last])
    assert only(tmp_path).blob.read_bytes() == b"GGUF last"


def test_what_does_not_matter(tmp_path: Path) -> None:
    """Templates, licences and kinds of layers to come are no reason to leave a model out; nor is a lost config."""
    more = [ollama_store.layer(tmp_path, kind, kind.encode()) for kind in ("template", "license", "system", "news")]
    manifest = ollama_store.manifest(tmp_path, GGUF, layers=more)
    ollama_store.blob(tmp_path, manifest["config"]["digest"]).unlink()
    ollama_store.write_manifest(tmp_path, "x", {**manifest, "added": {"later": [1]}})
    assert only(tmp_path).blob.read_bytes() == GGUF


@pytest.mark.parametrize("as_blobs", [False, True])
def test_a_list_of_manifests(tmp_path: Path, as_blobs: bool) -> None:
    """Of a list with one for each runner, llama.cpp's is taken; it may stand in the list or in a blob."""
    children = []
    for runner, weights in (("mlx", None), ("ollama", b"GGUF o"), ("llamacpp", b"GGUF l")):
        tensors = [ollama_store.layer(tmp_path, "tensor", b"t")] if weights is None else []
        child = ollama_store.manifest(tmp_path, weights, layers=tensors)
        if as_blobs:
            child = {"digest": ollama_store.layer(tmp_path, "", json.dumps(child).encode())["digest"]}
        children.append({**child, "mediaType": ollama_store.MANIFEST, "runner": runner})
    ollama_store.write_manifest(tmp_path, "x", {"mediaType": ollama_store.LIST, "manifests": children})
    assert only(tmp_path).blob.read_bytes() == b"GGUF l"
    ollama_store.write_manifest(tmp_path, "x", {"mediaType": ollama_store.LIST, "manifests": children[:2]})
    assert only(tmp_path).blob.read_bytes() == b"GGUF o"
    ollama_store.write_manifest(tmp_path, "x", {"mediaType": ollama_store.LIST, "manifests": children[:1]})
    assert "mlx" in reason(tmp_path)


# what gives no model


def test_no_store(tmp_path: Path) -> None:
    """A store that isn't there, or is empty, or a file, has nothing."""
    (tmp_path / "manifests").mkdir()
    (tmp_path / "file").touch()
    for root in (tmp_path / "none", tmp_path, tmp_path / "file"):
        assert read_store(root) == ([], [])


def test_cloud_models(tmp_path: Path) -> None:
    """A model that runs elsewhere has a manifest without weights."""
    elsewhere = {"remote_host": "https://ollama.com:443", "remote_model": "gpt-oss:120b"}
    path = ollama_store.add(tmp_path, "gpt-oss:120b-cloud", config=elsewhere)
    models, (left,) = read_store(tmp_path)
    assert (models, left.path) == ([], path)
    assert "cloud model" in left.reason
    ollama_store.write_manifest(tmp_path, "gpt-oss:120b-cloud", {"config": None, "layers": None})
    assert "no weights" in reason(tmp_path)


def test_mlx_models(tmp_path: Path) -> None:
    """Weights as safetensors, a layer for each tensor, are MLX's."""
    tensors = [ollama_store.layer(tmp_path, "tensor", bytes([i])) for i in range(3)]
    ollama_store.add(tmp_path, "x:mlx", config={"model_format": "safetensors"}, layers=tensors)
    assert "MLX" in reason(tmp_path)


def test_other_formats(tmp_path: Path) -> None:
    """What the config calls something else than a GGUF isn't opened, and what it is called can do no harm."""
    ollama_store.add(tmp_path, "x", GGUF, config={"model_format": "safe\x1b[2Jtensors" + "!" * 999})
    said = reason(tmp_path)
    assert said.startswith("its weights are in the format 'safe?[2Jtensors!!!")
    assert len(said) < 150


@pytest.mark.parametrize(
    ("left", "what"),
    [
        ("", "missing"),
        ("-partial", "not wholly downloaded"),
        ("-partial-0", "not wholly downloaded"),
    ],
)
def test_weights_that_are_not_there(tmp_path: Path, left: str, what: str) -> None:
    """A blob that was deleted, or is still being downloaded."""
    ollama_store.add(tmp_path, "bob/x:8b", GGUF)
    blob = only(tmp_path).blob
    if left:
        blob.rename(blob.with_name(blob.name + left))
    else:
        blob.unlink()
    why = reason(tmp_path)
    assert what in why
    assert "`ollama pull bob/x:8b`" in why


@pytest.mark.parametrize("kind", ["projector", "adapter"])
def test_a_lost_projector(tmp_path: Path, kind: str) -> None:
    """Without its projector or its adapter a model is there, but can't be run."""
    ollama_store.add(tmp_path, "x", GGUF, layers=[ollama_store.layer(tmp_path, kind, b"GGUF more")])
    model = only(tmp_path)
    (model.projectors or model.adapters)[0].unlink()
    problem = only(tmp_path).problem
    assert f"{kind} is missing" in problem
    assert "`ollama pull x:latest`" in problem


def test_a_folder_as_a_blob(tmp_path: Path) -> None:
    """Weights that are no file, or a link in a circle."""
    ollama_store.add(tmp_path, "x", GGUF)
    blob = only(tmp_path).blob
    blob.unlink()
    blob.mkdir()
    assert "regular file" in reason(tmp_path)
    blob.rmdir()
    blob.symlink_to(blob.name)
    assert "out of reach" in reason(tmp_path)


# hostile manifests


@pytest.mark.parametrize(
    "digest",
    ["../../../../etc/passwd", "sha256:../../etc/passwd", "sha256-" + "a" * 63, "sha256:" + "a" * 64 + "\n",
     "sha256:" + "g" * 64, "md5:" + "a" * 64, "", "sha256:" + "a" * 63 + "/"],
)  # fmt: skip
def test_digests_that_are_paths(tmp_path: Path, digest: str) -> None:
    """Only a digest becomes a path, whichever layer it stands in."""
    for kind in ("model", "projector", "adapter", "params"):
        bad = {"mediaType": ollama_store.MEDIA + kind, "digest": digest}
        ollama_store.add(tmp_path, "x", GGUF, layers=[bad])
        assert "digests is invalid" in reason(tmp_path)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0" * 100,
        b"not json",
        b"[]",
        b"null",
        b'"text"',
        b'{"layers": 1}',
        b'{"layers": [1]}',
        b'{"layers": [null]}',
        b'{"layers": [{}]}',
        b'{"layers": {"mediaType": "x"}}',
        b'{"layers": [{"mediaType": ["x"], "digest": {}}]}',
        b'{"config": "x"}',
        b'{"manifests": [{"manifests": []}]}',
        b'{"layers": [' * 100_000,
        b"[" * 1_000_000,
        b'{"a":' * 500_000,
        b'{"layers": [{"mediaType": "\xff\xfe", "digest": ""}]}',
    ],
)
def test_damaged_manifests(tmp_path: Path, content: bytes) -> None:
    """Whatever stands in a manifest, the next one is read."""
    bad = ollama_store.write_manifest(tmp_path, "bad", content)
    ollama_store.add(tmp_path, "good", GGUF)
    models, left_out = read_store(tmp_path)
    assert [model.name for model in models] == ["good:latest"]
    assert left_out == [LeftOut(bad, "it is not a manifest, or is damaged")]


def test_a_huge_manifest(tmp_path: Path) -> None:
    """A file of terabytes is not read."""
    path = ollama_store.write_manifest(tmp_path, "x", b"")
    os.truncate(path, 1 << 40)
    assert "larger than 4 MiB" in reason(tmp_path)


def test_manifests_that_are_no_files(tmp_path: Path) -> None:
    """A named pipe isn't waited for, a folder and a link to itself aren't followed."""
    folder = ollama_store.write_manifest(tmp_path, "x", b"").parent
    (folder / "latest").unlink()
    os.mkfifo(folder / "pipe")
    (folder / "folder").mkdir()
    (folder / "loop").symlink_to("loop")
    (folder / "dangling").symlink_to("nothing")
    models, left_out = read_store(tmp_path)
    assert models == []
    told = {left.path.name: left.reason for left in left_out}
    assert told.pop("loop").startswith("it can't be read: ")
    assert told == {
        "pipe": "it is not a regular file",
        "folder": "it is not a regular file",
        "dangling": "it can't be read: No such file or directory",
    }


def test_a_folder_that_leads_to_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Links that fan out without end are followed only so far."""
    monkeypatch.setattr(ollama_places, "MOST_MANIFESTS", 50)
    (tmp_path / "manifests").mkdir()
    for i in range(10):
        (tmp_path / "manifests" / f"m{i}").symlink_to(".")
    models, left_out = read_store(tmp_path)
    assert models == []
    assert len(left_out) == 51
    assert left_out[0] == LeftOut(tmp_path, "only 50 of its manifests are read")


def test_a_folder_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the system refuses is told, and the rest is read."""
    ollama_store.add(tmp_path, "x", GGUF)
    ollama_store.add(tmp_path, "secret/y", GGUF)
    secret = tmp_path / "manifests/registry.ollama.ai/secret"
    scandir = os.scandir

    def refuse(path: Path) -> Any:
        if path == secret:
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    models, left_out = read_store(tmp_path)
    assert [model.name for model in models] == ["x:latest"]
    assert left_out == [LeftOut(secret, "it can't be read: Permission denied")]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
KINDS = st.sampled_from(["model", "projector", "adapter", "params", "tensor", "draft"])
LAYERS = st.fixed_dictionaries(
    {"mediaType": KINDS.map(ollama_store.MEDIA.__add__) | JSON, "digest": st.sampled_from(["GGUF", "{}", "x"]) | JSON}
)
ENTRIES = st.fixed_dictionaries({"runner": st.just("ollama") | JSON, "digest": JSON})
MANIFESTS = JSON | st.fixed_dictionaries(
    {},
    optional={
        "config": LAYERS | JSON,
        "layers": st.lists(LAYERS, max_size=4) | st.lists(LAYERS | JSON, max_size=4) | JSON,
        "manifests": st.lists(ENTRIES | JSON, max_size=2) | JSON,
    },
)


@pytest.mark.slow
@given(manifest=MANIFESTS, blob=JSON)
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_json(tmp_path: Path, manifest: Any, blob: Any) -> None:
    """JSON of any shape, in the manifest and in the blobs it names, gives a model or a reason, and no other files."""
    named = {"GGUF": GGUF, "{}": json.dumps(blob).encode(), "x": b"x"}
    text = json.dumps(manifest)
    for name, content in named.items():
        digest = ollama_store.layer(tmp_path, "model", content)["digest"]
        text = text.replace(f'"digest": "{name}"', f'"digest": "{digest}"')
    path = ollama_store.write_manifest(tmp_path, "x", text.encode())
    models, left_out = read_store(tmp_path)
    assert [left.path for left in left_out] == ([] if models else [path])
    for model in models:
        files = (model.blob, *model.projectors, *model.adapters)
        assert {file.parent for file in files} == {tmp_path / "blobs"}
        assert 0 <= model.ctx_size <= LARGEST_CONTEXT


# PARAMETERs


def test_parameters(tmp_path: Path) -> None:
    """A model's PARAMETERs are llama.cpp's request fields, but for the context, which is the engine's."""
    said = {"temperature": 0.6, "top_k": 20, "top_p": 0.95, "min_p": 0, "typical_p": 1.0, "repeat_last_n": -1,
            "repeat_penalty": 1.1, "presence_penalty": 1.5, "frequency_penalty": -0.5, "mirostat": 2,
            "mirostat_eta": 0.1, "mirostat_tau": 5.0, "seed": 42, "num_predict": -1, "stop": ["<|im_end|>", "</s>"],
            "num_ctx": 32768, "num_keep": 24, "num_gpu": 99, "tfs_z": 1.0}  # fmt: skip
    ollama_store.add(tmp_path, "x", GGUF, params=said)
    model = only(tmp_path)
    assert model.ctx_size == 32768
    assert dict(model.sampling) == {
        "temperature": 0.6, "top_k": 20, "top_p": 0.95, "min_p": 0, "typical_p": 1.0, "repeat_last_n": -1,
        "repeat_penalty": 1.1, "presence_penalty": 1.5, "frequency_penalty": -0.5, "mirostat": 2, "mirostat_eta": 0.1,
        "mirostat_tau": 5.0, "seed": 42, "n_predict": -1, "stop": ["<|im_end|>", "</s>"]}  # fmt: skip


@pytest.mark.parametrize(
    ("said", "sampling", "ctx_size"),
    [
        ({"top_k": 40.0, "seed": -1, "num_ctx": 4096.0}, {"top_k": 40, "seed": -1}, 4096),
        ({"stop": "</s>"}, {"stop": ["</s>"]}, 0),
        ({"stop": ["a", 1, None, "", "b", ["c"], "x" * 2000]}, {"stop": ["a", "b"]}, 0),
        ({"stop": []}, {}, 0),
        ({"num_predict": -2, "top_p": 1.5, "temperature": -1}, {}, 0),
        ({"temperature": "hot", "top_k": True, "min_p": None, "seed": [1], "mirostat": {}}, {}, 0),
        ({"temperature": True, "top_k": 1e300, "seed": 2**80, "repeat_penalty": float("nan")}, {}, 0),
        ({"num_ctx": -1}, {}, 0),
        ({"num_ctx": 2**31}, {}, 0),
        ({"num_ctx": "8192"}, {}, 0),
        ({"num_ctx": True}, {}, 0),
        ({"TEMPERATURE": 1, "n_predict": 5, "max_tokens": 5, "logit_bias": []}, {}, 0),
        (["temperature"], {}, 0),
        (None, {}, 0),
        ("temperature", {}, 0),
    ],
)
def test_parameters_of_all_kinds(said: Any, sampling: dict[str, Any], ctx_size: int) -> None:
    """What is of another type or out of range is dropped by itself; a float that means a whole number is one."""
    found = params(said)
    assert (dict(found.sampling), found.ctx_size) == (sampling, ctx_size)
    assert all(type(value) is type(sampling[name]) for name, value in found.sampling.items())


@pytest.mark.parametrize("content", [b"", b"[]", b"nonsense", b"[" * 100_000, b"\xff", b" " * (2 << 20)])
def test_damaged_parameters(tmp_path: Path, content: bytes) -> None:
    """A model whose parameters can't be read has none."""
    ollama_store.add(tmp_path, "x", GGUF, params=content)
    model = only(tmp_path)
    assert (model.sampling, model.ctx_size) == ({}, 0)


def test_lost_parameters(tmp_path: Path) -> None:
    """So has one whose parameters are gone; the last of several are its own."""
    first, last = (ollama_store.layer(tmp_path, "params", b'{"seed": %d}' % seed) for seed in (1, 2))
    ollama_store.add(tmp_path, "x", GGUF, layers=[first, last])
    assert only(tmp_path).sampling == {"seed": 2}
    ollama_store.blob(tmp_path, last["digest"]).unlink()
    assert only(tmp_path).sampling == {}


def test_every_option_of_ollamas() -> None:
    """Each of Ollama's options (its api/types.go, Options and Runner) is translated or ignored, and none is both."""
    sampling = {"num_predict", "top_k", "top_p", "min_p", "typical_p", "repeat_last_n", "temperature", "repeat_penalty",
                "presence_penalty", "frequency_penalty", "seed"}  # fmt: skip
    others = {"num_keep", "num_batch", "num_gpu", "main_gpu", "use_mmap", "num_thread", "draft_num_predict"}
    assert len(params(dict.fromkeys(sampling, 1)).sampling) == len(sampling)
    assert others <= set(IGNORED)
    assert not params(dict.fromkeys(IGNORED, 1)).sampling


# where the store is


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home directory without Ollama."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def test_where_it_is(home: Path, tmp_path: Path) -> None:
    """What was configured holds; $OLLAMA_MODELS replaces the default only, and "" turns it off."""
    default = home / ".ollama/models"
    said = {"OLLAMA_MODELS": ' "/big disk/models" '}
    assert store(default, {}, service=tmp_path) == default
    assert store(default, said) == Path("/big disk/models")
    assert store(default, {"OLLAMA_MODELS": "~/m"}) == home / "m"
    assert store(default, {"OLLAMA_MODELS": ""}, service=tmp_path) == default
    assert store(Path("/elsewhere"), said) == Path("/elsewhere")
    assert store(None, said) is None


def test_a_service_of_linux(home: Path, tmp_path: Path) -> None:
    """Where only Linux's service has a store, that is read; one's own comes first."""
    default, service = home / ".ollama/models", tmp_path / "service"
    assert store(default, {}, platform="linux", service=service) == default
    (service / "manifests").mkdir(parents=True)
    assert store(default, {}, platform="linux", service=service) == service
    assert store(default, {}, platform="darwin", service=service) == default
    assert store(Path("/elsewhere"), {}, platform="linux", service=service) == Path("/elsewhere")
    default.mkdir(parents=True)
    assert store(default, {}, platform="linux", service=service) == default


def test_our_own_environment(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without being given one, it is our process's environment that counts."""
    monkeypatch.setenv("OLLAMA_MODELS", "/models")
    assert store(home / ".ollama/models") == Path("/models")
