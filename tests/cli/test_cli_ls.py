"""`ls` and `reload`: what they make of the server's JSON, and `ls` without a server."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from gguf_files import tiny_llama

from llmsup.cli import main
from llmsup.cli.ls import names_table, notes, table
from llmsup.cli.reload import told

MIB = 1 << 20


MEMORY = {
    "weights_bytes": 2300 * MIB, "kv_bytes": 5000 * MIB, "recurrent_bytes": 120 * MIB, "compute_bytes": 552 * MIB,
    "projector_bytes": 0, "engine_bytes": 28 * MIB, "total_bytes": 8000 * MIB,
}  # fmt: skip


def entry(model: str, **fields: Any) -> dict[str, Any]:
    fields = {"needs_bytes": fields.get("memory", MEMORY) and 8000 * MIB, **fields}
    return {
        "id": model, "status": {"value": "unloaded"}, "kind": "chat", "quantization": "Q4_K_M", "context_length": 40960,
        "size_bytes": 2330 * MIB, "memory": MEMORY, "fits": True, "capabilities": [],
        "aliases": [], "names": [], "ollama_only": None, "needs_source": "estimated",
        "grows_bytes": 2048 * MIB, "prompt_cache": {"able": "yes", "reason": None}, **fields,
    }  # fmt: skip


ENTRIES = [
    entry("lmstudio-community/Qwen3-4B-GGUF", capabilities=["completion", "tools"]),
    entry("gemma", capabilities=["completion", "vision"], fits=False),
    entry(
        "whisper",
        quantization=None,
        context_length=None,
        size_bytes=None,
        memory=None,
        fits=None,
        needs_source=None,
        grows_bytes=None,
    ),
    entry("flux", kind="unknown", memory=None, fits=None, status={"value": "failed", "error": "it draws."}),
]


def test_the_table() -> None:
    """What is not known is a dash, what can't be served says so."""
    assert table(ENTRIES).as_text().splitlines() == [
        "MODEL                             KIND          QUANT   CONTEXT     SIZE   MEMORY  FITS",
        "lmstudio-community/Qwen3-4B-GGUF  chat          Q4_K_M    40960  2.3 GiB  7.8 GiB  yes",
        "gemma                             chat +vision  Q4_K_M    40960  2.3 GiB  7.8 GiB  no",
        "whisper                           chat          -             -        -        -  -",
        "flux                              unknown       Q4_K_M    40960  2.3 GiB        -  can't run",
    ]


def test_what_the_memory_is_for() -> None:
    """The parts of the sum, and dashes where there is none."""
    shown = [" ".join(line.split()) for line in table(ENTRIES[1:3], parts=True).as_text().splitlines()]
    assert shown == [
        "MODEL KIND QUANT CONTEXT SIZE WEIGHTS CACHE COMPUTE PROJECTOR MEMORY PROMPTS KEPT FITS",
        "gemma chat +vision Q4_K_M 40960 2.3 GiB 2.2 GiB 5.0 GiB 580 MiB 0 B 7.8 GiB 2.0 GiB yes no",
        "whisper chat - - - - - - - - - yes -",
    ]


def test_what_is_known_better_than_by_the_header() -> None:
    """What somebody declared, or what was measured, is what counts, and says so."""
    models = [entry("a", needs_source="measured"), entry("b", memory=None, needs_bytes=MIB, needs_source="declared")]
    assert [line.split("  ")[-2].strip() for line in table(models).as_text().splitlines()[1:]] == [
        "7.8 GiB measured",
        "1.0 MiB declared",
    ]


def test_what_stands_below() -> None:
    """Why something can't be served, and where to look for the rest."""
    lines = notes(ENTRIES, {"complete": False, "read": 3, "of": 9, "left_out": [{}, {}]})
    broken, progress, files = lines
    assert broken == "flux: it draws."
    assert progress.startswith("3 of 9 files ")
    assert files.startswith("2 files are not served ")
    assert "`llmsup ls --left-out`" in files
    bare = [entry(name, status={"value": "unloaded", "no_engine": "there is no engine. Install."}) for name in "abcde"]
    assert notes(bare, {"complete": True, "left_out": []}) == [
        "a, b, c and 2 more can't be started: there is no engine. Install."
    ]
    assert {row[-1] for row in table(bare).rows} == {"no engine"}
    tried = [each | {"status": {**each["status"], "value": "failed", "error": "e"}} for each in bare]
    assert notes(tried, {"complete": True, "left_out": []}) == notes(bare, {"complete": True, "left_out": []})
    assert {row[-1] for row in table(tried).rows} == {"no engine"}
    assert notes(ENTRIES[:1], {"complete": True, "left_out": []}) == []


