"""Which memory the devices of a model's engine have: its own names for them, matched with the machine's pools."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

from ...catalog.entry import Entry
from ...config.schema import Priority
from ...engines.devices import Device, ordered
from ...memory.amounts import CEILING, HOST, HOST_CEILING, Amounts
from ...memory.cost.placement import DRIVER, Room
from ...memory.machine.device_names import pools_by_name
from ...memory.machine.reading import Reading, is_device
from ...memory.policy.inputs import RANKS, LoadedModel, Machine

Names = Callable[[Entry], Awaitable[Mapping[str, str] | None]]
"""Returns the pool of each device that a model's engine finds, by its name for it; None if that can't be told."""


async def no_names(_entry: Entry) -> Mapping[str, str] | None:
    """Nothing is known."""
    return None


class DevicePools:
    """The `Names` of production. Programs are only asked where there is a device with its own memory."""

    def __init__(
        self,
        reading: Callable[[], Reading | None],
        ask: Callable[[Entry], Awaitable[Sequence[Device] | None]],
    ) -> None:
        """`reading`: the last one of the machine; `ask`: what a model's engine lists, None if it can't be asked."""
        self._reading = reading
        self._ask = ask

    async def __call__(self, entry: Entry) -> Mapping[str, str] | None:
        reading = self._reading()
        gpus = (reading and reading.gpus) or ()
        if not any(gpu.own for gpu in gpus):
            return None
        listed = await self._ask(entry)
        given = entry.spec.env
        environ = {**os.environ, **ordered(entry.spec.devices, os.environ, given), **given}
        return pools_by_name(listed, gpus, environ)


def rooms(machine: Machine, loaded_models: Iterable[LoadedModel], priority: Priority) -> dict[str, Room]:
    """The devices as a load would find them if all others that may make way for it had gone, by their pools.

    So it is placed as it would be at best, and others leave for that; what is pinned or more important stays, and so
    does what other programs have.

    Args:
        priority: That of the load.
    """
    models = list(loaded_models)
    may_go = [each for each in models if each.leaving or not (each.pinned or each.rank > RANKS[priority])]
    found = {}
    for name, pool in machine.pools.items():
        if name in (HOST, CEILING, HOST_CEILING) or pool.total is None:
            continue
        if pool.available is None:
            free = pool.total - sum(each.cost[name] for each in models if each not in may_go)
        else:
            free = pool.available + sum(each.freeable[name] for each in may_go)
        found[name] = Room(name, min(free, pool.total), pool.total, DRIVER if is_device(name) else 0)
    return found


def at_most(cost: Amounts, machine: Machine) -> Amounts:
    """The same, but of no pool more than it has at all: what was added by a guess must not have a load refused."""
    totals = {pool: machine.pools[pool].total if pool in machine.pools else None for pool in cost}
    return Amounts({pool: min(cost[pool], totals[pool] or cost[pool]) for pool in cost})
