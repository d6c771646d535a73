"""Where a model that has RPC workers will be, as long as that hasn't been measured."""

from __future__ import annotations

from attrs import evolve

from ...memory.amounts import Amounts
from ...memory.cost.cost import Cost
from ..model.model import Model
from .workers import Workers


def placed(workers: Workers, model: Model, cost: Cost) -> Cost:
    """What a model will take of each of its workers, at least a byte: its engine has a connection in any case."""
    found = [worker for name in model.spec.rpc if (worker := workers.has(name)) is not None]
    if not found or cost.devices:
        return cost
    free = [worker.free or worker.capacity or 0 for worker in found]
    parts = {
        worker.pool: max(min(cost.bytes * size // sum(free), size), 1)
        for worker, size in zip(found, free, strict=True)
        if sum(free)
    }
    return evolve(cost, devices=Amounts(parts))
