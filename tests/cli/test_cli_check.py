"""`check`: what each model resolves to, and what is missing."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from engine_kinds import kinds
from gguf_files import tiny_llama

from llmsup.cli import main

GOOD = """
[models.small]
engine = "bundled"
path = "{dir}/small.gguf"
ctx_size = 512
[models.split]
engine = "bundled"
path = "{dir}/split-00001-of-00002.gguf"
kind = "embedding"
[models."org/own command"]
command = ["{python}", "-m", "x y", "--port", "${{PORT}}"]
ttl = "never"
sampling = {{ top_k = 7 }}
[models.named]
engine = "mlx"
path = "{dir}/folder"
pinned = true
[engines.mlx]
command = ["{python}", "--model", "${{PATH}}", "--socket", "${{SOCKET}}"]
"""

BAD = """
[models.fine]
command = ["{python}", "${{PORT}}"]
[models.no-file]
engine = "bundled"
path = "{dir}/none.gguf"
[models.no-program]
command = ["no-such-program", "--port", "${{PORT}}"]
[models.neither]
engine = "llama-server"
path = "{dir}/none.gguf"
[engines.llama-server]
command = "/nowhere/llama-server"
"""


@pytest.fixture(autouse=True)
def bundled(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the bundled engine were installed: it isn't started."""
    monkeypatch.setattr("llmsup.cli.resolved.KINDS", kinds(bundled=True))


def check(tmp_path: Path, text: str, *words: str) -> Result:
    config = tmp_path / "l.toml"
    config.write_text(text.format(dir=tmp_path, python=sys.executable))
    return CliRunner().invoke(main, ["check", "--config", str(config), *words])


def read(result: Result) -> tuple[Any, dict[str, Any]]:
    whole = json.loads(result.stdout)
    return whole, {model["model"]: model for model in whole["models"]}


@pytest.fixture
def files(tmp_path: Path) -> None:
    tiny_llama(tmp_path / "small.gguf")
    for part in (0, 1):
        split: dict[str, Any] = {"split.no": part, "split.count": 2}
        tiny_llama(tmp_path / f"split-0000{part + 1}-of-00002.gguf", **split)
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "weights").write_bytes(bytes(70))


@pytest.mark.usefixtures("files")
def test_what_models_resolve_to(tmp_path: Path) -> None:
    result = check(tmp_path, GOOD)
    assert (result.exit_code, result.stderr) == (0, "")
    small, split, own, named, last = result.stdout.rstrip().split("\n\n")
    head, command = small.splitlines()
    assert re.fullmatch(
        r"small: bundled, chat, ttl 30 m, memory [\d.]+ MiB \(weights 38 KiB, kv 512 KiB, compute .*; 512 tokens\), "
        r"and up to 2.0 GiB for .*prompts",
        head,
    )
    assert f"--model {tmp_path}/small.gguf --host '<socket>' --alias small" in command
    assert split.startswith("split: bundled, embedding, ttl 30 m, memory ")
    assert "(weights 75 KiB, " in split
    assert "--embeddings" in split
    assert "--pooling last" in split
    assert own.splitlines() == [
        "org/own command: command, chat, ttl never",
        f"  {sys.executable} -m 'x y' --port '<port>'",
        '  sent with each request: {"top_k": 7}',
    ]
    assert named.splitlines()[0] == "named: mlx, chat, pinned, weights 70 B"
    assert last == f"{tmp_path}/l.toml: no mistakes, 4 models"


@pytest.mark.usefixtures("files")
def test_json(tmp_path: Path) -> None:
    result = check(tmp_path, GOOD, "--json")
    whole, models = read(result)
    assert result.exit_code == 0
    assert whole["mistakes"] == []
    parts = [tmp_path / f"split-0000{number}-of-00002.gguf" for number in (1, 2)]
    assert models["split"]["weights_bytes"] == sum(part.stat().st_size for part in parts)
    assert models["small"]["memory_bytes"] > 512 * 1024
    own = models["org/own command"]
    assert (own["command"][-1], own["ttl"], own["weights_bytes"]) == ("<port>", None, None)


def test_all_that_is_missing_at_once(tmp_path: Path) -> None:
    result = check(tmp_path, BAD)
    assert result.exit_code == 2
    assert result.stdout.startswith("fine: command, chat")
    source = f"@ {tmp_path}/l.toml: models."
    lines = result.stderr.splitlines()
    assert len(lines) == 4
    assert lines[0].endswith(f"matches no file {source}no-file")
    assert lines[1] == f"model no-program: no-such-program is not on PATH, or can't be run {source}no-program"
    assert lines[2].endswith(f"matches no file {source}neither")
    assert lines[3] == f"model neither: /nowhere/llama-server is not on PATH, or can't be run {source}neither"
    whole, models = read(check(tmp_path, BAD, "--json"))
    assert whole["mistakes"] == lines
    assert models["neither"]["mistakes"] == lines[2:]


def test_found_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are counted, and with --all shown; one that can't be served is no mistake of the config's."""
    root = tmp_path / "models"
    tiny_llama(root / "pub/a/a.gguf")
    tiny_llama(root / "pub/a-00001-of-00002.gguf", **dict[str, Any]({"split.no": 0, "split.count": 2}))
    tiny_llama(tmp_path / "elsewhere.gguf")
    text = (
        f"[catalog]\nroots = [{str(root)!r}]\n[models.mine]\nengine = 'bundled'\npath = '{tmp_path}/elsewhere.gguf'\n"
        "[defaults]\nengine = 'bundled'\nargs = ['--typ-p', '1.0']\n"
    )
    result = check(tmp_path, text)
    assert result.exit_code == 0
    assert result.stdout.rstrip().endswith("1 model, and 2 more found on the disk (`llmsup ls`, or --all here)")
    assert "  args: --typ-p is --typical" in result.stdout, "a correction must be told"
    every = check(tmp_path, text, "--all")
    assert every.exit_code == 0
    assert re.search(r"^pub/a: bundled, chat, ", every.stdout, re.MULTILINE)
    assert "pub/a: can't be served" not in every.stdout
    assert re.search(r"^pub/a-\S+: can't be served: .*part 2 of 2 is missing\.\n\n", every.stdout, re.MULTILINE)
    assert str(tmp_path / "l.toml: models") not in every.stdout, "it has no table to look at"
    assert every.stdout.rstrip().endswith("no mistakes, 3 models")


def test_json_of_a_config_that_can_not_be_read(tmp_path: Path) -> None:
    result = check(tmp_path, "x = 1", "--json")
    assert result.exit_code == 2
    assert json.loads(result.stdout)["mistakes"] == [f"unknown key 'x' @ {tmp_path}/l.toml"]


def test_without_a_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("LLMSUP_CONFIG", raising=False)
    result = CliRunner().invoke(main, ["check"])
    assert result.exit_code == 0
    assert "built-in defaults" in result.stdout
