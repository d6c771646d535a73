"""Watches over a running engine: each watchdog looks at one thing, and ends the run with an outcome when that fails.

What an outcome leads to is decided in `aftermath`.
"""

from __future__ import annotations

from collections.abc import Callable

import trio

from ...config.schema import ModelSpec
from ...engines import ports
from ...errors.engine import SAID
from ...process.activity import BUSY_CORES
from ...process.child import describe_exit
from ...process.logbook import LogBook
from ...units import format_seconds
from ..engine.oom import LOOKED_AT, complains_of_memory, may_be_the_system
from ..engine.projectors import complains_of_projector
from .last_words import first_complaint, last_words
from .model import SOCKET_GONE, Model
from .outcome import Crashed, FailedToStart, OutOfMemory, PortTaken, ProjectorRefused, TimedOut
from .permission import Grant
from .run import Engine, Run

MEASURE_EVERY = 5.0
"""Seconds between measurements of a ready engine's memory."""

MEASURE_LOADING_EVERY = 1.0
"""Seconds between measurements of one that is loading."""

_LESS = "Give this model a smaller ctx_size, or the other models less memory."

SOCKET_EVERY = 10.0
"""Seconds between checks that an engine's socket is still there."""

_FOREGROUND = (
    "Its command must run the server in the foreground, as its own process or with `exec`: no &, nohup or --daemon."
)


async def until_ready(run: Run, engine: Engine, spec: ModelSpec, book: LogBook) -> None:
    """Wait until the engine answers; ends the run if that takes too long or shows no progress."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_watch_stall, run, engine, spec, book)
        with trio.move_on_after(spec.start_timeout) as limit:
            await engine.ready()
        if limit.cancelled_caught:
            _give_up(f"not ready after {format_seconds(spec.start_timeout)}", run, engine, spec, book)
            await trio.sleep_forever()  # ending the run cancels this
        nursery.cancel_scope.cancel()


async def _watch_stall(run: Run, engine: Engine, spec: ModelSpec, book: LogBook) -> None:
    last = grown_from = await engine.activity()
    quiet_since = last.at
    while trio.current_time() - quiet_since < spec.stall_timeout:
        await trio.sleep(min(1.0, spec.stall_timeout / 4))
        now = await engine.activity()
        if now.output != last.output or now.cores(last) >= BUSY_CORES or now.grown(grown_from):
            grown_from, quiet_since = now, now.at
        last = now
    _give_up(f"no sign of progress for {format_seconds(spec.stall_timeout)}", run, engine, spec, book)


def _give_up(what: str, run: Run, engine: Engine, spec: ModelSpec, book: LogBook) -> None:
    message = f"{spec.name} was given up: {what}; {engine.unready_reason}."
    run.end(TimedOut(message, log_tail=last_words(run, book)))


async def watch_exit(
    run: Run,
    engine: Engine,
    spec: ModelSpec,
    book: LogBook,
    out_of_memory: Callable[[], bool],
) -> None:
    """Wait for the engine to end by itself; `out_of_memory` says whether the system has killed anything for memory."""
    code = await engine.wait()
    engine.pool.engine_ended()  # what it has sent still reaches the clients
    how, tail = describe_exit(code), last_words(run, book)
    if may_be_the_system(code) and run.outcome is None and out_of_memory():
        what = f"The engine of {spec.name} {how}: the system ran out of memory and killed it."
        run.end(OutOfMemory(what, _LESS, tail))
    elif code and (complaint := complains_of_memory(last_words(run, book, LOOKED_AT))):
        what = f"The engine of {spec.name} {how}: it ran out of memory. {SAID}{complaint}"
        run.end(OutOfMemory(what, _LESS, tail))
    elif _may_refuse(run, engine) and (complaint := complains_of_projector(last_words(run, book, LOOKED_AT))):
        what = f"The engine of {spec.name} can't use {engine.launch.projector}. {SAID}{complaint}"
        run.end(ProjectorRefused(what, "The model is served without it.", tail))
    elif code and run.loaded_at is None and ports.taken(engine.launch.address, tail):  # 0: its own daemon has it
        what = f"The engine of {spec.name} {how}: another program took its port. {first_complaint(tail)}"
        run.end(PortTaken(what, log_tail=tail))
    elif run.loaded_at is None and code >= 0:  # it chose to exit, and would again
        what = f"{spec.name} can't be loaded: its engine {how} before it was ready. {first_complaint(tail)}"
        if code == 0 and engine.remains:
            what = (
                f"{spec.name} can't be loaded: its command exited before it was ready, and left {_and(engine.remains)}."
            )
        run.end(FailedToStart(what.rstrip(), _hint(code, engine), tail))
    else:
        run.end(Crashed(f"The engine of {spec.name} {how}.", _hint(code, engine), tail))


def _hint(code: int, engine: Engine) -> str:
    """Advice for a command that leaves the server running in the background instead of being the server."""
    return _FOREGROUND if code == 0 and engine.remains else ""


def _and(names: tuple[str, ...]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f"process {', '.join(names[:3])}{more} running in the background"


async def watch_socket(run: Run, engine: Engine, model: Model) -> None:
    """Replace an engine whose socket was removed, by a /tmp cleaner say, once its requests in flight are done."""
    while not engine.unreachable:
        with trio.move_on_after(SOCKET_EVERY):
            await engine.pool.lost.wait()
            break
    model.replace(run, SOCKET_GONE)


def _may_refuse(run: Run, engine: Engine) -> bool:
    """Whether an engine may have ended because of its projector."""
    return run.loaded_at is None and engine.launch.projector is not None


async def watch_footprint(run: Run, model: Model, grant: Grant) -> None:
    """Measure the engine's memory: often while it loads, because other loads are admitted by what it has yet to take;
    once as soon as it is ready; then now and then, because it grows with the prompts that it caches.
    """
    assert run.engine is not None
    meter = run.engine.meter
    while True:
        before = meter.cost, meter.freeable, run.settled
        await run.measure()
        if (meter.cost, meter.freeable, run.settled) != before:
            grant.measured()
            model.notify()
        if run.loaded_at is not None and run.settled:
            await trio.sleep(MEASURE_EVERY)
        else:
            with trio.move_on_after(MEASURE_LOADING_EVERY):
                await model.until(lambda: run.loaded_at is not None)
