"""What is kept of a GGUF's header: enough to derive kind, flags and memory without opening the file again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from attrs import Factory, frozen

from ...units import Bytes

Role = Literal["model", "projector", "adapter", "draft", "imatrix"]
"""What a GGUF is for: only a model can be served; projectors and adapters belong to one."""

FoundKind = Literal["chat", "embedding", "rerank", "unknown"]

Scalar = int | float | bool | str
Value = Scalar | tuple[Scalar, ...]


@frozen(kw_only=True)
class Facts:
    """One file's header, summarised.

    Attributes:
        architecture: `general.architecture`: "qwen3", "clip", ...
        role: What the file is for.
        kind: What a model can do; "unknown": nothing that llama.cpp's server offers.
        pooling: For an embedding or rerank model: "mean", "cls", "last", "rank"; "" if the header doesn't say.
        name: `general.name`, or "".
        quantisation: In the usual notation, "Q4_K_M"; "" if the header doesn't say.
        parameters: Elements of all tensors in this file.
        weights: Bytes of all tensors in this file.
        context_length: Tokens that it was trained for; 0 if the header doesn't say.
        vocabulary: Number of tokens; 0 if the header has none.
        numbers: The architecture's short values, without its prefix: `block_count`, `attention.head_count_kv`.
        named: Bytes of the tensors that belong to no layer, by name: `token_embd.weight`, `output.weight`.
        layer_tensors: Names of the layers' tensors without their number, each once: `attn_k_b.weight`.
        split: Which part (from 0) of how many this file is; (0, 1) if it isn't split.
        tools: Whether that template mentions tools.
        thinking: Whether it mentions <think>.
        vision_inside: A projector's tensors are in the model's own file, which only Ollama's build can read.
        widths: Of a projector: every dimension of the tensors after its encoders; the model's width is one of them.
    """

    architecture: str
    role: Role = "model"
    kind: FoundKind = "unknown"
    pooling: str = ""
    name: str = ""
    quantisation: str = ""
    parameters: int = 0
    weights: Bytes = Bytes(0)
    context_length: int = 0
    vocabulary: int = 0
    numbers: Mapping[str, Value] = Factory(dict)
    named: Mapping[str, int] = Factory(dict)
    layer_tensors: frozenset[str] = frozenset()
    split: tuple[int, int] = (0, 1)
    tools: bool = False
    thinking: bool = False
    vision_inside: bool = False
    widths: frozenset[int] = frozenset()
