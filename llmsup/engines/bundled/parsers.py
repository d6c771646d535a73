"""Parsers for the bundled engine's flags, and the parameters that need more than one attribute set.

This doesn't import xllamacpp: members of its enumerations are kept by name.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, NamedTuple

Reader = Callable[[str], object]
"""Parses one word of a command line. Raises ValueError; `expected` words what it would have accepted."""

Place = str | Callable[[Any, Any, Any], None]
"""A dotted attribute of `CommonParams`, or a function that gets the module xllamacpp, the `CommonParams`, the value."""


class Member(NamedTuple):
    """A member of one of xllamacpp's enumerations, by name."""

    enum: str
    name: str


def member(engine: Any, value: object) -> object:
    """Return the value itself, or an enumeration member's number."""
    return int(getattr(getattr(engine, value.enum), value.name)) if isinstance(value, Member) else value


class Choice:
    """Parses one of a few words."""

    def __init__(self, **meanings: object) -> None:
        self.meanings = {word.strip("_").replace("_and_", "+").replace("__", "-"): to for word, to in meanings.items()}

    def __call__(self, word: str) -> object:
        if word not in self.meanings:
            raise ValueError(word)
        return self.meanings[word]


def _enum(enum: str, **names: str) -> Choice:
    return Choice(**{word: Member(enum, f"{enum.upper()}_{name}") for word, name in names.items()})


ON_OFF = Choice(on=True, off=False)
FLASH_ATTENTION = _enum("llama_flash_attn_type", on="ENABLED", off="DISABLED", auto="AUTO")
POOLING = _enum("llama_pooling_type", none="NONE", mean="MEAN", cls="CLS", last="LAST", rank="RANK")
REASONING_FORMAT = _enum(
    "common_reasoning_format",
    none="NONE",
    auto="AUTO",
    deepseek="DEEPSEEK",
    deepseek__legacy="DEEPSEEK_LEGACY",
)
CACHE_TYPE = _enum(
    "ggml_type",
    **{name: name.upper() for name in ("f32", "f16", "bf16", "q8_0", "q4_0", "q4_1", "iq4_nl", "q5_0", "q5_1")},
)
LOAD_MODE = Choice(
    **{word: word for word in ("auto", "none", "mmap", "mlock")}, mmap_and_mlock="mmap_mlock", dio="direct_io"
)


def layers(word: str) -> int:
    """Parse the layers on the GPU: a number, "auto" or "all"."""
    return {"auto": -1, "all": -2}.get(word) or int(word)


def seed(word: str) -> int:
    """Parse a seed; -1 (a random one) becomes the largest value of the unsigned field."""
    return int(word) & 0xFFFFFFFF


def template_kwargs(word: str) -> dict[str, str]:
    """Parse a JSON object; the engine expects each of its values as JSON text."""
    parsed = json.loads(word)
    if not isinstance(parsed, dict):
        raise ValueError(word)  # noqa: TRY004 (readers raise one kind of error)
    return {name: json.dumps(value) for name, value in parsed.items()}


def expected(read: Reader) -> str:
    """Say what a reader accepts, for a message: "a whole number"."""
    if isinstance(read, Choice):
        return f"one of {', '.join(read.meanings)}"
    return {
        int: "a whole number",
        float: "a number",
        layers: 'a whole number, "auto" or "all"',
        seed: "a whole number",
    }.get(read, "a JSON object")


# --- more than one attribute to set, or renamed in xllamacpp between 2026.5 and 2026.10 --------------------------


def set_host(_engine: Any, params: Any, value: str) -> None:
    """Set where to listen: an address, or the path of a Unix socket, which ends in ".sock"."""
    if hasattr(params, "hostnames"):
        params.hostnames = [value]
    else:
        params.hostname = value


def set_alias(_engine: Any, params: Any, value: str) -> None:
    """Set the model's name in answers."""
    params.model_alias = {value}


def set_rerank(engine: Any, params: Any, _value: object) -> None:
    """Set up reranking: an embedding model that pools by rank."""
    params.embedding = True
    params.pooling_type = int(engine.llama_pooling_type.LLAMA_POOLING_TYPE_RANK)


def set_ui(_engine: Any, params: Any, value: bool) -> None:
    """Set whether the web UI is served."""
    setattr(params, "ui" if hasattr(params, "ui") else "webui", value)


def set_load_mode(engine: Any, params: Any, value: str) -> None:
    """Set how the weights are loaded into memory."""
    if hasattr(params, "load_mode"):
        params.load_mode = int(getattr(engine.llama_load_mode, f"LLAMA_LOAD_MODE_{value.upper()}"))
    else:
        params.use_mmap = value not in ("none", "direct_io")
        params.use_mlock = value in ("mlock", "mmap_mlock")
