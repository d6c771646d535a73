"""Which model to unload when the machine is short of memory: one at a time, and none if it isn't our doing."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from attrs import evolve, frozen

from ...units import format_bytes
from ..amounts import HOST, ZERO, Amounts, add_up
from .cheapest import Candidate, cheapest
from .decision import Decision, Left, Weighed, with_delay
from .eligibility import stays, weigh
from .eviction_cost import eviction_cost
from .inputs import EXPIRED, RANKS, RULES, LoadedModel, Machine, Rules

SETTLE = 15.0
"""Seconds after a step at "warn" before the next: memory and its gauges take their time (systemd-oomd: 15 s)."""

SETTLE_CRITICAL = 3.0
BACK_OFF = 120.0
"""Seconds to leave the models alone after two steps in a row that didn't help: the pressure isn't ours."""

HELPED = 0.25
"""A step helped if at least this share of what the victim should have freed was seen to come back."""

OUR_SHARE = 0.10
"""If all models together have less than this share of the ceiling, it can't be us."""


@frozen
class Relief:
    """What the steps of this spell of pressure have done so far; pass it on from one decision to the next.

    Attributes:
        last: When the last step was measured.
        vain: How many steps in a row freed less than a quarter of what they should.
        until: Nothing is done before then.
    """

    last: float = float("-inf")
    vain: int = 0
    until: float = float("-inf")

    def stepped(self, now: float, *, expected: int, freed: int) -> Relief:
        """A victim is gone, and `freed` more bytes were available afterwards."""
        vain = 0 if freed >= expected * HELPED else self.vain + 1
        if vain < 2:
            return Relief(last=now, vain=vain)
        return Relief(last=now, until=now + BACK_OFF)

    def ended(self) -> Relief:
        """The level is normal again. A back-off goes on all the same."""
        return evolve(self, last=float("-inf"), vain=0)

    def rests(self, machine: Machine) -> tuple[Left, str]:
        """Why nothing may be evicted now, as a code word and as a clause; ("", "") if something may."""
        if machine.level == "normal":
            return "calm", "there is no pressure"
        if machine.now < self.until:
            rest = f"{self.until - machine.now:.0f} s"
            return "not ours", f"unloading models did not help, so it is not their doing: none is unloaded for {rest}"
        settle = SETTLE_CRITICAL if machine.level == "critical" else SETTLE
        if machine.now < self.last + settle:
            return "settling", f"the last model was unloaded only {machine.now - self.last:.0f} s ago"
        return "", ""


def relieve(
    machine: Machine,
    loaded_models: Sequence[LoadedModel],
    relief: Relief,
    *,
    shortfall: Amounts,
    grown: bool = False,
    rules: Rules = RULES,
) -> Decision:
    """Decide about one step: "evict" with exactly one victim, or "leave".

    The victim is the least worth keeping of the cheapest set that covers the shortfall; the next step looks again
    whether anything is still missing. If not even all of them cover it, it is the least worth keeping of all.

    Args:
        shortfall: What is missing until the pressure ends, of each pool that is short; nothing while it is easing.
        grown: The machine is not short of memory: the models have that much more than they may use.
    """
    short = frozenset(shortfall) or frozenset({HOST})
    weighed = tuple(
        weigh(each, machine, rules, stays_under_pressure(each, machine, rules, short))
        for each in sorted(loaded_models, key=lambda each: each.name)
    )
    left, reason = relief.rests(machine)
    seen = Decision(
        kind="leave",
        reason=reason,
        left=left,
        ceiling=machine.ceiling,
        room=machine.ceiling - add_up(each.cost for each in loaded_models).here,
        available=machine.host.available,
        missing=shortfall,
        level=machine.level,
        weighed=tuple(sorted(weighed, key=lambda each: (each.rank, each.loss, each.name))),
    )
    if left:
        return seen
    if ZERO.covers(shortfall):
        return evolve(seen, left="easing", reason="enough is free again; waiting to be sure")
    if any(each.leaving for each in loaded_models):
        return evolve(seen, left="leaving", reason="a model is being unloaded; waiting for its memory to come back")
    ours = add_up(each.freeable for each in loaded_models).within(short).total
    if ours < machine.may_have(short) * OUR_SHARE:
        reason = f"the models have only {format_bytes(ours)}, too little to be the cause"
        return evolve(seen, left="too little", reason=reason)
    # Work often comes as many small requests: a model that had one a moment ago is evicted last among its equals.
    at_work = {each.name for each in loaded_models if machine.now - each.last_used < rules.at_work}
    may_go = [
        Candidate(
            each.name,
            machine.frees(each.cost, each.freeable),
            each.rank * 2 + (each.name in at_work),
            eviction_cost(each.seconds),
        )
        for each in weighed
        if not each.stays
    ]
    if not may_go:
        return _busiest_last(seen, machine, loaded_models, short, rules)
    chosen = cheapest(may_go, shortfall, exact=rules.exact) or may_go
    gives = {each.name: each.freeable.within(short).total for each in weighed}
    losses = {each.name: each.loss for each in weighed}
    victim = min(chosen, key=lambda each: (each.rank, each.eviction_cost, -gives[each.name], each.name))
    who = "the machine" if HOST in short else " and ".join(sorted(short))
    problem = f"{who} is short of {format_bytes(shortfall.total)} ({machine.level})"
    if grown:
        problem = f"all models together use {format_bytes(shortfall.total)} more than they may"
    frees, lost = format_bytes(gives[victim.name]), f"{losses[victim.name]:.3g} s of expected reload"
    reason = f"{problem}; {victim.name} frees {frees}, at the cost of {lost}"
    return with_delay(evolve(seen, kind="evict", reason=reason, victims=(victim.name,)))


