"""Summarises a header: picks what is worth keeping of all that a GGUF says about itself."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping

from ...units import Bytes
from .facts import Facts, Value
from .purpose import kind_of, number, role_of, text
from .types import Header

FILE_TYPES: Mapping[int, str] = {
    0: "F32",
    1: "F16",
    2: "Q4_0",
    3: "Q4_1",
    4: "Q4_1",  # with some F16; no longer written
    7: "Q8_0",
    8: "Q5_0",
    9: "Q5_1",
    10: "Q2_K",
    11: "Q3_K_S",
    12: "Q3_K_M",
    13: "Q3_K_L",
    14: "Q4_K_S",
    15: "Q4_K_M",
    16: "Q5_K_S",
    17: "Q5_K_M",
    18: "Q6_K",
    19: "IQ2_XXS",
    20: "IQ2_XS",
    21: "Q2_K_S",
    22: "IQ3_XS",
    23: "IQ3_XXS",
    24: "IQ1_S",
    25: "IQ4_NL",
    26: "IQ3_S",
    27: "IQ3_M",
    28: "IQ2_S",
    29: "IQ2_M",
    30: "IQ4_XS",
    31: "IQ1_M",
    32: "BF16",
    33: "Q4_0_4_4",
    34: "Q4_0_4_8",
    35: "Q4_0_8_8",
    36: "TQ1_0",
    37: "TQ2_0",
    38: "MXFP4",  # MXFP4_MOE
    39: "NVFP4",
    40: "Q1_0",
    41: "Q2_0",
}
"""Quantisations by `general.file_type` (llama.cpp include/llama.h, enum llama_ftype)."""

_GENERAL = re.compile(
    r"general\.(?:type|file_type|size_label|basename|finetune|version|organization|parameter_count"
    r"|base_model\.(?:count|0\..+))"
)
_OTHERS = ("split.", "clip.", "adapter.")
_BETWEEN = ("mm.", "resampler.", "adapter.")
_LAYER = re.compile(r"((?:\w+\.)*)(?:blk|\w*blocks|layers?)\.\d+\.(.+)")

# Real models stay far below these; they keep a malicious file from filling the cache.
_MOST_NUMBERS, _MOST_ITEMS, _MOST_NAMES = 256, 8192, 256
_LONGEST = 200


def summarise(header: Header, file_size: int, *, file_name: str = "") -> Facts:
    """Keep what matters.

    `numbers` has the architecture's own values without its prefix, and those of `general.`, `split.`, `clip.` and
    `adapter.` that show which files belong together, by their full key.

    Args:
        file_size: In bytes; the weights never count for more, as tensors may share their data.
        file_name: Considered where the header is silent.
    """
    architecture = text(header, "general.architecture")
    role = role_of(header, file_name)
    kind, pooling = kind_of(header, file_name) if role == "model" else ("unknown", "")
    vocabulary = number(header, f"{architecture}.vocab_size") or header.counts.get("tokenizer.ggml.tokens", 0)
    named, layer_tensors = _tensors(header)
    template = _template(header)
    return Facts(
        architecture=_clean(architecture),
        role=role,
        kind=kind,
        pooling=pooling,
        name=_clean(text(header, "general.name")),
        quantisation=_quantisation(header),
        parameters=min(sum(math.prod(tensor.shape) for tensor in header.tensors), 2**63 - 1),
        weights=Bytes(min(sum(tensor.bytes for tensor in header.tensors), file_size)),
        context_length=number(header, f"{architecture}.context_length"),
        vocabulary=vocabulary,
        numbers=_numbers(header, f"{architecture}."),
        named=named,
        layer_tensors=layer_tensors,
        split=_split(header),
        tools="tools" in template or "tool_call" in template,
        thinking="<think>" in template,
        vision_inside=role == "model" and _sees(header, architecture),
        widths=_widths(header) if role == "projector" else frozenset(),
    )


def _clean(text: str) -> str:
    """Printable text: the name in a header may contain anything."""
    return "".join(char if char.isprintable() else " " for char in text[:_LONGEST]).strip()


def _template(header: Header) -> str:
    """All its chat templates; some models have a second one for tools."""
    return "\n".join(text(header, key) for key in header.metadata if key.startswith("tokenizer.chat_template"))


def _quantisation(header: Header) -> str:
    declared = header.metadata.get("general.file_type")
    if isinstance(declared, int) and not isinstance(declared, bool) and declared in FILE_TYPES:
        return FILE_TYPES[declared]
    sizes: Counter[str] = Counter()
    for tensor in header.tensors:
        if not tensor.type.startswith("type "):
            sizes[tensor.type] += tensor.bytes
    return max(sizes, key=sizes.__getitem__, default="")


def _numbers(header: Header, prefix: str) -> dict[str, Value]:
    kept: dict[str, Value] = {}
    items = _MOST_ITEMS
    for key, value in header.metadata.items():
        if prefix != "." and key.startswith(prefix):
            short = key.removeprefix(prefix)
        elif key.startswith(_OTHERS) or _GENERAL.fullmatch(key):
            short = key
        else:
            continue
        items -= len(value) if isinstance(value, tuple) else 1
        if len(short) > _LONGEST or not short.isprintable() or items < 0 or len(kept) >= _MOST_NUMBERS:
            continue
        sayable = _sayable(value)
        if sayable is not None:
            kept[short] = sayable
    return kept


def _sayable(value: Value) -> Value | None:
    """A value that can be stored as JSON and shown in a terminal; None if it can't."""
    if isinstance(value, tuple):
        items = tuple(_sayable(item) for item in value)
        return None if None in items else items  # type: ignore[return-value]  # an item is never a tuple
    if isinstance(value, str):
        return _clean(value)
    return value if math.isfinite(value) else None


def _tensors(header: Header) -> tuple[dict[str, int], frozenset[str]]:
    """The sizes of the tensors outside the layers, largest first, and the names of those inside."""
    named: dict[str, int] = {}
    layers: set[str] = set()
    for tensor in header.tensors:
        if match := _LAYER.fullmatch(tensor.name):
            layers.add(_clean(match[1] + match[2]))
        else:
            named[_clean(tensor.name)] = tensor.bytes
    largest = sorted(named, key=named.__getitem__, reverse=True)[:_MOST_NAMES]
    return {name: named[name] for name in largest}, frozenset(sorted(layers)[:_MOST_NAMES])


def _widths(header: Header) -> frozenset[int]:
    """The dimensions of the tensors between a projector's encoders and the model (llama.cpp tools/mtmd/clip-impl.h)."""
    between = (tensor for tensor in header.tensors if tensor.name.startswith(_BETWEEN))
    return frozenset(sorted({size for tensor in between for size in tensor.shape})[-_MOST_NAMES:])


def _split(header: Header) -> tuple[int, int]:
    part, count = number(header, "split.no"), number(header, "split.count")
    return (part, count) if part < count < 2**16 else (0, 1)  # both are 16 bits wide (llama.cpp's gguf-split)


def _sees(header: Header, architecture: str) -> bool:
    if number(header, f"{architecture}.vision.block_count"):
        return True
    return any(tensor.name.startswith(("v.", "mm.")) for tensor in header.tensors)
