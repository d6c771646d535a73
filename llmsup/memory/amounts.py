"""Bytes by pool: what a model takes, what is free, what is missing. Every sum about memory is one of these."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Final, final

from ..units import format_bytes

HOST: Final = "host"
"""The machine's own memory."""

CEILING: Final = "ceiling"
"""Not a memory, but a bound: what all models together may use, in whichever memory ([memory] limit)."""

HOST_CEILING: Final = "host ceiling"
"""Another bound: what all models together may use of the machine's own memory, where devices have memory besides."""

REMOTE: Final = "rpc:"
"""What the pools of RPC workers begin with: memory that isn't this machine's, and isn't bounded by the ceiling."""


def worker_pool(name: str) -> str:
    """The pool that is the memory of an RPC worker."""
    return f"{REMOTE}{name}"


def is_remote(pool: str) -> bool:
    """Whether a pool is the memory of an RPC worker."""
    return pool.startswith(REMOTE)


_NOTHING: Final[Mapping[str, int]] = MappingProxyType({})


@final
class Amounts:
    """A number of bytes for each pool, zero for any pool that isn't named; negative means lacking.

    Immutable, and compared by value: a pool with zero bytes isn't kept.
    """

    __slots__ = ("_bytes",)  # nothing here changes it; attrs' frozen takes longer, and a decision makes many of these

    def __init__(self, by_pool: Mapping[str, int] = _NOTHING) -> None:
        empty = 0 in by_pool.values()
        self._bytes = {pool: size for pool, size in by_pool.items() if size} if empty else dict(by_pool)

    def __getitem__(self, pool: str) -> int:
        return self._bytes.get(pool, 0)

    def __iter__(self) -> Iterator[str]:
        """The pools whose amount isn't zero."""
        return iter(self._bytes)

    def __bool__(self) -> bool:
        return bool(self._bytes)

    def __add__(self, other: Amounts) -> Amounts:
        return add_up((self, other)) if other._bytes else self

    def __sub__(self, other: Amounts) -> Amounts:
        if not other._bytes:
            return self
        left = dict(self._bytes)
        for pool, size in other._bytes.items():
            left[pool] = left.get(pool, 0) - size
        return Amounts(left)

    def covers(self, other: Amounts) -> bool:
        """Whether there is at least as much of every pool."""
        ours, theirs = self._bytes, other._bytes
        for pool, size in theirs.items():
            if ours.get(pool, 0) < size:
                return False
        return not ours or all(size > 0 or pool in theirs for pool, size in ours.items())

    def max(self, other: Amounts) -> Amounts:
        """Of each pool the larger of the two; with `ZERO`, what is not below zero."""
        return Amounts({pool: max(self[pool], other[pool]) for pool in (*self, *other)})

    def within(self, pools: Collection[str]) -> Amounts:
        """The part of it that is in these pools."""
        return Amounts({pool: size for pool, size in self._bytes.items() if pool in pools})

    @property
    def total(self) -> int:
        """Of all pools together."""
        return sum(self._bytes.values())

    @property
    def here(self) -> int:
        """Of all pools of this machine together."""
        return sum(size for pool, size in self._bytes.items() if not is_remote(pool))

    def __eq__(self, other: object) -> bool:
        return self._bytes == other._bytes if isinstance(other, Amounts) else NotImplemented

    def __hash__(self) -> int:
        return hash(frozenset(self._bytes.items()))

    def __repr__(self) -> str:
        parts = [f"{pool} {format_bytes(size)}" for pool, size in self._bytes.items()]
        return f"<{', '.join(parts) or 'nothing'}>"


ZERO: Final = Amounts()


def add_up(amounts: Iterable[Amounts]) -> Amounts:
    """The sum of any number of them."""
    together: dict[str, int] = {}
    for each in amounts:
        for pool, size in each._bytes.items():
            together[pool] = together.get(pool, 0) + size
    return Amounts(together)
