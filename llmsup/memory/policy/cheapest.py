"""The cheapest set of models whose eviction makes enough room.

Cheapest means: the least loss among the most important models, then among the next, and so on; then the fewest models;
then the least memory freed beyond need; then by name, so that the same question always has the same answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from attrs import frozen

from ..amounts import ZERO, Amounts, add_up


@frozen
class Candidate:
    """A model that may be evicted.

    Attributes:
        frees: What evicting it frees in each pool.
        rank: Importance.
        eviction_cost: Its loss, in whole microseconds of reload.
    """

    name: str
    frees: Amounts
    rank: int
    eviction_cost: int


def cheapest(candidates: Sequence[Candidate], missing: Amounts, *, exact: int = 12) -> tuple[Candidate, ...]:
    """The set to evict, least important first; empty if nothing is missing, or if not even all of them are enough.

    Args:
        missing: What is missing of each pool; zero or less means that enough is free.
        exact: Up to this many candidates the answer is the optimum (2ⁿ sets), beyond that a good one (n log n).
    """
    if ZERO.covers(missing):
        return ()
    ordered = sorted(candidates, key=lambda each: (each.rank, each.eviction_cost, each.name))
    if not _freed(ordered).covers(missing):
        return ()
    return _optimum(ordered, missing) if len(ordered) <= exact else _by_rank(ordered, missing, exact)


def _freed(chosen: Sequence[Candidate]) -> Amounts:
    return add_up(each.frees for each in chosen)


def _optimum(ordered: Sequence[Candidate], missing: Amounts) -> tuple[Candidate, ...]:
    """Try every set that could still be the best: depth first, the dearest decided first."""
    ranks = sorted({each.rank for each in ordered}, reverse=True)
    dear_first = ordered[::-1]
    rest = [ZERO]
    for each in ordered:
        rest.append(rest[-1] + each.frees)
    rest.reverse()  # rest[i]: what all from dear_first[i] on would free
    best: tuple[tuple[int, ...], int, int, tuple[str, ...]] | None = None
    winner: tuple[Candidate, ...] = ()

    def visit(at: int, losses: tuple[int, ...], lacks: Amounts, chosen: tuple[Candidate, ...]) -> None:
        nonlocal best, winner
        if best is not None and losses > best[0]:
            return
        if ZERO.covers(lacks):
            key = (losses, len(chosen), -lacks.total, tuple(each.name for each in chosen))
            if best is None or key < best:
                best, winner = key, chosen
            return
        if at == len(dear_first) or not rest[at].covers(lacks):
            return
        each = dear_first[at]
        place = ranks.index(each.rank)
        visit(at + 1, losses, lacks, chosen)
        added = (*losses[:place], losses[place] + each.eviction_cost, *losses[place + 1 :])
        visit(at + 1, added, lacks - each.frees, (each, *chosen))

    visit(0, (0,) * len(ranks), missing, ())
    return winner


def _by_rank(ordered: Sequence[Candidate], missing: Amounts, exact: int) -> tuple[Candidate, ...]:
    """From the most important rank down, take only what the ranks below can't make up for."""
    groups = [list(group) for _, group in groupby(ordered, key=lambda each: each.rank)]
    chosen: list[Candidate] = []
    lacks = missing - _freed(ordered)
    while groups:
        group = groups.pop()
        lacks += _freed(group)
        if not ZERO.covers(lacks):  # all below, and what was chosen above, are not enough
            search = _optimum if len(group) <= exact else _greedy
            taken = search(group, lacks)
            chosen += taken
            lacks -= _freed(taken)
    return tuple(sorted(chosen, key=lambda each: (each.rank, each.eviction_cost, each.name)))


def _greedy(group: Sequence[Candidate], missing: Amounts) -> tuple[Candidate, ...]:
    """The best loss per useful byte first; then drop what has become superfluous; or one alone, if that is cheaper."""
    wanted = missing.max(ZERO)

    def price(each: Candidate) -> float:
        useful = sum(min(each.frees[pool] / wanted[pool], 1.0) for pool in wanted)
        return each.eviction_cost / (useful or 1e-9)

    taken: list[Candidate] = []
    lacks = missing
    for each in sorted(group, key=lambda each: (price(each), each.name)):
        if ZERO.covers(lacks):
            break
        taken.append(each)
        lacks -= each.frees
    for each in sorted(taken, key=lambda each: (-each.eviction_cost, each.name)):
        without = lacks + each.frees
        if ZERO.covers(without):
            taken.remove(each)
            lacks = without
    singles = [each for each in group if each.frees.covers(wanted)]
    single = min(singles, key=lambda each: (each.eviction_cost, each.frees.total, each.name), default=None)
    if single is not None and single.eviction_cost <= sum(each.eviction_cost for each in taken):
        return (single,)
    return tuple(taken)
