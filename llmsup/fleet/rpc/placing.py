"""Where a model that has RPC workers will be, as long as that hasn't been measured."""

from __future__ import annotations

from attrs import evolve

from ...memory.amounts import worker_pool
from ...memory.cost.cost import Cost
from ..model.model import Model
from .workers import Workers


def with_workers(workers: Workers, model: Model, cost: Cost) -> Cost:
    """Add a model's workers to the devices among which its engine divides it: they come before those of this machine
    (llama.cpp src/llama.cpp, `llama_prepare_model_devices`).
    """
    there = [worker_pool(name) for name in model.spec.rpc if name in workers.all]
    return evolve(cost, pools=(*there, *(cost.pools or ())))
