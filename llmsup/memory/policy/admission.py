"""Whether a model may be loaded now, and which models have to be evicted for it.

No model is evicted unless the victims together make the load possible: a load that can't fit evicts nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet

from attrs import evolve, frozen

from ...units import format_bytes
from ..amounts import CEILING, HOST, HOST_CEILING, ZERO, Amounts, add_up
from .cheapest import Candidate, cheapest
from .decision import Decision, Weighed, with_delay
from .eligibility import for_load, had_its_turn, until
from .eviction_cost import eviction_cost
from .inputs import RANKS, RULES, LoadedModel, Machine, Need, Rules, taken


@frozen
class Claim:
    """Room kept for a load whose turn has come, and which waits only for the `paused` models to become idle.

    Other models may be loaded in the meantime if they don't take what it needs.
    """

    cost: Amounts
    paused: frozenset[str]


def admit(
    need: Need,
    machine: Machine,
    loaded_models: Sequence[LoadedModel],
    *,
    claims: Sequence[Claim] = (),
    rules: Rules = RULES,
) -> Decision:
    """Decide about one load.

    The caller must apply the decision before it asks again: after "admit" and "evict" the model counts as loading, and
    the victims as leaving.

    Args:
        claims: Of loads that have waited longer: what they have paused isn't chosen, nor their room given away.
    """
    kept = {name for claim in claims for name in claim.paused}
    remain, going = apart(loaded_models, frozenset())
    now_free, later = room(machine, loaded_models, ()), room(machine, remain, going)
    claimed = room(machine, *apart(loaded_models, kept), add_up(claim.cost for claim in claims)) if claims else later
    asked = wanted(need.cost, machine)
    kept_back = missing(asked, claimed)
    lacks = missing(asked, later).max(kept_back)
    weighed = tuple(for_load(each, machine, need, kept, rules) for each in loaded_models)
    seen = Decision(
        kind="admit",
        reason="",
        model=need.model,
        bytes=need.size,
        ceiling=machine.ceiling,
        room=later[CEILING],
        available=machine.host.available,
        missing=lacks,
        level=machine.level,
        weighed=tuple(sorted(weighed, key=lambda each: (each.rank, each.loss, each.name))),
    )
    size, free = _words(need, asked, later)
    if never := _never(asked, machine):
        return evolve(seen, kind="refuse", reason=never)
    if machine.level == "critical":
        return _wait(seen, loaded_models, "the machine is critically short of memory: nothing is loaded")
    if ZERO.covers(lacks):
        if ZERO.covers(missing(asked, now_free).max(kept_back)):
            return evolve(seen, reason=f"it needs {size}, and {free} is free")
        return _wait(
            seen, loaded_models, f"it needs {size}, which will be free once the models being unloaded are gone"
        )
    if not need.evicts:
        return _wait(seen, loaded_models, f"it needs {size}, {free} is free, and a preload evicts no other model")
    free_to_go = [_candidate(each, machine) for each in weighed if not each.stays]
    alone = None if claims else missing(asked, room(machine, (), loaded_models))
    chosen = _enough(free_to_go, lacks, alone if len(free_to_go) == len(remain) else None, rules)
    if chosen:
        names = tuple(each.name for each in chosen)
        lost = sum(each.loss for each in weighed if each.name in names)
        reason = f"it needs {size}, and {free} is free; {', '.join(names)} can go for {lost:.3g} s of expected reload"
        return with_delay(evolve(seen, kind="evict", reason=reason, victims=names))
    paused = _paused_for(need, machine, loaded_models, kept, lacks, alone, rules)
    if loaded_models:
        blocked = f"it needs {size}, {free} is free, and unloading the idle models that may go would not free enough"
    else:
        blocked = f"it needs {size}, and other programs leave only {free} free"
    again = min((until(each, machine, need, rules) for each in remain), default=math.inf)
    return evolve(_wait(seen, loaded_models, blocked), paused=paused, again=again)


def admit_all(
    needs: Iterable[Need],
    machine: Machine,
    loaded_models: Sequence[LoadedModel],
    *,
    rules: Rules = RULES,
) -> tuple[Decision, ...]:
    """Decide about all waiting loads, in order of priority, then of how long they have waited.

    Each decision is applied before the next is made. A load whose turn has come keeps the room that it will get; no
    load waits behind one that it doesn't compete with.
    """
    world, claims, decisions = list(loaded_models), list[Claim](), list[Decision]()
    for need in sorted(needs, key=lambda each: (-RANKS[each.priority], each.since, each.model)):
        decision = admit(need, machine, world, claims=claims, rules=rules)
        decisions.append(decision)
        if decision.kind in ("admit", "evict"):
            world = [evolve(each, leaving=True) if each.name in decision.victims else each for each in world]
            world = [evolve(each, loading=True) if each.name == need.model else each for each in world]  # it sleeps
            world.append(LoadedModel(need.model, need.cost, ZERO, priority=need.priority, loading=True))
        elif decision.paused:
            claims.append(Claim(need.cost, frozenset(decision.paused)))
    return tuple(decisions)


def _paused_for(
    need: Need,
    machine: Machine,
    loaded_models: Sequence[LoadedModel],
    kept: AbstractSet[str],
    lacks: Amounts,
    alone: Amounts | None,
    rules: Rules,
) -> tuple[str, ...]:
    """The models to pause so that this load can happen: the cheapest set, supposing that all whose turn is over were
    idle.

    Models that are paused already stay so while that is enough: requests in the meantime make them dearer than others,
    and pausing one, then another would never let either become idle. Models that were admitted past this load are
    paused even while they load: where it needs all the room, some other load may always be under way.
    """
    candidates = []
    for each in loaded_models:
        busy = bool(each.in_flight or each.waiting or each.loading)
        idle = evolve(each, in_flight=0, waiting=0, loading=False, freeable=each.freeable + each.pending)
        if busy and not had_its_turn(each, machine, need, rules):
            continue
        seen = for_load(idle, machine, need, kept, rules)
        if not seen.stays:
            candidates.append(_candidate(seen, machine))
    everybody = len(candidates) == sum(not each.leaving for each in loaded_models)
    already = [each for each in candidates if each.name in need.paused]
    chosen = cheapest(already, lacks, exact=rules.exact)
    chosen = chosen or _enough(candidates, lacks, alone if everybody else None, rules)
    return tuple(each.name for each in chosen)


def _enough(
    candidates: Sequence[Candidate], lacks: Amounts, alone: Amounts | None, rules: Rules
) -> tuple[Candidate, ...]:
    """The cheapest set that frees what is missing. If no set does: all of them, if that is enough because no other
    model remains (`room`).

    Args:
        alone: What would be missing then; None if other models remain in any case.
    """
    chosen = cheapest(candidates, lacks, exact=rules.exact)
    if chosen or alone is None or not ZERO.covers(alone):
        return chosen
    return tuple(sorted(candidates, key=lambda each: (each.rank, each.eviction_cost, each.name)))


def _words(need: Need, asked: Mapping[str, int], free: Amounts) -> tuple[str, str]:
    """What it needs and what is free for it, for people: of the device that has too little of its own memory, if one
    has, else altogether.
    """
    name = min(asked, key=lambda pool: free[pool] - asked[pool])
    if name in (CEILING, HOST_CEILING, HOST) or free[name] >= asked[name]:
        return format_bytes(need.size), format_bytes(max(tightest(asked, free), 0))
    return f"{format_bytes(asked[name])} of {name}", format_bytes(max(free[name], 0))


_BOUNDS = {
    CEILING: "all models together may use",
    HOST_CEILING: "of the machine's own memory all models together may use",
}


def _never(asked: Mapping[str, int], machine: Machine) -> str:
    """Why it can't be loaded even alone, or ""."""
    for name, size in asked.items():
        total = machine.pools[name].total
        if total is not None and size > total:
            bound = _BOUNDS.get(name, f"{name} has only")
            return f"it needs {format_bytes(size)}, and {bound} {format_bytes(total)}"
    return ""


