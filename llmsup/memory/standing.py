"""Who may be unloaded now, and why the others stay.

It does not know how much room is wanted, nor which of those that may go are chosen.
"""

from __future__ import annotations

from collections.abc import Set as AbstractSet

from .decision import Weighed
from .snapshot import RANKS, Machine, Need, Resident, Rules
from .worth import loss


def turn(need: Need, resident: Resident, rules: Rules) -> float:
    """How long a model may serve before it must make way for one that waits and doesn't fit beside it, in seconds."""
    loads = (need.load_seconds or 0.0) + (resident.reload_seconds or 0.0)
    return min(max(rules.turn_loads * loads, rules.turn_least), rules.turn_most)


def had_its_turn(resident: Resident, machine: Machine, need: Need, rules: Rules) -> bool:
    """Whether it must make way for this load now, however busy it is and however young."""
    length = turn(need, resident, rules)
    return resident.here_for(machine.now) >= length and need.waited(machine.now) >= rules.patience


def stays(resident: Resident, machine: Machine, rules: Rules) -> str:
    """Why a model may not be unloaded now, if no load asks for its memory, or ""."""
    return _fixed(resident) or _young(resident, machine, rules)


def for_load(resident: Resident, machine: Machine, need: Need, kept: AbstractSet[str], rules: Rules) -> Weighed:
    """A model as a load sees it.

    Args:
        kept: The names of those that are kept for loads that have waited longer.
    """
    why = _fixed(resident) or _not_for(need, resident, kept)
    if not why and not had_its_turn(resident, machine, need, rules):
        why = _young(resident, machine, rules)
    return weigh(resident, machine, rules, why)


def weigh(resident: Resident, machine: Machine, rules: Rules, why: str) -> Weighed:
    """A model as a decision shows it; `why` it stays, or ""."""
    lost = loss(resident, machine.now, rules)
    return Weighed(resident.name, resident.cost, resident.freeable, resident.rank, lost, why)


def _fixed(resident: Resident) -> str:
    if resident.pinned:
        return "pinned"
    if resident.leaving:
        return "leaving"
    if resident.loading:
        return "loading"
    if resident.in_flight:
        return f"{resident.in_flight} in flight"
    return f"{resident.waiting} waiting for it" if resident.waiting else ""


def _young(resident: Resident, machine: Machine, rules: Rules) -> str:
    residency = rules.min_residency if resident.residency is None else resident.residency
    here = resident.here_for(machine.now)
    if machine.level == "critical" or resident.ttl_expired or here >= residency:
        return ""
    return f"here for {here:.0f} s of at least {residency:.0f} s"


def _not_for(need: Need, resident: Resident, kept: AbstractSet[str]) -> str:
    if resident.name == need.model:
        return "it is the one that is to be loaded"
    if resident.rank > RANKS[need.priority]:
        return f"more important than {need.model}"
    return "kept for one that has waited longer" if resident.name in kept else ""
