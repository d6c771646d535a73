"""The contents of a GGUF's header, and the sizes of the tensor types."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import frozen

from ...units import Bytes
from .facts import Value

BLOCKS: Mapping[int, tuple[str, int, int]] = {
    0: ("F32", 1, 4),
    1: ("F16", 1, 2),
    2: ("Q4_0", 32, 18),
    3: ("Q4_1", 32, 20),
    6: ("Q5_0", 32, 22),
    7: ("Q5_1", 32, 24),
    8: ("Q8_0", 32, 34),
    9: ("Q8_1", 32, 36),
    10: ("Q2_K", 256, 84),
    11: ("Q3_K", 256, 110),
    12: ("Q4_K", 256, 144),
    13: ("Q5_K", 256, 176),
    14: ("Q6_K", 256, 210),
    15: ("Q8_K", 256, 292),
    16: ("IQ2_XXS", 256, 66),
    17: ("IQ2_XS", 256, 74),
    18: ("IQ3_XXS", 256, 98),
    19: ("IQ1_S", 256, 50),
    20: ("IQ4_NL", 32, 18),
    21: ("IQ3_S", 256, 110),
    22: ("IQ2_S", 256, 82),
    23: ("IQ4_XS", 256, 136),
    24: ("I8", 1, 1),
    25: ("I16", 1, 2),
    26: ("I32", 1, 4),
    27: ("I64", 1, 8),
    28: ("F64", 1, 8),
    29: ("IQ1_M", 256, 56),
    30: ("BF16", 1, 2),
    # 31 to 33 were Q4_0 rearranged for CPUs: written until November 2024, no longer readable.
    31: ("Q4_0_4_4", 32, 18),
    32: ("Q4_0_4_8", 32, 18),
    33: ("Q4_0_8_8", 32, 18),
    34: ("TQ1_0", 256, 54),
    35: ("TQ2_0", 256, 66),
    39: ("MXFP4", 32, 17),
    40: ("NVFP4", 64, 36),
    41: ("Q1_0", 128, 18),
    42: ("Q2_0", 64, 18),
}
"""By the number of a tensor's type: its name, elements per block, bytes per block (ggml.c, type_traits)."""


class BadGguf(Exception):
    """The file isn't a GGUF, or is incomplete; `reason` is a clause: "it ends within its tensor table"."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@frozen
class Tensor:
    """One line of the tensor table.

    Attributes:
        name: As in the file: `blk.0.attn_q.weight`.
        shape: Elements in each dimension, the row's length first.
        type: `Q4_K`, or `type 77` for an unknown type.
        bytes: Its size in the file; for an unknown type, everything up to the next tensor.
    """

    name: str
    shape: tuple[int, ...]
    type: str
    bytes: Bytes


@frozen
class Header:
    """Everything in a file except the tensors' data and long arrays.

    Attributes:
        version: The format's version: 2 or 3.
        big_endian: The byte order; llama.cpp reads only that of its machine.
        metadata: Scalars, strings and short arrays by their full key.
        counts: The length of every array, including those that are not in `metadata`.
        tensors: In the order of the table.
    """

    version: int
    big_endian: bool
    metadata: Mapping[str, Value]
    counts: Mapping[str, int]
    tensors: tuple[Tensor, ...]
