"""How much room there is for a load in each pool, and how much is missing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet

from ..amounts import ZERO, Amounts, add_up
from .inputs import LoadedModel, Machine, taken


def apart(loaded_models: Sequence[LoadedModel], kept: AbstractSet[str]) -> tuple[list[LoadedModel], list[LoadedModel]]:
    """Those that remain; and those that are leaving, or are going to for a load that has waited longer."""
    gone = [each.leaving or each.name in kept for each in loaded_models]
    remain = [each for each, goes in zip(loaded_models, gone, strict=True) if not goes]
    return remain, [each for each, goes in zip(loaded_models, gone, strict=True) if goes]


def room(
    machine: Machine, remain: Sequence[LoadedModel], gone: Sequence[LoadedModel], promised: Amounts = ZERO
) -> Amounts:
    """What is free of each pool when some models are gone and something is promised to others.

    Half of the reserve is left of what is available now: the ceiling keeps the whole of it free of our own models, so
    that this half is for others that grow while a model loads. Where none of our models remains, nobody would ever
    make way for one that needs that half, and it is not left.
    """
    ours = add_up(each.cost for each in remain) + promised
    back = add_up(each.freeable for each in gone) - add_up(each.pending for each in remain if each.loading) - promised
    free = {}
    for name, pool in machine.pools.items():
        if pool.available is not None:
            size = pool.available - (pool.reserve // 2 if remain or promised else 0) + back[name]
        elif pool.total is not None:
            size = pool.total - taken(ours, name)
        else:
            continue
        free[name] = min(size, 0) if machine.level == "warn" else size  # at "warn" no load may raise the total
    return Amounts(free)


def wanted(cost: Amounts, machine: Machine) -> dict[str, int]:
    """What a load takes of each pool whose room it depends on: those that it takes from; all, if it takes nothing."""
    bounded = [name for name, pool in machine.pools.items() if pool.available is not None or pool.total is not None]
    sizes = {name: taken(cost, name) for name in bounded}
    return {name: size for name, size in sizes.items() if size} or sizes


def missing(wanted: Mapping[str, int], room: Amounts) -> Amounts:
    """What a load lacks of each pool; below zero is what is left over."""
    return Amounts({pool: size - room[pool] for pool, size in wanted.items()})


def tightest(wanted: Mapping[str, int], room: Amounts) -> int:
    """How much is free for a load, in bytes: as much as in the pool that has the least for it."""
    return min(room[pool] for pool in wanted)
