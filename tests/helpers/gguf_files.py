"""GGUF files made by the tests: real headers, and tensors that are holes in a sparse file."""

from __future__ import annotations

import math
import shutil
import struct
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

# type number -> (elements of a block, bytes of a block), as in ggml.c's type_traits
TYPES = {"F32": (0, 1, 4), "F16": (1, 1, 2), "Q4_0": (2, 32, 18), "Q4_1": (3, 32, 20), "Q8_0": (8, 32, 34),
         "Q4_K": (12, 256, 144), "Q5_K": (13, 256, 176), "Q6_K": (14, 256, 210), "IQ4_XS": (23, 256, 136),
         "BF16": (30, 1, 2), "MXFP4": (39, 32, 17), "type 77": (77, 4, 3)}  # fmt: skip

Tensors = Iterable[tuple[str, tuple[int, ...], str]]


def write_gguf(
    path: Path,
    metadata: Mapping[str, Any],
    tensors: Tensors = (),
    *,
    version: int = 3,
    big_endian: bool = False,
    alignment: int = 32,
) -> Path:
    """Write one: ints become uint32 (int32 below 0, uint64 if large), lists arrays, the tensors a hole."""
    order = ">" if big_endian else "<"
    tensors = list(tensors)

    def text(value: str) -> bytes:
        data = value.encode()
        return struct.pack(f"{order}Q", len(data)) + data

    def typed(value: Any) -> tuple[int, bytes]:
        match value:
            case bool():
                return 7, struct.pack("?", value)
            case int() if value < 0:
                return 5, struct.pack(f"{order}i", value)
            case int() if value < 2**32:
                return 4, struct.pack(f"{order}I", value)
            case int():
                return 10, struct.pack(f"{order}Q", value)
            case float():
                return 6, struct.pack(f"{order}f", value)
            case str():
                return 8, text(value)
            case list() | tuple():
                kinds = [typed(item) for item in value]
                kind = kinds[0][0] if kinds else 4
                assert all(k == kind for k, _ in kinds), "one type per array"
                return 9, struct.pack(f"{order}IQ", kind, len(kinds)) + b"".join(data for _, data in kinds)
        raise TypeError(value)

    head = bytearray(b"GGUF")
    head += struct.pack(f"{order}IQQ", version, len(tensors), len(metadata))
    for key, value in metadata.items():
        kind, data = typed(value)
        head += text(key) + struct.pack(f"{order}I", kind) + data
    offset = 0
    for name, shape, type_ in tensors:
        number, block, size = TYPES[type_]
        head += text(name) + struct.pack(f"{order}I{len(shape)}QIQ", len(shape), *shape, number, offset)
        offset += -(-(math.prod(shape) // block * size) // alignment) * alignment
    head += b"\0" * (-len(head) % alignment)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.write(head)
        file.truncate(len(head) + offset)
    return path


def tiny_llama(path: Path, *, name: str = "Tiny", **more: Any) -> Path:
    """A small chat model's header."""
    return sized_llama(path, 3, {"general.name": name, **more})


def sized_llama(path: Path, rows: int, more: Mapping[str, Any]) -> Path:
    """The same with so many rows in its first tensor, each of which makes the file 512 bytes larger."""
    metadata = {
        "general.architecture": "llama",
        "general.type": "model",
        "general.file_type": 15,  # Q4_K_M
        "llama.block_count": 2,
        "llama.context_length": 4096,
        "llama.embedding_length": 256,
        "llama.feed_forward_length": 512,
        "llama.attention.head_count": 4,
        "llama.attention.head_count_kv": 2,
        "llama.attention.layer_norm_rms_epsilon": 1e-5,
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.tokens": ["a", "b", "c"],
        "tokenizer.chat_template": "{{ messages }}",
        **more,
    }
    tensors = [("token_embd.weight", (256, rows), "F16"), ("blk.0.attn_q.weight", (256, 256), "Q4_K")]
    return write_gguf(path, metadata, tensors)


def slow_to_read(root: Path, count: int) -> None:
    """So many models, with vocabularies that take a while to read: enough to see a first look go on."""
    first = root / "pub/m0/m0.gguf"
    words = [f"token{number}" for number in range(100_000)]
    large: dict[str, Any] = {"tokenizer.ggml.tokens": words, "tokenizer.ggml.merges": words}
    tiny_llama(first, **large)
    for number in range(1, count):
        copy = root / f"pub/m{number}/m{number}.gguf"
        copy.parent.mkdir()
        shutil.copyfile(first, copy)
