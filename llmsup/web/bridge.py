"""The bridge over HTTP: how its last run went, and a run now.

It does not know how bridging is done; it asks the keeper and tells in JSON.
"""

from __future__ import annotations

import math

from quart import Blueprint, Response

from ..bridge.run import BridgeRun
from ..bridge.scheduler import BridgeScheduler
from ..errors import BridgeFailed
from ..units import format_seconds
from .answers import as_json
from .control_body import control_body


def bridge(keeper: BridgeScheduler) -> Blueprint:
    """The routes of `/bridge`."""
    routes = Blueprint("bridge", __name__)

    @routes.get("/bridge")
    async def state() -> Response:
        schedule, target = keeper.schedule, await keeper.target()
        return as_json(
            {
                "running": keeper.running,
                "schedule": schedule.cron or format_seconds(schedule.every),
                "next_run": None if math.isinf(keeper.next_run) else round(keeper.next_run, 3),
                "target": None if target is None else str(target),
                "last_run": keeper.last.told() if keeper.last else None,
            }
        )

    @routes.post("/bridge")
    async def run() -> Response:
        dry_run = (await control_body()).flag("dry_run", default=False)
        return as_json(_done(await keeper.dry_run() if dry_run else await keeper.run_now()).told())

    return routes


def _done(run: BridgeRun) -> BridgeRun:
    """A run that did not fail. Raises BridgeFailed."""
    if run.error:
        raise BridgeFailed(run.error, log_tail=run.lines)
    return run
