"""`llmsup init`: a config that changes nothing until somebody takes a # away."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from click.testing import CliRunner
from configs import parse
from gguf_files import tiny_llama

from llmsup.catalog.found import Found, LeftOut, Snapshot, Stamp
from llmsup.catalog.gguf.facts import Facts, FoundKind
from llmsup.cli import main
from llmsup.cli.starting import starting_config
from llmsup.config import Config
from llmsup.config.schema import Catalog, Server


def found(id_: str, kind: FoundKind = "chat", *, problem: str = "", **facts: Any) -> Found:
    path = Path("/models") / f"{id_}.gguf"
    facts = {"architecture": "qwen3", "quantisation": "Q4_K_M", "parameters": 4_020_000_000, **facts}
    stamp = Stamp(path, 2_500_000_000, 0)
    return Found(id=id_, path=path, files=(stamp,), facts=Facts(kind=kind, **facts), problem=problem)


OLLAMA = {"temperature": 0.5, "stop": ["</s>"], "mirostat": 9}  # no mirostat has that number
MODELS = [
    found("lm/Qwen3-4B-GGUF", context_length=40960, tools=True),
    found("lm/Qwen3-4B-GGUF@Q8_0", context_length=4096),
    found("nomic/embed", "embedding", context_length=2048),
    found("nomic/embed-mean", "embedding", pooling="mean"),
    found("x/rerank", "rerank"),
    evolve(found("llama3.1:8b"), ollama={"llama3.1:8b": OLLAMA}, ctx_size=8192),
    found('odd "name" #1'),
    found("x/half", problem="part 2 of 3 is missing"),
    found("x/diffusion", "unknown"),
    found(" x\n"),
]  # fmt: skip
SNAPSHOT = Snapshot({model.id: model for model in MODELS}, (LeftOut(Path("/models/l.gguf"), "a LoRA adapter"),))


def uncommented(text: str) -> str:
    """Every # taken away that switches something off."""
    return re.sub(r"^#(?=[^ #\n])", "", text, flags=re.MULTILINE)


def test_it_changes_nothing(tmp_path: Path) -> None:
    """It is what llmsup does by itself; the roots stay as they are where none of them exists."""
    for roots in ((tmp_path,), (tmp_path / "none", tmp_path / "nor this")):
        config = Config(server=Server(state_dir=tmp_path / "state"), catalog=Catalog(roots=roots))
        assert parse(starting_config(config, SNAPSHOT), "x") == config
        assert parse(starting_config(config, Snapshot()), "x") == config


def test_all_of_it_can_be_switched_on() -> None:
    """Each model's block, and every other key: together they are a config without mistakes."""
    config = parse(uncommented(starting_config(Config(), SNAPSHOT)), "x")
    assert set(config.models) == {
        "lm/Qwen3-4B-GGUF", "lm/Qwen3-4B-GGUF@Q8_0", "nomic/embed", "nomic/embed-mean", "x/rerank", "llama3.1:8b",
        'odd "name" #1',
    }  # fmt: skip
    qwen, second = config.models["lm/Qwen3-4B-GGUF"], config.models["lm/Qwen3-4B-GGUF@Q8_0"]
    assert (qwen.aliases, qwen.ctx_size) == (("qwen3-4b",), 16384)
    assert (second.aliases, second.ctx_size) == ((), 4096)
    assert config.models["nomic/embed"].args == ("--pooling", "mean")
    assert config.models["nomic/embed-mean"].args == ()
    llama = config.models["llama3.1:8b"]
    assert (llama.ctx_size, llama.aliases) == (8192, ())
    assert llama.sampling == {"temperature": 0.5, "top_n_sigma": 1.5, "stop": ["</s>"]}
    assert config.server.api_keys
    assert config.server.default_model == "llama3.1:8b"


def test_what_is_said_of_the_models() -> None:
    """Facts above each block; what is not served, and why."""
    text = starting_config(Config(), SNAPSHOT)
    block = "# chat, Q4_K_M, 4.0 B parameters, trained for 40,960 tokens, uses tools, 2.3 GiB\n#   /models/lm/"
    assert block in text
    assert "# --- 7 models, 16.3 GiB ---" in text
    assert "# - x/half: part 2 of 3 is missing." in text
    assert "# - x/diffusion: it is of the architecture 'qwen3', which is neither for chat" in text
    assert "starts or ends with a space" in text
    assert "# 1 more file is not served on its own: llmsup ls --left-out" in text
    assert "No model was found" not in text
    nothing = starting_config(Config(), Snapshot())
    assert "No model was found" in nothing
    assert "llmsup demo" in nothing


def test_roots_that_are_not_there_yet_are_written_too(tmp_path: Path) -> None:
    """A folder that LM Studio or the bridge makes later is looked at then."""
    config = Config(catalog=Catalog(roots=(tmp_path, tmp_path / "none")))
    assert parse(starting_config(config, Snapshot()), "x").catalog.roots == (tmp_path, tmp_path / "none")


# --- the command ------------------------------------------------------------------------------------------


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home directory with one model in LM Studio's folder."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("LLMSUP_CONFIG", raising=False)
    folder = tmp_path / ".lmstudio" / "models" / "pub" / "Tiny-GGUF"
    folder.mkdir(parents=True)
    tiny_llama(folder / "tiny-Q8_0.gguf")
    return tmp_path


def test_the_command_writes_the_usual_file_once(home: Path) -> None:
    """And a second time only with --force."""
    target = home / ".config" / "llmsup" / "llmsup.toml"
    result = CliRunner().invoke(main, ["init"])
    assert result.exit_code == 0, result.output
    assert "Wrote ~/.config/llmsup/llmsup.toml: 1 model found." in result.stderr
    text = target.read_text()
    assert 'roots = ["~/.lmstudio/models", "~/.cache/lm-studio/models"]' in text
    assert '#[models."pub/Tiny' in text
    parse(uncommented(text), "x")
    target.write_text("# mine\n")
    again = CliRunner().invoke(main, ["init"])
    assert (again.exit_code, target.read_text()) == (1, "# mine\n")
    assert "--force" in again.stderr
    assert CliRunner().invoke(main, ["init", "--force"]).exit_code == 0
    assert target.read_text() == text


def test_the_command_counts_as_the_file_does(home: Path) -> None:
    """What can't be served is no model that it offers."""
    parts: dict[str, Any] = {"split.no": 0, "split.count": 2}
    tiny_llama(home / ".lmstudio/models/pub/half-00001-of-00002.gguf", **parts)
    (home / ".lmstudio/models/pub/Tiny-GGUF/junk.gguf").write_bytes(b"junk")
    result = CliRunner().invoke(main, ["init"])
    assert ": 1 model found, and 1 that can't be served (the file says why). Next" in result.stderr
    text = (home / ".config/llmsup/llmsup.toml").read_text()
    assert "# --- 1 model, " in text
    assert "# - pub/half: " in text


def test_the_command_prints_with_a_dash(home: Path) -> None:
    """Nothing is written, nor said beside it; a config with mistakes is no hindrance."""
    (home / ".config" / "llmsup").mkdir(parents=True)
    (home / ".config" / "llmsup" / "llmsup.toml").write_text("nonsense")
    result = CliRunner().invoke(main, ["init", "--output", "-"])
    assert (result.exit_code, result.stderr) == (0, "")
    parse(result.stdout, "x")
