"""The bridge over HTTP: the result of its last run, and a run on demand."""

from __future__ import annotations

import math
from typing import cast

from quart import Blueprint, Response

from ..bridge.record import BridgeRun
from ..bridge.scheduler import BridgeScheduler
from ..errors import BridgeFailed
from ..units import format_seconds
from .answers import as_json
from .control_body import control_body
from .shapes.control import Bridge
from .shapes.control import BridgeRun as BridgeRunShape


def bridge(scheduler: BridgeScheduler) -> Blueprint:
    """Return the routes of `/bridge`."""
    routes = Blueprint("bridge", __name__)

    @routes.get("/bridge")
    async def look() -> Response:
        schedule, target = scheduler.schedule, await scheduler.target()
        state: Bridge = {
            "running": scheduler.running,
            "schedule": schedule.cron or format_seconds(schedule.every),
            "next_run": None if math.isinf(scheduler.next_run) else round(scheduler.next_run, 3),
            "target": None if target is None else str(target),
            "last_run": cast("BridgeRunShape", scheduler.last.as_json()) if scheduler.last else None,
        }
        return as_json(state)

    @routes.post("/bridge")
    async def run() -> Response:
        dry_run = (await control_body()).flag("dry_run", default=False)
        return as_json(_done(await scheduler.dry_run() if dry_run else await scheduler.run_now()).as_json())

    return routes


def _done(run: BridgeRun) -> BridgeRun:
    """Return the run if it succeeded. Raises BridgeFailed."""
    if run.error:
        raise BridgeFailed(run.error, log_tail=run.lines)
    return run
