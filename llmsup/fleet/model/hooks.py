"""An engine's chance to prepare before its first request and before a planned stop, each within a time limit.

What an engine does then is up to `run.Engine.after_ready` and `before_stop`.
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

AFTER_READY = 30.0
"""Seconds that requests wait for an engine that is ready but still preparing."""

IDLE = 30.0
"""Seconds after its last work from which on an engine counts as idle here."""

BEFORE_STOP = 5.0
"""Seconds that an engine has before a planned stop."""


async def after_ready(engine: Engine, name: str) -> None:
    """Let an engine that has become ready prepare for requests."""
    with trio.move_on_after(AFTER_READY) as limit:
        await _log_failure(engine.after_ready(), name, "after it became ready")
    if limit.cancelled_caught:
        log.warning("%s: its engine took more than %g s to prepare for requests; cut off", name, AFTER_READY)


async def before_stop(model: Model, run: Run, engine: Engine) -> None:
    """Let an idle engine prepare for its stop, unless it has to stop at once: because requests are being cut off, or
    the machine is critically short of memory. A forced stop in the meantime ends the preparation.
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
            await _log_failure(engine.before_stop(deadline), model.spec.name, "before its stop")
        if limit.cancelled_caught:
            log.warning("%s: its engine took more than %g s to prepare to stop; cut off", model.spec.name, BEFORE_STOP)
        nursery.cancel_scope.cancel()


async def while_idle(model: Model, engine: Engine) -> None:
    """Let an engine use the time after its work; runs as long as the engine is ready."""
    queue, seen = model.queue, model.queue.last_used  # what earlier engines did doesn't count
    while True:
        await model.until(lambda: queue.last_used != seen and not queue.busy)  # noqa: B023 -- awaited at once
        used = queue.last_used or 0.0
        with trio.move_on_at(used + IDLE):
            await model.until(lambda: queue.busy or queue.last_used != used)  # noqa: B023 -- as above
            continue
        seen = used
        await _log_failure(engine.while_idle(), model.spec.name, "while it was idle")


def _urgent(model: Model, run: Run) -> bool:
    stop = model.intent.stop
    return (
        run.urgent
        or (stop is not None and stop.force)
        or (run.decision is not None and run.decision.level == "critical")
    )


async def _log_failure(preparation: Awaitable[None], name: str, when: str) -> None:
    try:
        await preparation
    except (Error, Disconnected, OSError) as error:
        log.warning("%s: its engine's preparation %s failed: %s", name, when, error)