def test_all_names_of_a_model() -> None:
    """Those that were given and those of its file."""
    models = [entry("a", aliases=["mine"], names=["a-Q4", "llama3.1:8b"]), entry("b")]
    assert names_table(models).as_text().splitlines() == [
        "MODEL  ALSO ANSWERS TO",
        "a      mine, a-Q4, llama3.1:8b",
        "b      -",
    ]


def test_what_runs_with_ollamas_engine_is_marked() -> None:
    """With the reason."""
    (line,) = notes([entry("a", ollama_only="it is old")], {"complete": True, "left_out": []})
    assert line == "a runs with Ollama's llama-server: it is old."


def test_what_a_reload_tells() -> None:
    """Names where something happened, a count where nothing did."""
    done = {"added": ["a", "b"], "removed": [], "changed": ["c"], "unchanged": ["d"], "refused": {"b": "no file."},
            "restart_needed": ["server.listen"]}  # fmt: skip
    *lines, restart = told(done)
    assert lines == ["added: a, b", "changed: c", "unchanged: 1 model", "b can't be served: no file."]
    assert "restart" in restart
    assert restart.endswith(": server.listen")
    nothing: dict[str, Any] = {
        "added": [],
        "removed": [],
        "changed": [],
        "unchanged": [],
        "refused": {},
        "restart_needed": [],
    }
    assert told(nothing) == ["unchanged: 0 models"]
    settings = {**nothing, "unchanged": ["a"], "settings": ["keys", "server.cors_origins"]}
    assert told(settings) == ["settings changed: keys, server.cors_origins", "unchanged: 1 model"]


@pytest.mark.parametrize("port", [0, 1])
def test_without_a_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, port: int) -> None:
    """What one would serve is shown, from the same look at the same files; wherever it would be."""
    monkeypatch.setenv("HOME", str(tmp_path))
    tiny_llama(tmp_path / ".lmstudio/models/org/tiny/tiny-Q4_K_M.gguf")
    (tmp_path / ".lmstudio/models/org/tiny/broken.gguf").write_bytes(b"GGUF")
    (tmp_path / ".config/llmsup").mkdir(parents=True)
    (tmp_path / ".config/llmsup/llmsup.toml").write_text(f"server.listen = '127.0.0.1:{port}'\n")
    shown = CliRunner().invoke(main, ["ls"])
    assert shown.exit_code == 0
    assert shown.stdout.splitlines()[1].split()[:4] == ["org/tiny", "chat", "Q4_K_M", "4096"]
    assert shown.stdout.rstrip().endswith("yes")
    assert shown.stderr.startswith("No server is running")
    assert "1 file is not served" in shown.stderr
    (model,) = json.loads(CliRunner().invoke(main, ["ls", "--json"]).stdout)
    assert (model["id"], model["kind"], model["fits"]) == ("org/tiny", "chat", True)
    left_out = CliRunner().invoke(main, ["ls", "--left-out"]).stdout
    assert left_out.startswith(f"{tmp_path}/.lmstudio/models/org/tiny/broken.gguf: ")
    (tmp_path / ".lmstudio/models/org/tiny/broken.gguf").unlink()
    assert CliRunner().invoke(main, ["ls", "--left-out"]).stdout == "No file is left out.\n"
    nobody = CliRunner().invoke(main, ["ls", "--url", "http://127.0.0.1:1"])
    assert nobody.exit_code == 1
    assert "no server answers" in nobody.stderr


def test_a_command_has_the_context_that_its_own_table_states(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is never told that of [defaults]."""
    monkeypatch.setenv("HOME", str(tmp_path))
    config = tmp_path / "llmsup.toml"
    monkeypatch.setenv("LLMSUP_CONFIG", str(config))
    config.write_text(
        "server.listen = '127.0.0.1:0'\ndefaults.ctx_size = 2048\nmodels.a.command = 'srv ${PORT}'\n"
        "[models.b]\ncommand = 'srv ${PORT}'\nctx_size = 512\n"
    )
    told = json.loads(CliRunner().invoke(main, ["ls", "--json"]).stdout)
    assert {model["id"]: model["context_length"] for model in told} == {"a": None, "b": 512}
