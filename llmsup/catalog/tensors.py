"""Models that are directories of safetensors, as Hugging Face lays them out: their files, and what config.json says.

They are not looked for: only the config's tables name them. Which engines read them is `engines`' to say.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ..units import Bytes
from .found import Found, Stamp
from .gguf.facts import Facts, FoundKind, Value
from .ollama.manifest import read_json

_LARGEST = 16 * 1024**2
"""Bytes of config.json or of an index, at most: an index of a model with 100,000 tensors has 10 MB."""

_CONFIG, _INDEX = "config.json", "model.safetensors.index.json"

_NUMBERS: Mapping[str, str] = {
    "num_hidden_layers": "block_count",
    "hidden_size": "embedding_length",
    "intermediate_size": "feed_forward_length",
    "num_attention_heads": "attention.head_count",
    "num_key_value_heads": "attention.head_count_kv",
    "head_dim": "attention.key_length",
}
"""What a GGUF's header calls the numbers of a config.json (llama.cpp conversion scripts)."""

_KINDS: tuple[tuple[str, FoundKind], ...] = (
    ("ForCausalLM", "chat"),
    ("ForConditionalGeneration", "chat"),
    ("LMHeadModel", "chat"),
    ("ForSequenceClassification", "rerank"),
    ("Model", "embedding"),
    ("ForTextEncoding", "embedding"),
)
"""What a model is for, by how its class's name ends (vLLM, vllm/config/model.py, `_SUFFIX_TO_DEFAULTS`)."""


def tensors_at(path: Path, name: str) -> Found:
    """Describe the model in a directory; `problem` says why it can't be served. Reads the disk.

    Args:
        name: What it is called.
    """
    said = read_json(path / _CONFIG, _LARGEST)
    config: Mapping[str, Any] = said if isinstance(said, dict) else {}
    names = list(_weights(path))
    stamps = [_stamp(path / each) for each in names]
    missing = [each for each, stamp in zip(names, stamps, strict=True) if stamp is None]
    files = tuple(stamp for stamp in stamps if stamp is not None)
    problem = ""
    if not path.is_dir():
        problem = "it is a file, and this engine reads directories with a config.json and *.safetensors in them"
    elif not config:
        problem = f"it has no {_CONFIG}, or none that can be read"
    elif not names:
        problem = "it has no *.safetensors"
    elif missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        problem = f"{missing[0]}{more} of its {_INDEX} is missing"
    own = tuple(stamp for stamp in (_stamp(path / _CONFIG),) if stamp is not None)
    return Found(
        id=name, path=path, files=(*files, *own), facts=_facts(config, files, path), tensors=True, problem=problem
    )


def _weights(path: Path) -> Iterable[str]:
    """The names of the files with its weights: those in the index; without one, all."""
    index = read_json(path / _INDEX, _LARGEST)
    parts = index.get("weight_map") if isinstance(index, dict) else None
    if isinstance(parts, dict) and parts:
        return sorted({part for part in parts.values() if isinstance(part, str) and "/" not in part})
    try:
        return sorted(each for each in os.listdir(path) if each.endswith(".safetensors"))
    except OSError:
        return ()


def _stamp(path: Path) -> Stamp | None:
    try:
        status = path.stat()
        return Stamp(path.resolve(), status.st_size, status.st_mtime_ns, (status.st_dev, status.st_ino))
    except OSError:
        return None


def _facts(config: Mapping[str, Any], weights: Iterable[Stamp], path: Path) -> Facts:
    inner = config.get("text_config")
    text: Mapping[str, Any] = {**config, **inner} if isinstance(inner, dict) else config  # of one that sees, too
    template = _template(path)
    return Facts(
        architecture=_text(config, "model_type"),
        kind=_kind(config),
        name=path.name,
        quantisation=_quantisation(config),
        weights=Bytes(sum(stamp.size for stamp in weights)),
        context_length=_count(text, "max_position_embeddings"),
        vocabulary=_count(text, "vocab_size"),
        numbers=_numbers(text),
        tools="tools" in template,
        thinking="<think>" in template,
    )


def _numbers(text: Mapping[str, Any]) -> Mapping[str, Value]:
    numbers: dict[str, Value] = {ours: _count(text, theirs) for theirs, ours in _NUMBERS.items()}
    numbers = {name: number for name, number in numbers.items() if number}
    if size := numbers.get("attention.key_length"):
        numbers["attention.value_length"] = size
    if latent := _count(text, "kv_lora_rank"):  # one compressed row for all heads (DeepSeek's MLA)
        row = latent + _count(text, "qk_rope_head_dim")
        numbers |= {"attention.head_count_kv": 1, "attention.key_length": row, "attention.value_length": 0}
    return numbers


def _kind(config: Mapping[str, Any]) -> FoundKind:
    said = config.get("architectures")
    first = said[0] if isinstance(said, list) and said and isinstance(said[0], str) else ""
    return next((kind for end, kind in _KINDS if first.endswith(end)), "unknown")


def _quantisation(config: Mapping[str, Any]) -> str:
    """Such as "awq" or "fp8"; of one that isn't quantised its type, such as "bfloat16"."""
    said = config.get("quantization_config")
    quantised = _text(said, "quant_method") if isinstance(said, dict) else ""
    return quantised or _text(config, "dtype") or _text(config, "torch_dtype")


def _template(path: Path) -> str:
    """Its chat template, as text; "" if it has none."""
    try:
        with open(path / "chat_template.jinja", encoding="utf-8", errors="replace") as file:
            return file.read(_LARGEST)
    except OSError:
        said = read_json(path / "tokenizer_config.json", _LARGEST)
        return _text(said, "chat_template") if isinstance(said, dict) else ""


def _text(table: Mapping[str, Any], key: str) -> str:
    value = table.get(key)
    return value if isinstance(value, str) else ""


def _count(table: Mapping[str, Any], key: str) -> int:
    value = table.get(key)
    return value if type(value) is int and value > 0 else 0
