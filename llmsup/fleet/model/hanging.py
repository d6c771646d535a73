"""Whether a ready engine hangs or is merely busy."""

from __future__ import annotations

from typing import Self

import trio
from attrs import frozen

from ...config.schema import ModelSpec
from ...process.activity import IDLE_CORES, ActivitySample
from ...process.logbook import LogBook
from ...units import Seconds, format_seconds
from .last_words import last_words
from .outcome import Crashed
from .run import Engine, Run

PATIENCE = 5.0
"""Seconds that a healthy engine may take to answer."""

HEALTH_EVERY = 10.0
"""Seconds between health checks of a ready engine."""

HEALTH_MISSES = 3
"""Health checks in a row that an idle engine may miss; after that it counts as hung."""


@frozen
class Suspicion:
    """The evidence so far that an engine hangs.

    Many engines compute in the thread that should answer, so silence alone proves nothing. With a request in flight,
    an engine that uses the CPU is at work; one that doesn't may be waiting for a GPU or for another machine, and gets
    `hang_timeout` for that. So does one that computes with no request in flight: it hasn't noticed that its client
    left. With neither, it has no excuse for not answering.

    Attributes:
        life_at: When it was last known to be well, or to be working on a request (trio time).
        misses: How many health checks in a row it has missed while it had nothing else to do.
    """

    life_at: float
    misses: int = 0

    def asked(self, now: float, *, well: bool, in_flight: bool, computes: bool) -> Self:
        """The evidence after another health check.

        Args:
            well: It answered, or sent anything else in the meantime.
            in_flight: It has a request to answer.
            computes: It used the CPU since the last check.
        """
        idle = not (well or in_flight or computes)
        alive = well or (in_flight and computes)
        return type(self)(now if alive else self.life_at, self.misses + 1 if idle else 0)

    def proof(self, now: float, hang_timeout: Seconds) -> str:
        """Why it counts as hung, or ""."""
        silence = Seconds(now - self.life_at)
        if self.misses >= HEALTH_MISSES:
            return f"it had nothing to do, and failed every health check for {format_seconds(silence)}"
        if silence >= hang_timeout:
            return (
                f"it sent nothing for {format_seconds(silence)}, and was not computing for any request (hang_timeout)"
            )
        return ""


class _Question:
    """A health check: one at a time, kept open while the engine is busy. An abandoned one stays in the engine's accept
    queue, which for some servers holds only five.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._answered_at = self._asked_at = trio.current_time()
        self._open = trio.CancelScope()
        self._over = trio.Event()
        self._over.set()

    @property
    def well_at(self) -> float:
        """When the engine last answered, or sent anything at all (trio time)."""
        return max(self._answered_at, self._engine.pool.heard)

    async def ask(self, nursery: trio.Nursery) -> None:
        """Ask, unless the last check is still open; returns with the answer, or when it is late."""
        pool = self._engine.pool
        if self._over.is_set() or (pool.heard > self._asked_at and not pool.busy):  # it has answered everything since
            self._open.cancel()
            self._open, self._over = trio.CancelScope(), trio.Event()
            nursery.start_soon(self._wait, self._open, self._over)
        with trio.move_on_after(PATIENCE):
            await self._over.wait()

    async def _wait(self, scope: trio.CancelScope, over: trio.Event) -> None:
        self._asked_at = trio.current_time()
        silence = self._asked_at - self.well_at  # waiting as long again each time keeps the checks few
        with scope:
            if await self._engine.healthy(max(PATIENCE, silence)):
                self._answered_at = trio.current_time()
        over.set()


async def watch_health(run: Run, engine: Engine, spec: ModelSpec, book: LogBook) -> None:
    """Check a ready engine's health every `HEALTH_EVERY` seconds, and end the run when the engine hangs."""
    looked_at = trio.current_time()
    suspicion, question, before = Suspicion(looked_at), _Question(engine), None
    async with trio.open_nursery() as nursery:
        while not (proof := suspicion.proof(looked_at, spec.hang_timeout)):
            await trio.sleep(HEALTH_EVERY)
            if question.well_at < looked_at:  # an engine that is sending data needn't be asked
                await question.ask(nursery)
            well, looked_at = question.well_at >= looked_at, trio.current_time()
            seen = None if well else await engine.activity()  # costs more than asking
            suspicion = suspicion.asked(
                looked_at, well=well, in_flight=engine.pool.busy, computes=_computes(before, seen)
            )
            before = seen
        nursery.cancel_scope.cancel()
    run.end(Crashed(f"The engine of {spec.name} hangs: {proof}.", log_tail=last_words(run, book)))


def _computes(before: ActivitySample | None, now: ActivitySample | None) -> bool:
    return before is not None and now is not None and now.cores(before) >= IDLE_CORES
