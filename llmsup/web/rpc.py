"""`GET /rpc`: the RPC workers, what they are used for, and what is wrong with them."""

from __future__ import annotations

from typing import cast

from quart import Blueprint, Response

from ..fleet.memory.governor import Governor
from ..fleet.rpc.worker import Worker
from ..fleet.rpc.workers import Workers
from .answers import as_json
from .shapes import rpc as shapes
from .status import rounded, wall


def rpc(workers: Workers, governor: Governor) -> Blueprint:
    """The route /rpc. Sizes are bytes, times Unix seconds; what is unknown is null."""
    routes = Blueprint("rpc", __name__)

    @routes.get("/rpc")
    async def listed() -> Response:
        return as_json([_worker(each, workers, governor) for each in workers.all.values()])

    return routes


def _worker(worker: Worker, workers: Workers, governor: Governor) -> shapes.Worker:
    return {
        "worker": worker.name,
        "state": cast("shapes.WorkerState", worker.state),
        "reason": worker.reason,
        "since": wall(worker.since),
        "ssh": worker.spec.ssh[-1] if worker.spec.ssh else None,
        "processes": [
            {"pid": each.pid, "address": each.way.address, "model": workers.user(each), "ready": each.ready}
            for each in worker.instances
        ],
        "models": [name for each in worker.instances if (name := workers.user(each))],
        "memory_bytes": worker.capacity,
        "used_bytes": governor.used(worker.pool),
        "restarts": worker.restarts,
        "retry_in": rounded(worker.retry_in) or None,
        "log_tail": list(worker.book.tail(20)),
    }
