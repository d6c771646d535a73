"""Which models may be unloaded now, and why the others stay."""

from __future__ import annotations

import math
from collections.abc import Set as AbstractSet

from .decision import Weighed
from .eviction_cost import loss
from .inputs import RANKS, LoadedModel, Machine, Need, Rules


def swap(need: Need, loaded: LoadedModel) -> float:
    """What it costs to swap one model for the other and back: both loads, in seconds."""
    return need.load_seconds + loaded.reload_seconds


def turn(need: Need, loaded: LoadedModel, rules: Rules) -> float:
    """How long a model may serve before it must make way for a load that doesn't fit beside it, in seconds."""
    return min(rules.turn_loads * swap(need, loaded), rules.turn_most)


def passed(need: Need, loaded: LoadedModel) -> bool:
    """Whether it was admitted ahead of a load that had waited longer: it must make way for that as soon as it can."""
    return loaded.wanted_since > need.since


def turn_ends(need: Need, loaded: LoadedModel, rules: Rules) -> float:
    """The moment from which it must make way for this load, however busy it is. A model admitted ahead of a load that
    had waited longer has no turn against it.
    """
    return -math.inf if passed(need, loaded) else loaded.ready_since + turn(need, loaded, rules)


def idle_ends(need: Need, loaded: LoadedModel, rules: Rules) -> float:
    """The moment from which it has been idle long enough to be evicted before its turn ends."""
    return loaded.last_used + rules.idle_loads * swap(need, loaded)


def rivalry_ends(need: Need, loaded: LoadedModel, rules: Rules) -> float:
    """The moment from which the two no longer count as wanted at the same time; minus infinity: they never were."""
    return loaded.rivals.get(need.model, -math.inf) + rules.rival_loads * swap(need, loaded)


def had_its_turn(loaded: LoadedModel, machine: Machine, need: Need, rules: Rules) -> bool:
    """Whether it must make way for this load now, however busy it is. A model that is still loading has yet to have its
    turn, unless it was admitted ahead of this load: then it serves the requests that wait for it, and makes way.
    """
    return passed(need, loaded) or (not loaded.loading and machine.now >= turn_ends(need, loaded, rules))


def stays(loaded: LoadedModel, machine: Machine, rules: Rules) -> str:
    """Why a model may not be unloaded now, apart from any particular load; "" if it may."""
    return _fixed(loaded) or _young(loaded, machine, rules)


def for_load(loaded: LoadedModel, machine: Machine, need: Need, kept: AbstractSet[str], rules: Rules) -> Weighed:
    """Weigh a model for a load.

    Args:
        kept: The names of models whose memory is kept for loads that have waited longer.
    """
    reason = _fixed(loaded) or _not_for(need, loaded, kept)
    reason = reason or _young(loaded, machine, rules) or _in_turn(loaded, machine, need, rules)
    return weigh(loaded, machine, rules, reason)


def until(loaded: LoadedModel, machine: Machine, need: Need, rules: Rules) -> float:
    """When time alone may next change whether this model may be evicted for a load (machine's clock); `inf`: never."""
    moments = (
        loaded.stays_until(rules.min_residency),
        turn_ends(need, loaded, rules),
        idle_ends(need, loaded, rules),
        rivalry_ends(need, loaded, rules),
    )
    return min((each for each in moments if each > machine.now), default=math.inf)


def weigh(loaded: LoadedModel, machine: Machine, rules: Rules, stays: str) -> Weighed:
    """A model as a decision shows it; `stays`: why it may not be chosen, or ""."""
    lost = loss(loaded, machine.now, rules)
    delay = 0.0 if machine.level == "critical" else loaded.save_seconds  # then nothing is saved
    return Weighed(loaded.name, loaded.cost, loaded.freeable, loaded.rank, lost, stays, delay)


def _fixed(loaded: LoadedModel) -> str:
    if loaded.pinned:
        return "pinned"
    if loaded.leaving:
        return "leaving"
    if loaded.loading:
        return "loading"
    if loaded.in_flight:
        return f"{loaded.in_flight} in flight"
    return f"{loaded.waiting} waiting for it" if loaded.waiting else ""


def _young(loaded: LoadedModel, machine: Machine, rules: Rules) -> str:
    least = rules.min_residency
    if machine.level == "critical" or loaded.ttl_expired or machine.now >= loaded.stays_until(least):
        return ""
    return f"in use for {loaded.here_for(machine.now):.0f} s of at least {least:.0f} s (min_residency)"


def _in_turn(loaded: LoadedModel, machine: Machine, need: Need, rules: Rules) -> str:
    """Turns only protect against rivals: one client that alternates between two models can't use one while it waits for
    the other.
    """
    ends = min(each(need, loaded, rules) for each in (turn_ends, idle_ends, rivalry_ends))
    if loaded.ttl_expired or machine.now >= ends:
        return ""
    left = ends - machine.now
    return f"its turn: both models are in demand; it ends within {left:.1f} s"


def _not_for(need: Need, loaded: LoadedModel, kept: AbstractSet[str]) -> str:
    if loaded.name == need.model:
        return "it is the model to be loaded"
    if loaded.rank > RANKS[need.priority]:
        return f"has a higher priority than {need.model}"
    return "kept for a load that has waited longer" if loaded.name in kept else ""
