"""What can go wrong with an engine: each watcher looks at one thing, and ends the life with a verdict.

It does not know what a verdict leads to: see `model`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import trio

from ..config.schema import ModelSpec
from ..errors import EngineDied, LoadTimeout, ModelFailed, OutOfMemory, ProjectorRefused
from ..process.child import describe_exit
from ..process.logbook import LogBook
from ..units import format_seconds
from .life import Engine, Life
from .model import Model
from .projectors import complains_of_projector
from .starving import LOOKED_AT, complains_of_memory, may_be_the_system

HEALTH_EVERY = 10.0
"""Seconds between questions to a ready engine."""

HEALTH_MISSES = 3
"""Missed answers in a row after which an engine counts as hung."""

MEASURE_EVERY = 5.0
"""Seconds between looks at what a ready engine costs."""

MEASURE_LOADING_EVERY = 1.0
"""Seconds between looks at one that loads."""

_LESS = "Give it a smaller ctx_size, or the other models less."

LOG_TAIL = 20
"""Lines of the engine's log that an error carries."""


async def until_ready(life: Life, engine: Engine, spec: ModelSpec, book: LogBook) -> None:
    """Wait until the engine answers; ends the life if that takes too long or shows no progress."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_watch_stall, life, engine, spec, book)
        with trio.move_on_after(spec.start_timeout) as limit:
            await engine.ready()
        if limit.cancelled_caught:
            _give_up(f"not ready after {format_seconds(spec.start_timeout)}", life, engine, spec, book)
            await trio.sleep_forever()  # until the cancellation that this life's end is
        nursery.cancel_scope.cancel()


async def _watch_stall(life: Life, engine: Engine, spec: ModelSpec, book: LogBook) -> None:
    last, quiet_since = engine.sign_of_life(), trio.current_time()
    while trio.current_time() - quiet_since < spec.stall_timeout:
        await trio.sleep(min(1.0, spec.stall_timeout / 4))
        if (sign := engine.sign_of_life()) != last:
            last, quiet_since = sign, trio.current_time()
    _give_up(f"no sign of progress for {format_seconds(spec.stall_timeout)}", life, engine, spec, book)


def _give_up(what: str, life: Life, engine: Engine, spec: ModelSpec, book: LogBook) -> None:
    life.end(LoadTimeout(f"{spec.name} was given up: {what}; {engine.unready_because}.", log_tail=book.tail(LOG_TAIL)))


async def watch_exit(
    life: Life,
    engine: Engine,
    spec: ModelSpec,
    book: LogBook,
    out_of_memory: Callable[[], bool],
    projector: Path | None = None,
) -> None:
    """Wait for the engine to end by itself.

    Args:
        out_of_memory: Whether the system killed anything for that.
        projector: What it was given because it goes with the model's file.
    """
    code = await engine.wait()
    how, tail = describe_exit(code), book.tail(LOG_TAIL)
    if may_be_the_system(code) and life.verdict is None and out_of_memory():
        what = f"The engine of {spec.name} {how}: the system killed it because there was no memory left."
        life.end(OutOfMemory(what, hint=_LESS, log_tail=tail, retry_after=1))
    elif code and (complaint := complains_of_memory(book.tail(LOOKED_AT))):
        what = f"The engine of {spec.name} {how} for want of memory. It said: {complaint}"
        life.end(OutOfMemory(what, hint=_LESS, log_tail=tail, retry_after=1))
    elif _refused(life, engine, projector) and (complaint := complains_of_projector(book.tail(LOOKED_AT))):
        what = f"The engine of {spec.name} can't use {projector}. It said: {complaint}"
        life.end(ProjectorRefused(what, hint="It is served without that.", log_tail=tail))
    elif life.loaded_at is None and code >= 0:  # its own decision, and it would decide the same again
        what = f"{spec.name} can't be loaded: its engine {how} before it was ready. {first_complaint(tail)}"
        life.end(ModelFailed(what.rstrip(), log_tail=tail))
    else:
        life.end(EngineDied(f"The engine of {spec.name} {how}.", log_tail=tail, retry_after=1))


def _refused(life: Life, engine: Engine, projector: Path | None) -> bool:
    """Whether it may be for its projector that an engine ended."""
    return life.loaded_at is None and projector is not None and str(projector) in engine.launch.argv


async def watch_footprint(life: Life, model: Model) -> None:
    """Look at what the engine costs: often while it loads, because others are admitted by what is still to come; as
    soon as it is ready; then now and then, because it grows with the prompts that it keeps.
    """
    assert life.engine is not None
    meter = life.engine.meter
    while True:
        before = meter.cost, meter.freeable, life.settled
        await life.measure()
        if (meter.cost, meter.freeable, life.settled) != before:
            model.notify()
        if life.loaded_at is not None and life.settled:
            await trio.sleep(MEASURE_EVERY)
        else:
            with trio.move_on_after(MEASURE_LOADING_EVERY):
                await model.until(lambda: life.loaded_at is not None)


async def watch_health(life: Life, engine: Engine, spec: ModelSpec, book: LogBook) -> None:
    """Ask a ready engine how it is, every now and then. No answer, and no other sign of life meanwhile, three times in
    a row: it hangs.
    """
    misses = 0
    while misses < HEALTH_MISSES:
        await trio.sleep(HEALTH_EVERY)
        asked = trio.current_time()
        # One that is busy may have no thread left for this question; while it sends anything, it is well.
        misses = 0 if await engine.healthy() or engine.pool.heard > asked else misses + 1
    what = f"The engine of {spec.name} hangs: {misses} questions about its health in a row got no answer."
    life.end(EngineDied(what, log_tail=book.tail(LOG_TAIL), retry_after=1))


_COMPLAINT = re.compile(r"\bE\b|error|fail|not found|no such|cannot|can't|unable|invalid", re.IGNORECASE)


def first_complaint(lines: tuple[str, ...]) -> str:
    """The line that says best what went wrong: the first that complains (what follows is usually its echo), else
    the last.
    """
    said = [line for line in lines if line.strip() and not line.startswith("llmsup:")]
    complaint = next(filter(_COMPLAINT.search, said), said[-1] if said else "")
    return f"It said: {complaint.strip()}" if complaint else "It said nothing."