def _busiest_last(
    seen: Decision, machine: Machine, loaded_models: Sequence[LoadedModel], short: Collection[str], rules: Rules
) -> Decision:
    """Evict the least important busy model, if that is allowed and the shortage has lasted; else "leave"."""
    critical_for = machine.now - machine.since if machine.level == "critical" else 0.0
    if not rules.evict_busy or critical_for < rules.busy_after:
        return evolve(seen, left="none may go", reason=f"no model may go now ({_who(seen.weighed)})")
    idle = [evolve(each, in_flight=0, waiting=0) for each in loaded_models if each.in_flight or each.waiting]
    busy = [weigh(each, machine, rules, stays_under_pressure(each, machine, rules, short)) for each in idle]
    if not (may_go := [each for each in busy if not each.stays]):
        reason = f"no model may go now, not even a busy one ({_who(seen.weighed)})"
        return evolve(seen, left="none may go", reason=reason)
    gives = {each.name: each.freeable.within(short).total for each in may_go}
    victim = min(may_go, key=lambda each: (each.rank, each.loss, -gives[each.name], each.name))
    reason = (
        f"the machine has been critically short of memory for {critical_for:.0f} s and no idle model may go; "
        f"{victim.name} is busy, and frees {format_bytes(gives[victim.name])} (evict_busy)"
    )
    return evolve(seen, kind="evict", reason=reason, victims=(victim.name,), force=True)


def _who(weighed: Sequence[Weighed], most: int = 5) -> str:
    """The models that stay, the largest first, each with its reason."""
    largest = sorted(weighed, key=lambda each: (-each.freeable.total, each.name))
    more = f"; and {len(largest) - most} more" if len(largest) > most else ""
    return "; ".join(f"{each.name}: {each.stays}" for each in largest[:most]) + more


def stays_under_pressure(
    loaded: LoadedModel, machine: Machine, rules: Rules, short: Collection[str] = frozenset({HOST})
) -> str:
    """Why a model may not be unloaded now to end a shortage of these pools, or ""."""
    reason = stays(loaded, machine, rules)
    if reason:
        return reason
    frees = loaded.freeable.within(short).total
    if frees < min(rules.small, machine.may_have(short) * rules.small_share):
        return f"it would free only {format_bytes(frees)}"
    silence = machine.now - loaded.last_used
    enough = min(rules.warn_loads * loaded.reload_seconds, rules.warn_most)
    early = loaded.rank not in (EXPIRED, RANKS["low"]) and silence < enough
    if machine.level == "warn" and early:
        return f"used {silence:.0f} s ago"
    return ""
