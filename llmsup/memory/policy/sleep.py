"""Whether a model may sleep instead of being unloaded, and how deeply."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from ..amounts import HOST, Amounts, add_up
from .decision import Decision
from .inputs import Machine, taken

LEFT = 10
"""Of what it had on a device, a sleeping engine keeps one part in so many, at most: vLLM's documentation says that it
gives back "up to 90 %+".
"""


def holds(awake: Amounts, weights: int, level: int) -> Amounts:
    """What a model is expected to hold while it sleeps.

    Args:
        awake: What it counts for awake.
        weights: The bytes of its weights.
        level: 1: they stay in the machine's own memory; 2: they are dropped.
    """
    devices = {pool: awake[pool] // LEFT for pool in awake if pool != HOST}
    own = awake[HOST] if devices else awake[HOST] // LEFT
    kept = weights if level == 1 else 0
    return Amounts({HOST: own + kept if devices else min(own + kept, awake[HOST]), **devices})


def sleep_level(
    wanted: int | Literal["auto"],
    awake: Amounts,
    freeable: Amounts,
    weights: int,
    machine: Machine,
    *,
    free: int | None,
    room: int,
    spare: Mapping[str, int],
) -> int:
    """The level at which a model is to sleep; 0: it is to be unloaded.

    "auto" is level 1, where that gives something back, else nothing: what a model answers after level 2 depends on how
    well its weights can be read again in place, and that went wrong for some (vLLM's issue 29341).

    Args:
        wanted: The model's `sleep`.
        awake: What it counts for.
        freeable: What ending it would free.
        weights: The bytes of its weights.
        free: What loads in progress leave of the machine's own memory, in bytes; None if that isn't known.
        room: What is left under the ceiling, in bytes.
        spare: What it may keep of the pools that are wanted for another model (`spare_of`).
    """
    level = (1 if any(pool != HOST for pool in awake) else 0) if wanted == "auto" else wanted
    held = holds(awake, weights, level)
    if not level or held.total > awake.total + max(room, 0):
        return 0
    more = held[HOST] - freeable[HOST]  # of the machine's own memory
    if more > 0 and (free is None or free - more < machine.host.reserve):
        return 0
    return level if all(taken(held, pool) <= size for pool, size in spare.items()) else 0


def spare_of(decision: Decision, machine: Machine) -> dict[str, int]:
    """What a decision's victims free beyond what was missing, of each pool that mattered: so much they may keep."""
    gone = [machine.frees(each.cost, each.freeable) for each in decision.weighed if each.name in decision.victims]
    frees = add_up(gone)
    return {pool: frees[pool] - decision.missing[pool] for pool in decision.missing}
