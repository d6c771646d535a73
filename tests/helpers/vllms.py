"""Configs whose models run on the fake vLLM, and a directory as Hugging Face lays models out."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from attrs import evolve

from llmsup import config
from llmsup.config.schema import Bridge, Catalog, Config, Server
from llmsup.engines.kinds import KINDS
from llmsup.units import NEVER

FAKE_VLLM = Path(__file__).with_name("fake_vllm.py")

QWEN = {
    "architectures": ["Qwen3ForCausalLM"],
    "model_type": "qwen3",
    "dtype": "bfloat16",
    "hidden_size": 1024,
    "intermediate_size": 3072,
    "num_hidden_layers": 28,
    "num_attention_heads": 16,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "max_position_embeddings": 40960,
    "vocab_size": 151936,
}


def tensors(folder: Path, *, parts: int = 1, size: int = 1000, **config: Any) -> Path:
    """A model's directory; its tensors are holes in files."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({**QWEN, **config}))
    (folder / "chat_template.jinja").write_text("{% if tools %}{{ tools }}{% endif %}<think>")
    names = [f"model-{number + 1:05}-of-{parts:05}.safetensors" for number in range(parts)]
    if parts > 1:
        weights = {f"layer.{number}": name for number, name in enumerate(names)}
        (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weights}))
    for name in names:
        with (folder / name).open("wb") as file:
            file.truncate(size)
    return folder


def with_vllm(tmp_path: Path, text: str, **moods: Any) -> Config:
    """A config with [engines.vllm], and these models; the fake's moods go to all of them."""
    command = json.dumps([sys.executable, str(FAKE_VLLM)])
    env = json.dumps({"FAKE_VLLM": json.dumps({"record": str(tmp_path / "record.jsonl"), **moods})})
    head = f'[engines.vllm]\ncommand = {command}\n[defaults]\nstop_grace = "2s"\nenv = {env.replace(": ", " = ", 1)}\n'
    settings = config.parse(head + text, "test.toml", {}, engines=KINDS.words)
    return evolve(
        settings,
        server=Server(state_dir=tmp_path / "state"),
        catalog=Catalog(roots=(), ollama=None),
        bridge=Bridge(every=NEVER),
    )


def recorded(tmp_path: Path, event: str) -> list[dict[str, Any]]:
    """What the fakes noted of one kind, in order."""
    lines = (tmp_path / "record.jsonl").read_text("utf-8").splitlines()
    return [each for each in map(json.loads, lines) if each["event"] == event]
