"""Reads a GGUF's header, without the weights. Files are not trusted.

The format: ggml's docs/gguf.md; what llama.cpp accepts: ggml/src/gguf.cpp.
"""

from __future__ import annotations

import math
import os
import stat
import struct
from bisect import bisect_right
from pathlib import Path

from ...units import Bytes, format_bytes
from .facts import Scalar, Value
from .types import BLOCKS, BadGguf, Header, Tensor
from .window import Read, Window, open_regular

__all__ = ["BadGguf", "Header", "Tensor", "header_in", "read_header"]

MOST_KEYS = 16_384
MOST_TENSORS = 32_768
MOST_STRINGS = 4 << 20
"""Strings in all arrays together; a vocabulary of 262,144 tokens with its merges has 0.8 million."""

_KEY = 64 << 10
_NAME = 1 << 10
_STRING = 64 << 10
_TEMPLATE = 1 << 20
_LONG_STRING = 1 << 10
_NUMBERS, _STRINGS = 1024, 64
_DIMENSIONS = 4
_LARGEST = 2**63

_CODES = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_TEXT, _ARRAY = 8, 9


def read_header(path: Path) -> Header:
    """Read a file's header.

    Takes some 10 ms, and at most 64 MiB of memory, whatever the file says. Strings are cut after 64 KiB, chat
    templates after 1 MiB; arrays of more than 1024 numbers or 64 strings are only counted.

    Raises:
        BadGguf: It isn't a GGUF, or is incomplete.
        OSError: It can't be read.
    """
    file = open_regular(path)
    try:
        status = os.fstat(file)
        if not stat.S_ISREG(status.st_mode):
            raise BadGguf("it is not a regular file")
        return header_in(lambda length, offset: os.pread(file, length, offset), status.st_size)
    finally:
        os.close(file)


def header_in(read: Read, size: int) -> Header:
    """The same of a file that is somewhere else.

    Args:
        read: Reads a part of it; what that raises is passed on.
        size: The whole file's, in bytes.

    Raises:
        BadGguf: It isn't a GGUF, or is incomplete.
    """
    window = Window(read, size)
    version = _version(window)
    tensor_count, key_count = window.unpack("QQ")
    if key_count > MOST_KEYS:
        raise BadGguf(f"it claims {key_count} keys, and no model has more than {MOST_KEYS}")
    if tensor_count > MOST_TENSORS:
        raise BadGguf(f"it claims {tensor_count} tensors, and no model has more than {MOST_TENSORS}")
    metadata, counts = _metadata(window, key_count)
    window.part = "tensor table"
    tensors = _tensors(window, tensor_count, metadata.get("general.alignment", 32))
    return Header(version, window.order == ">", metadata, counts, tensors)


def _version(window: Window) -> int:
    """The format's version; it also reveals the byte order, as a small number looks huge in the wrong one."""
    if not window.size:
        raise BadGguf("it is empty")
    magic = window.take(min(4, window.size))
    if magic != b"GGUF":
        raise BadGguf(f"it is not a GGUF: it begins with {magic!r}")
    version: int = window.unpack("I")[0]
    if version and not version & 0xFFFF:
        window.order = ">"
        (version,) = struct.unpack(">I", struct.pack("<I", version))
    if version not in (2, 3):
        known = "which llama.cpp reads no longer" if version == 1 else "and only 2 and 3 are known"
        raise BadGguf(f"it is GGUF version {version}, {known}")
    return version


def _metadata(window: Window, count: int) -> tuple[dict[str, Value], dict[str, int]]:
    """The values that are kept, and the length of every array. llama.cpp refuses duplicate keys; here the last one
    counts.
    """
    window.part = "metadata"
    metadata: dict[str, Value] = {}
    counts: dict[str, int] = {}
    strings = MOST_STRINGS
    for _ in range(count):
        key = window.string(_KEY)
        (kind,) = window.unpack("I")
        if kind != _ARRAY:
            metadata[key] = _scalar(window, kind, key)
            continue
        kind, length = window.unpack("IQ")
        counts[key] = length
        if kind == _TEXT:
            strings -= length
            if strings < 0:
                raise BadGguf(f"its key {key[:80]!r} claims {length} strings, and no vocabulary is as large")
        value = _array(window, kind, length, key)
        if value is not None:
            metadata[key] = value
    return metadata, counts


def _scalar(window: Window, kind: int, key: str) -> Scalar:
    if kind == _TEXT:
        return window.string(_TEMPLATE if key.startswith("tokenizer.chat_template") else _STRING)
    (value,) = window.unpack(_code(kind, key))
    return value  # type: ignore[no-any-return]  # struct gives what its format says: a number or a bool


def _array(window: Window, kind: int, length: int, key: str) -> Value | None:
    """An array if it is short, else None; it is consumed in any case."""
    if kind == _ARRAY:
        raise BadGguf(f"its key {key[:80]!r} holds an array of arrays")
    if kind == _TEXT:
        if length <= _STRINGS:
            return tuple(window.string(_LONG_STRING) for _ in range(length))
        window.skip_strings(length)
        return None
    code = _code(kind, key)
    if length <= _NUMBERS:
        window.keep(100 + 40 * length)
        return tuple(window.unpack(f"{length}{code}"))
    window.skip(length * struct.calcsize(f"<{code}"))
    return None


def _code(kind: int, key: str) -> str:
    code = _CODES.get(kind)
    if code is None:
        raise BadGguf(f"its key {key[:80]!r} is of the unknown type {kind}")
    return code


def _tensors(window: Window, count: int, alignment: Value) -> tuple[Tensor, ...]:
    """The tensor table; all the data that it refers to is checked to be within the file."""
    if not isinstance(alignment, int) or alignment <= 0 or alignment & (alignment - 1):
        raise BadGguf(f"its general.alignment is {str(alignment)[:80]!r} instead of a power of two")
    table: list[tuple[str, list[int], int, int]] = []
    for _ in range(count):
        name = window.string(_NAME)
        (dimensions,) = window.unpack("I")
        if dimensions > _DIMENSIONS:
            raise BadGguf(f"its tensor {name[:80]!r} has {dimensions} dimensions")
        *shape, kind, offset = window.unpack(f"{dimensions}QIQ")
        if math.prod(shape) >= _LARGEST or offset >= _LARGEST:
            raise BadGguf(f"its tensor {name[:80]!r} is larger than any file")
        window.keep(500)
        table.append((name, shape, kind, offset))
    if not table:
        return ()
    start = -(-window.position // alignment) * alignment
    offsets = sorted({offset for *_, offset in table})
    tensors: list[Tensor] = []
    needed = 0
    for name, shape, kind, offset in table:
        type_, block, block_bytes = BLOCKS.get(kind, (f"type {kind}", 0, 0))
        if block:
            size = -(-math.prod(shape) // block) * block_bytes
        else:
            after = bisect_right(offsets, offset)
            size = max(0, (offsets[after] if after < len(offsets) else window.size - start) - offset)
        needed = max(needed, start + offset + size)
        tensors.append(Tensor(name, tuple(shape), type_, Bytes(size)))
    if needed > window.size:
        raise BadGguf(f"it is cut short: {_both(window.size, needed)} are there")
    return tuple(tensors)


def _both(size: int, needed: int) -> str:
    """Two sizes for people; in bytes if they would otherwise read the same."""
    there, whole = format_bytes(size), format_bytes(needed)
    return f"{there} of {whole}" if there != whole else f"{size} of {needed} bytes"
