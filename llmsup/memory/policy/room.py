"""How much room there is for a load: under the ceiling, and on the machine.

It does not know who may go, nor who asks.
"""

from __future__ import annotations

from collections.abc import Sequence
from collections.abc import Set as AbstractSet

from ...units import format_bytes
from .cheapest import Deficit
from .inputs import LoadedModel, Machine, Need

Room = tuple[int, int | None]
"""What is free under the ceiling, and on the machine if that is known."""


def apart(loaded_models: Sequence[LoadedModel], kept: AbstractSet[str]) -> tuple[list[LoadedModel], list[LoadedModel]]:
    """Those that remain; and those that are leaving, or are going to for a load that has waited longer."""
    gone = [each.leaving or each.name in kept for each in loaded_models]
    remain = [each for each, goes in zip(loaded_models, gone, strict=True) if not goes]
    return remain, [each for each, goes in zip(loaded_models, gone, strict=True) if goes]


def room(machine: Machine, remain: Sequence[LoadedModel], gone: Sequence[LoadedModel], promised: int = 0) -> Room:
    """What is free when some residents are gone and something is promised to others.

    Half of the reserve is left of the headroom that is there now: the ceiling keeps the whole of it free of our own
    models, so that this half is for others that grow while a model loads. Where none of our models remains, nobody
    would ever make way for one that needs that half, and it is not left.
    """
    ours = machine.ceiling - sum(each.cost for each in remain) - promised
    there = None
    if machine.available is not None:
        back = sum(each.freeable for each in gone) - sum(each.pending for each in remain)
        spare = machine.reserve // 2 if remain or promised else 0
        there = machine.available - spare + back - promised
    if machine.level == "warn":  # no load may raise the total
        return min(ours, 0), None if there is None else min(there, 0)
    return ours, there


def least(one: Room, other: Room) -> Room:
    there = None if one[1] is None or other[1] is None else min(one[1], other[1])
    return min(one[0], other[0]), there


def deficit(need: Need, room: Room) -> Deficit:
    return Deficit(need.bytes - room[0], 0 if room[1] is None else need.bytes - room[1])


def say(room: Room) -> str:
    return format_bytes(max(room[0] if room[1] is None else min(room[0], room[1]), 0))
