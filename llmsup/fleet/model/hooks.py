"""What an engine may do between ready and its first request, and between its last request and its end: each within a
limit, and never in the way of what must be.

It does not know what an engine does then: see `run.Engine`.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable

import trio

from ...engines.connection import Disconnected
from ...errors import Error
from .model import Model
from .run import Engine, Run

log = logging.getLogger(__name__)

AFTER_READY = 10.0
"""Seconds that requests wait for an engine that is ready and still prepares itself."""

BEFORE_STOP = 5.0
"""Seconds that an engine has before a planned stop."""


async def after_ready(engine: Engine, name: str) -> None:
    """Let an engine that is ready prepare itself."""
    with trio.move_on_after(AFTER_READY) as limit:
        await _told(engine.after_ready(), name, "after it was ready")
    if limit.cancelled_caught:
        log.warning("%s: what its engine does after it was ready was cut off after %g s", name, AFTER_READY)


async def before_stop(model: Model, run: Run, engine: Engine) -> None:
    """Let an engine that nobody uses any more prepare to be stopped. Not where it has to go at once: requests are being
    cut off, or the machine is critically short of memory. A stop that is forced meanwhile ends the preparation.
    """
    if model.queue.in_flight or _urgent(model, run):
        return
    deadline = trio.current_time() + BEFORE_STOP
    async with trio.open_nursery() as nursery:

        async def hurry() -> None:
            await model.until(lambda: _urgent(model, run))
            nursery.cancel_scope.cancel()

        nursery.start_soon(hurry)
        with trio.move_on_at(deadline) as limit:
            await _told(engine.before_stop(deadline), model.spec.name, "before its stop")
        if limit.cancelled_caught:
            log.warning("%s: what its engine does before its stop was cut off after %g s", model.spec.name, BEFORE_STOP)
        nursery.cancel_scope.cancel()


def _urgent(model: Model, run: Run) -> bool:
    stop = model.intent.stop
    return (stop is not None and stop.force) or (run.decision is not None and run.decision.level == "critical")


async def _told(doing: Awaitable[None], name: str, when: str) -> None:
    try:
        await doing
    except (Error, Disconnected, OSError) as error:
        log.warning("%s: what its engine does %s failed: %s", name, when, error)
