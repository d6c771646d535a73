"""Keyed hashes, of anything and of a text's blocks, in short steps.

The key is made anew by each process, so that the hashes tell nobody anything: not even whether a known text is in them.
"""

from __future__ import annotations

import os
from array import array
from bisect import bisect_left
from hashlib import blake2b
from itertools import pairwise
from typing import Protocol

from ...engines.http import Buffer
from .pieces import STEP, Steps

_KEY = os.urandom(32)

SMALL_BLOCK = 64
"""Bytes of a message's first blocks, so that the place of a difference is known so well."""

TEXT_BLOCK = 1024
"""The same for a prompt that is one text."""

_LONGEST = 2**32
"""Bytes of a text up to which its blocks are counted: no body is larger."""


def digest(data: Buffer) -> bytes:
    """The keyed hash of something short."""
    return blake2b(data, key=_KEY, digest_size=16).digest()


class Hash(Protocol):
    """A hash that grows."""

    def update(self, data: Buffer, /) -> None:
        """Add something."""

    def digest(self) -> bytes:
        """The hash of all so far."""


def long_digest(data: Buffer) -> Steps[bytes]:
    """The same as `digest` of one part of any length, in steps."""
    if len(data) <= STEP:
        return digest(data)
    whole = blake2b(key=_KEY, digest_size=16)
    yield from feed(whole, memoryview(data))
    return whole.digest()


def feed(whole: Hash, view: memoryview) -> Steps[None]:
    """Add something of any length to a hash, in steps."""
    for at in range(0, len(view), STEP):
        if at:
            yield
        whole.update(view[at : at + STEP])


def _starts(smallest: int) -> tuple[int, ...]:
    found = [0]
    while found[-1] < _LONGEST:
        found.append(found[-1] + max(smallest, found[-1] // 8 // smallest * smallest))
    return tuple(found)


_STARTS = {smallest: _starts(smallest) for smallest in (SMALL_BLOCK, TEXT_BLOCK)}


def bounds(size: int, smallest: int) -> tuple[int, ...]:
    """Where the blocks of a text begin, and its end: small ones first, then an eighth of what came before."""
    starts = _STARTS[smallest]
    return (*starts[: max(bisect_left(starts, size), 1)], size)


def new_hash() -> Hash:
    """A hash that grows."""
    return blake2b(key=_KEY, digest_size=16)


def blocks_of(text: Buffer) -> bytes:
    """Hash a text's blocks. Many are needed, so this is Python's SipHash, a tenth of BLAKE2's price for so few bytes.

    It begins with our own key, as PYTHONHASHSEED may have taken away Python's.
    """
    ends, data = bounds(len(text), SMALL_BLOCK), bytes(text)
    return array("q", [hash(_KEY + data[begin:end]) for begin, end in pairwise(ends)]).tobytes() if data else b""
