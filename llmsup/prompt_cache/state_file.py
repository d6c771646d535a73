"""The file that llama.cpp writes for a slot, as far as we look into it: which tokens it is about.

llama.cpp src/llama-context.cpp, `state_seq_save_file`: "GGSQ" read as a little-endian number, a version, how many
tokens, the tokens, the state. Newer servers pack more into the place of the tokens (tools/server, `server_tokens`): -1,
a version, how many tokens, the tokens, what images there are.
"""

from __future__ import annotations

import struct
from array import array
from pathlib import Path

_HEAD = struct.Struct("<III")
_MAGIC = 0x67677371
_MOST = 16 * 1024**2
"""More tokens than any context has."""

Tokens = array  # of signed 32-bit integers


def tokens_of(path: Path) -> Tokens[int] | None:
    """Return the tokens of a saved slot; None if the file isn't understood: it may still be fine, for the engine.

    Raises:
        OSError: It can't be read.
    """
    with path.open("rb") as file:
        head = file.read(_HEAD.size)
        if len(head) < _HEAD.size:
            return None
        magic, _version, number = _HEAD.unpack(head)
        if magic != _MAGIC or number > _MOST:
            return None
        data = file.read(4 * number)
    tokens = array("i")
    if tokens.itemsize != 4 or len(data) < 4 * number:
        return None
    tokens.frombytes(data)
    if struct.pack("=I", 1) != struct.pack("<I", 1):
        tokens.byteswap()
    if number >= 3 and tokens[0] == -1:
        number = tokens[2]
        return tokens[3 : 3 + number] if 0 <= number <= len(tokens) - 3 else None
    return tokens


def shared(one: Tokens[int], other: Tokens[int]) -> int:
    """How many tokens two begin with alike."""
    least, most = 0, min(len(one), len(other))
    while least < most:
        middle = (least + most + 1) // 2
        if one[least:middle] == other[least:middle]:
            least = middle
        else:
            most = middle - 1
    return least
