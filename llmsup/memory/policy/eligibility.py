"""Who may be unloaded now, and why the others stay.

It does not know how much room is wanted, nor which of those that may go are chosen.
"""

from __future__ import annotations

import math
from collections.abc import Set as AbstractSet

from .decision import Weighed
from .eviction_cost import loss
from .inputs import RANKS, Machine, Need, Resident, Rules


def swap(need: Need, resident: Resident) -> float:
    """What it costs that one makes way for the other and comes back for it: both loads, in seconds."""
    return need.load_seconds + resident.reload_seconds


def turn(need: Need, resident: Resident, rules: Rules) -> float:
    """How long a model may serve before it must make way for one that waits and doesn't fit beside it, in seconds."""
    return min(rules.turn_loads * swap(need, resident), rules.turn_most)


def turn_ends(need: Need, resident: Resident, rules: Rules) -> float:
    """The moment from which it must make way for this load however busy it is. One that was let in past a load that
    had waited longer has no turn against that.
    """
    passed = resident.wanted_since > need.since
    return -math.inf if passed else resident.ready_since + turn(need, resident, rules)


def idle_ends(need: Need, resident: Resident, rules: Rules) -> float:
    """The moment from which it was idle for long enough to be given up before its turn ends."""
    return resident.last_used + rules.idle_loads * swap(need, resident)


def rivalry_ends(need: Need, resident: Resident, rules: Rules) -> float:
    """The moment from which they no longer count as wanted at once; minus infinity: they never were."""
    return resident.rivals.get(need.model, -math.inf) + rules.rival_loads * swap(need, resident)


def had_its_turn(resident: Resident, machine: Machine, need: Need, rules: Rules) -> bool:
    """Whether it must make way for this load now, however busy it is."""
    return machine.now >= turn_ends(need, resident, rules)


def stays(resident: Resident, machine: Machine, rules: Rules) -> str:
    """Why a model may not be unloaded now, if no load asks for its memory, or ""."""
    return _fixed(resident) or _young(resident, machine, rules)


def for_load(resident: Resident, machine: Machine, need: Need, kept: AbstractSet[str], rules: Rules) -> Weighed:
    """A model as a load sees it.

    Args:
        kept: The names of those that are kept for loads that have waited longer.
    """
    why = _fixed(resident) or _not_for(need, resident, kept)
    why = why or _young(resident, machine, rules) or _in_turn(resident, machine, need, rules)
    return weigh(resident, machine, rules, why)


def until(resident: Resident, machine: Machine, need: Need, rules: Rules) -> float:
    """When time alone may next change what a load has of this model: a moment of the machine's clock; `inf`: never."""
    moments = (
        resident.stays_until(rules.min_residency),
        turn_ends(need, resident, rules),
        idle_ends(need, resident, rules),
        rivalry_ends(need, resident, rules),
    )
    return min((each for each in moments if each > machine.now), default=math.inf)


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
    least = rules.min_residency
    if machine.level == "critical" or resident.ttl_expired or machine.now >= resident.stays_until(least):
        return ""
    return f"here for {resident.here_for(machine.now):.0f} s of at least {least:.0f} s"


def _in_turn(resident: Resident, machine: Machine, need: Need, rules: Rules) -> str:
    """Only against a rival: a client that uses both in turn can't come back while it waits for the other."""
    ends = min(each(need, resident, rules) for each in (turn_ends, idle_ends, rivalry_ends))
    if resident.ttl_expired or machine.now >= ends:
        return ""
    left = ends - machine.now
    return f"its turn: both are asked for at once, and it may come back within {left:.1f} s"


def _not_for(need: Need, resident: Resident, kept: AbstractSet[str]) -> str:
    if resident.name == need.model:
        return "it is the one that is to be loaded"
    if resident.rank > RANKS[need.priority]:
        return f"more important than {need.model}"
    return "kept for one that has waited longer" if resident.name in kept else ""
