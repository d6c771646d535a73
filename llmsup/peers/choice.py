"""Which backend gets a request, of several that have its model: frozen values in, a decision out.

What is minimised is the time until the first token (`estimate.expected`). All figures about a peer are seconds old, and
others decide by the same ones at the same time: among those that are nearly as good, chance decides.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from attrs import frozen

from ..config.schema import Priority
from .estimate import HERE, Candidate, expected

__all__ = ["HERE", "Candidate", "Choice", "choose"]

NEAR, NEAR_SHARE = 0.5, 0.1
"""Seconds, or a share of the best, by which others may be later and still count as equals: nobody notices, and no
estimate is better than that."""

NEAR_TRIP = 0.05
"""Seconds of latency that make no difference: within a house, all peers are equally far."""

ALONE = "it is the only one that has it"

RANKS: dict[Priority, int] = {"high": 0, "normal": 1, "low": 2}


@frozen(kw_only=True)
class Choice:
    """A decision.

    Attributes:
        where: Who gets the request.
        reason: Why, in words for a person.
        order: All candidates, the best first: where the request goes if that one fails.
        seconds: Until the first token, as expected, of each in `order`.
    """

    where: str
    reason: str
    order: tuple[Candidate, ...] = ()
    seconds: tuple[float, ...] = ()


def choose(
    candidates: Sequence[Candidate], chance: Callable[[], float] = random.random, *, alone: str = ALONE
) -> Choice:
    """Return who gets a request.

    Among equals, in this order: who has most of the conversation, who has it loaded and idle, a peer of a higher
    priority (this llmsup counts as normal), this llmsup, the nearest. Among those that are equal in all that, chance
    decides.

    Args:
        candidates: All that could serve it. There must be one.
        chance: Gives numbers from 0 up to, but without, 1.
        alone: The reason if there is only one, a clause.
    """
    most = max(each.remembers for each in candidates)
    seconds = [expected(each, most) for each in candidates]
    soonest = min(seconds)
    limit = soonest + max(NEAR, NEAR_SHARE * soonest)
    equals = _equals([each for each, late in zip(candidates, seconds, strict=True) if late <= limit])
    best = equals[min(int(chance() * len(equals)), len(equals) - 1)]
    ranked = sorted(
        zip(seconds, candidates, strict=True),
        key=lambda each: (each[1] is not best, each[0], _rank(each[1]), each[1].where != HERE, each[1].latency),
    )
    order = tuple(each for _, each in ranked)
    reason = _reason(order, most) if len(order) > 1 else alone
    return Choice(where=best.where, reason=reason, order=order, seconds=tuple(s for s, _ in ranked))


def _rank(candidate: Candidate) -> int:
    return RANKS["normal" if candidate.where == HERE else candidate.priority]


def _equals(near: Sequence[Candidate]) -> list[Candidate]:
    """Those that nothing but chance can decide between."""
    most = max(each.remembers for each in near)
    near = [each for each in near if each.remembers == most]
    near = [each for each in near if each.idle] or near  # a load takes memory there, however quick it is
    rank = min(map(_rank, near))
    near = [each for each in near if _rank(each) == rank]
    near = [each for each in near if each.where == HERE] or near
    nearest = min(each.latency for each in near)
    return [each for each in near if each.latency <= nearest + NEAR_TRIP]


def _reason(order: Sequence[Candidate], most: int) -> str:
    """Why the first one, and what speaks against this llmsup if it is another. No numbers: reasons are counted."""
    best, *others = order
    place = "here" if best.where == HERE else "there"
    here = next((each for each in others if each.where == HERE), None)
    kept = best.remembers == most > max(each.remembers for each in others)
    if kept and (any(each.idle for each in others) or not best.idle):
        return f"the conversation's prompt cache is {place}"
    return f"{_merit(best, place)}{f'; here {_flaw(here, best)}' if here else ''}"


def _merit(best: Candidate, place: str) -> str:
    if best.asleep:
        return "it is soonest there, although that machine has to be woken"
    if best.idle:
        if not best.tells_loaded:
            return f"idle {place}, as far as is known"
        return f"loaded and idle {place}" if best.tells_busy else f"loaded {place}, and idle as far as is known"
    if best.loaded:
        return f"{'loaded ' if best.tells_loaded else ''}{place}, where the queue is the shortest"
    if best.loading:
        return f"it is being loaded {place} already"
    if best.fits:
        return f"it fits {place} without unloading anything"
    return f"it is the cheapest to load {place}"


def _flaw(here: Candidate, best: Candidate) -> str:
    if here.idle and _rank(best) < _rank(here):
        return "it is, too, but that peer's priority is higher"
    if here.loaded:
        return "others are before it"
    if here.loading:
        return "it is still being loaded"
    if here.fits is False:
        return f"{' and '.join(here.evicts) or 'another model'} would have to go"
    return "it would have to be loaded"