def _candidate(seen: Weighed, machine: Machine) -> Candidate:
    return Candidate(seen.name, machine.frees(seen.cost, seen.freeable), seen.rank, eviction_cost(seen.seconds))


def _wait(seen: Decision, loaded_models: Sequence[LoadedModel], reason: str) -> Decision:
    largest = sorted(loaded_models, key=lambda each: (-each.cost.total, each.name))
    return evolve(seen, kind="wait", reason=reason, holders=tuple(each.name for each in largest))


# How much room there is...


def apart(loaded_models: Sequence[LoadedModel], kept: AbstractSet[str]) -> tuple[list[LoadedModel], list[LoadedModel]]:
    """Split the models into those that remain, and those that leave or are kept for a load that has waited longer."""
    gone = [each.leaving or each.name in kept for each in loaded_models]
    remain = [each for each, goes in zip(loaded_models, gone, strict=True) if not goes]
    return remain, [each for each, goes in zip(loaded_models, gone, strict=True) if goes]


def room(
    machine: Machine, remain: Sequence[LoadedModel], gone: Sequence[LoadedModel], promised: Amounts = ZERO
) -> Amounts:
    """What is free in each pool once some models are gone, less what is promised to other loads.

    Half of the reserve is left out of what is available: the ceiling keeps all of it free of our own models, and this
    half is for other programs that grow while a model loads. If none of our models remains, there is none left to evict
    for a load that needs that half, so it counts as free.
    """
    ours = add_up(each.cost for each in remain) + promised
    back = add_up(each.freeable for each in gone) - add_up(each.pending for each in remain if each.loading) - promised
    free = {}
    for name, pool in machine.pools.items():
        if pool.available is not None:
            size = pool.available - (pool.reserve // 2 if remain or promised else 0) + back[name]
            if pool.total is not None:  # a reading may be older than what has been measured of a model since
                size = min(size, pool.total - taken(ours, name))
        elif pool.total is not None:
            size = pool.total - taken(ours, name)
        else:
            continue
        free[name] = min(size, 0) if machine.level == "warn" or pool.short else size  # no load may raise the total
    return Amounts(free)


def wanted(cost: Amounts, machine: Machine) -> dict[str, int]:
    """What a load takes of each pool that limits it: those that it takes from, or all of them if it takes nothing."""
    bounded = [name for name, pool in machine.pools.items() if pool.available is not None or pool.total is not None]
    sizes = {name: taken(cost, name) for name in bounded}
    return {name: size for name, size in sizes.items() if size} or sizes


def missing(wanted: Mapping[str, int], room: Amounts) -> Amounts:
    """What a load lacks in each pool; negative: that much is left over."""
    return Amounts({pool: size - room[pool] for pool, size in wanted.items()})


def tightest(wanted: Mapping[str, int], room: Amounts) -> int:
    """How much is free for a load, in bytes: what the fullest of its pools has left."""
    return min(room[pool] for pool in wanted)
