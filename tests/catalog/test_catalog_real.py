"""With nothing written down: a real model in LM Studio's folder and in Ollama's store, on real engines."""

from __future__ import annotations

from pathlib import Path

import ollama_store
import pytest
from configs import parse
from gguf_files import tiny_llama
from real_engines import llama_server, smollm2
from serving import serving

ID = "HuggingFaceTB/SmolLM2-135M-Instruct-GGUF"


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """A model that Ollama has pulled, and the bridge's link to it in LM Studio's folder."""
    manifest = ollama_store.add(tmp_path / "ollama", "smollm2:135m", smollm2(), params={"num_ctx": 512, "top_k": 7})
    assert manifest.exists()
    (blob,) = (
        path for path in (tmp_path / "ollama/blobs").iterdir() if path.stat().st_size == smollm2().stat().st_size
    )
    link = tmp_path / "models" / ID / "SmolLM2-135M-Instruct-Q4_1.gguf"
    link.parent.mkdir(parents=True)
    link.symlink_to(blob)
    return tmp_path


def config(machine: Path, more: str = "", engine: Path | None = None) -> str:
    text = (
        f"[server]\nstate_dir = {str(machine / 'state')!r}\nshutdown_grace = '1s'\n"
        f"[catalog]\nroots = [{str(machine / 'models')!r}]\nollama = {str(machine / 'ollama')!r}\n"
        "[bridge]\nevery = 'never'\n"
        f"[defaults]\nparallel = 1\nthreads = 1\nengine = 'bundled'\n{more}\n"
    )
    if engine is None:
        return text
    return text.replace("'bundled'", "'llama-server'") + f"[engines.llama-server]\ncommand = [{str(engine)!r}]\n"


async def test_every_name_is_one_model(machine: Path) -> None:
    """LM Studio's name and Ollama's, in any case, are one process; what the config and Ollama say reaches it."""
    text = config(
        machine, "args = ['--typ-p', '0.9']\n[defaults.sampling]\ntop_n_sigma = 1.5\nmin_p = 0.2\n", llama_server()
    )
    async with serving(config=parse(text, "test.toml")) as served:
        client = served.client
        (entry,) = (await client.get("/v1/models")).json["data"]
        assert (entry["id"], entry["kind"], entry["context_length"]) == (ID, "chat", 512)
        assert (entry["architecture"], entry["quantization"]) == ("llama", "Q4_1")
        assert entry["memory"]["kv_bytes"] == 30 * 512 * (64 + 64) * 3 * 2
        for name in (ID, "smollm2-135m-instruct", "smollm2:135m", "SmolLM2-135M-Instruct-Q4_1"):
            got = await client.chat(name, max_tokens=2)
            assert got.status == 200, got.body
        (running,) = (await client.get("/running")).json
        assert running["model"] == ID
        props = (await client.get(f"/upstream/{ID}/props")).json["default_generation_settings"]
        assert props["n_ctx"] == 512
        assert props["params"]["top_n_sigma"] == pytest.approx(1.5)
        assert props["params"]["min_p"] == pytest.approx(0.2)
        assert props["params"]["typical_p"] == pytest.approx(0.9)
        log = (await client.get(f"/logs/{ID}")).body.decode()
        assert "llmsup: args: --typ-p is --typical" in log
        assert props["params"]["top_k"] == 7, "Ollama's parameter was lost"


async def test_top_n_sigma_has_an_effect_on_the_bundled_engine(machine: Path) -> None:
    """xllamacpp takes it with each request only: hot sampling with the same seed gives another text with it."""
    tables = "\n".join(
        f"[models.{name}]\npath = {str(smollm2())!r}\nctx_size = 256\nsampling = {{ {sampling} }}"
        for name, sampling in {
            "plain": "temperature = 5.0, seed = 7, top_k = 0, top_p = 1.0, min_p = 0.0",
            "sigma": "temperature = 5.0, seed = 7, top_k = 0, top_p = 1.0, min_p = 0.0, top_n_sigma = 0.1",
        }.items()
    )
    async with serving(config=parse(config(machine, tables), "test.toml")) as served:
        texts = {}
        for name in ("plain", "sigma"):
            got = await served.client.post("/completion", model=name, prompt="The capital of France is", n_predict=8)
            assert got.status == 200, got.body
            texts[name] = got.json["content"]
            await served.client.post("/models/unload", model=name)
        again = await served.client.post(
            "/completion", model="plain", prompt="The capital of France is", n_predict=8, top_n_sigma=0.1
        )
    assert texts["plain"] != texts["sigma"]
    assert again.json["content"] == texts["sigma"], "the same request must give the same text"


async def test_a_kind_gets_its_flags(machine: Path) -> None:
    """A table that says `kind` gets an embedder from a chat model's file, with the flags that it takes."""
    table = f"[models.embed]\npath = {str(smollm2())!r}\nkind = 'embedding'\nctx_size = 256"
    async with serving(config=parse(config(machine, table, llama_server()), "test.toml")) as served:
        got = await served.client.post("/v1/embeddings", model="embed", input="The sky is blue.")
        assert got.status == 200, got.body
        assert len(got.json["data"][0]["embedding"]) == 576
        (running,) = (await served.client.get("/running")).json
        assert "--embeddings" in running["cmd"]
        assert "--pooling last" in running["cmd"]


async def test_a_broken_file_says_so(machine: Path) -> None:
    """A header that we can read and the engine can't use: its own words reach the client."""
    tiny_llama(machine / "models/org/tiny/tiny.gguf")
    async with serving(config=parse(config(machine, engine=llama_server()), "test.toml")) as served:
        got = await served.client.chat("org/tiny")
        assert (got.status, got.error["code"]) == (503, "model_failed")
        assert "tokenizer merges" in got.error["message"]
        assert got.error["log_tail"]


async def test_hard_links_are_one_model(machine: Path) -> None:
    """As LM Studio's importer makes them; a table's path to either is that model, too."""
    first = tiny_llama(machine / "models/org/tiny/tiny.gguf")
    second = machine / "elsewhere" / "other.gguf"
    third = machine / "models/me/copy/copy.gguf"
    for link in (second, third):
        link.parent.mkdir(parents=True)
        link.hardlink_to(first)
    table = f"[models.mine]\npath = {str(second)!r}\n"
    async with serving(config=parse(config(machine, table), "test.toml")) as served:
        ids = {entry["id"]: entry["names"] for entry in (await served.client.get("/v1/models")).json["data"]}
        assert set(ids) == {ID, "mine"}
        assert {"org/tiny", "me/copy"} & set(ids["mine"])
        assert served.fleet.resolve("tiny").id == served.fleet.resolve("copy").id == "mine"
