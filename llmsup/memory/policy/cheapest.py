"""The cheapest set of models whose going makes enough room.

It does not know who may be a candidate, nor what the room is for.

Cheapest is: the least loss among the most important, then among the next, and so on; then the fewest; then the least
memory freed beyond need; then by name, so that the same question always has the same answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from attrs import frozen


@frozen
class Candidate:
    """One that may go.

    Attributes:
        cost: Bytes that it counts for under the ceiling.
        freeable: Bytes that the machine gets back.
        rank: Importance.
        points: Its loss, as a whole number (`worth.points`).
    """

    name: str
    cost: int
    freeable: int
    rank: int
    points: int


@frozen
class Deficit:
    """What is missing: under the ceiling, and of the memory that is really there. Not positive: nothing is.

    They are two, because a model may count for more than it gives back (its file's pages are the system's), or less.
    """

    cost: int
    freeable: int

    def met(self) -> bool:
        """Whether nothing is missing."""
        return self.cost <= 0 and self.freeable <= 0

    def less(self, cost: int, freeable: int) -> Deficit:
        """What is still missing when this much is gone."""
        return Deficit(self.cost - cost, self.freeable - freeable)


NOTHING = Deficit(0, 0)


def cheapest(candidates: Sequence[Candidate], deficit: Deficit, *, exact: int = 12) -> tuple[Candidate, ...]:
    """The set to evict, least important first; empty if nothing is missing, or if not even all of them are enough.

    Args:
        exact: Up to so many candidates the answer is the optimum (2ⁿ sets), beyond it is a good one (n log n).
    """
    if deficit.met():
        return ()
    ordered = sorted(candidates, key=lambda each: (each.rank, each.points, each.name))
    if not _total(ordered, deficit).met():
        return ()
    return _optimum(ordered, deficit) if len(ordered) <= exact else _by_rank(ordered, deficit, exact)


def _total(chosen: Sequence[Candidate], deficit: Deficit) -> Deficit:
    return deficit.less(sum(each.cost for each in chosen), sum(each.freeable for each in chosen))


def _optimum(ordered: Sequence[Candidate], deficit: Deficit) -> tuple[Candidate, ...]:
    """Try every set that could still be the best: depth first, the dearest decided first."""
    ranks = sorted({each.rank for each in ordered}, reverse=True)
    dear_first = ordered[::-1]
    rest = [(0, 0)]
    for each in ordered:
        rest.append((rest[-1][0] + each.cost, rest[-1][1] + each.freeable))
    rest.reverse()  # rest[i]: what all from dear_first[i] on would free
    best: tuple[tuple[int, ...], int, int, tuple[str, ...]] | None = None
    winner: tuple[Candidate, ...] = ()

    def visit(at: int, losses: tuple[int, ...], missing: Deficit, chosen: tuple[Candidate, ...]) -> None:
        nonlocal best, winner
        if best is not None and losses > best[0]:
            return
        if missing.met():
            key = (losses, len(chosen), -missing.cost - missing.freeable, tuple(each.name for each in chosen))
            if best is None or key < best:
                best, winner = key, chosen
            return
        if at == len(dear_first) or not missing.less(*rest[at]).met():
            return
        each = dear_first[at]
        place = ranks.index(each.rank)
        visit(at + 1, losses, missing, chosen)
        added = (*losses[:place], losses[place] + each.points, *losses[place + 1 :])
        visit(at + 1, added, missing.less(each.cost, each.freeable), (each, *chosen))

    visit(0, (0,) * len(ranks), deficit, ())
    return winner


def _by_rank(ordered: Sequence[Candidate], deficit: Deficit, exact: int) -> tuple[Candidate, ...]:
    """From the most important down: of each rank only what those below can't make up for."""
    groups = [list(group) for _, group in groupby(ordered, key=lambda each: each.rank)]
    chosen: list[Candidate] = []
    missing = _total(ordered, deficit)
    while groups:
        group = groups.pop()
        missing = missing.less(-sum(each.cost for each in group), -sum(each.freeable for each in group))
        if not missing.met():  # all below, and what was chosen above, are not enough
            search = _optimum if len(group) <= exact else _greedy
            taken = search(group, missing)
            chosen += taken
            missing = _total(taken, missing)
    return tuple(sorted(chosen, key=lambda each: (each.rank, each.points, each.name)))


def _greedy(group: Sequence[Candidate], deficit: Deficit) -> tuple[Candidate, ...]:
    """The best loss per useful byte first; then drop what has become superfluous; or one alone, if that is cheaper."""

    cost, freeable = max(deficit.cost, 0), max(deficit.freeable, 0)

    def price(each: Candidate) -> float:
        useful = (min(each.cost / cost, 1.0) if cost else 0.0) + (
            min(each.freeable / freeable, 1.0) if freeable else 0.0
        )
        return each.points / (useful or 1e-9)

    taken: list[Candidate] = []
    missing = deficit
    for each in sorted(group, key=lambda each: (price(each), each.name)):
        if missing.met():
            break
        taken.append(each)
        missing = missing.less(each.cost, each.freeable)
    for each in sorted(taken, key=lambda each: (-each.points, each.name)):
        without = missing.less(-each.cost, -each.freeable)
        if without.met():
            taken.remove(each)
            missing = without
    singles = [each for each in group if each.cost >= cost and each.freeable >= freeable]
    single = min(singles, key=lambda each: (each.points, each.cost + each.freeable, each.name), default=None)
    if single is not None and single.points <= sum(each.points for each in taken):
        return (single,)
    return tuple(taken)
