"""One life of a model: from the wish to have it loaded to the end of its engine.

It does not know what to do next: `supervisor` decides that from the outcome.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

import trio

from ...catalog.entry import Entry
from ...engines.launch import Launch
from ...engines.pool import Pool
from ...errors import Error, StillRunning
from ...memory.cost.meter import Meter
from ...memory.policy.decision import Decision
from ...process.activity import Activity
from ...process.logbook import LogBook
from ...units import Bytes
from .outcome import Crash, Outcome, as_error


class Engine(Protocol):
    """A running engine, as a model sees it. `engine.py` has the real one; tests have another.

    Attributes:
        launch: How it was started.
        pid: Of its process, and of its process group.
        pool: The connections to it.
        meter: What it costs in memory, by what it said and what was seen.
        progress: How far it is with loading, 0 to 1; None if it doesn't tell.
        remains: What still ran when it had ended by itself, for people: "4711 (llama-server)".
        left: What could not be ended with it.
    """

    launch: Launch
    pid: int
    pool: Pool
    meter: Meter
    progress: float | None
    remains: tuple[str, ...]
    left: tuple[str, ...]

    @property
    def unreachable(self) -> bool:
        """What it listens at is gone, so that only those are served who are connected already."""

    async def pump(self) -> None:
        """Read the engine's output until it ends; must always run."""

    async def ready(self) -> None:
        """Wait until the engine answers. Never raises; may take for ever."""

    @property
    def unready_because(self) -> str:
        """What the engine last said when asked whether it is ready."""

    async def activity(self) -> Activity:
        """What the engine is seen to do: two looks tell whether anything happened in between."""

    async def healthy(self, patience: float) -> bool:
        """Ask once whether the engine still answers; no is what takes it more than `patience` seconds, too."""

    async def wait(self) -> int:
        """Wait for the engine's end, and for its last words; returns its exit code or -signal."""

    async def measure(self) -> None:
        """Look at what the engine costs in memory now, for its meter."""

    async def after_ready(self) -> None:
        """Prepare for the first request, which waits for this: once the engine is ready, and for a limited time.

        Raises:
            Error, Disconnected, OSError: That failed. It is logged; the engine serves all the same.
        """

    async def before_stop(self, deadline: float) -> None:
        """Prepare for a planned stop: nobody is served any more, and the engine still answers. Not called when it has
        to go at once, and cancelled at the deadline or when somebody forces the stop.

        Args:
            deadline: On trio's clock.

        Raises:
            Error, Disconnected, OSError: That failed. It is logged; the engine is stopped all the same.
        """


Start = Callable[[Entry, LogBook], AbstractAsyncContextManager[Engine]]
"""Starts an engine, and ends it for certain on the way out. Raises SetupError or OSError if it can't be started."""


class Run:
    """One life.

    Attributes:
        began: When it was wished for (trio time).
        first_line: How many lines the model's book had by then: what comes after them is about this life.
        engine: The engine, once there is one.
        loaded_at: When it became ready (trio time).
        measured_at: When it was last measured (trio time).
        first_served: When it had answered its first request (trio time).
        outcome: How it ended, once that is known. The first one stays.
        decision: That it should go for want of memory, if that is why.
        freed: What was seen to come back at its end, in bytes; None where nobody looked.
        scope: Cancelled at its end; everything that belongs to this life runs in it.
        over: Set when the engine is gone and the model has taken note.
    """

    def __init__(self, first_line: int = 0) -> None:
        self.began = trio.current_time()
        self.first_line = first_line
        self.engine: Engine | None = None
        self.loaded_at: float | None = None
        self.measured_at: float | None = None
        self.first_served: float | None = None
        self.outcome: Outcome | None = None
        self.decision: Decision | None = None
        self.freed: Bytes | None = None
        self.scope = trio.CancelScope()
        self.over = trio.Event()
        self._ended = trio.Event()

    def end(self, outcome: Outcome) -> None:
        """End this life. Only the first outcome counts."""
        if self.outcome is None:
            self.outcome = outcome
        self._ended.set()
        self.scope.cancel()

    async def ended(self, patience: float) -> Outcome | None:
        """The outcome, waited for up to `patience` seconds: a broken connection is often seen before the exit."""
        with trio.move_on_after(patience):
            await self._ended.wait()
        return self.outcome

    async def ended_because(self, patience: float) -> Error | None:
        """See `Backend`."""
        outcome = await self.ended(patience)
        return None if outcome is None else as_error(outcome)

    async def died_of(self, patience: float) -> Error | None:
        """See `Backend`."""
        outcome = await self.fate(patience)
        return as_error(outcome) if isinstance(outcome, Crash) else None

    async def fate(self, patience: float) -> Outcome | None:
        """As `ended`, but no longer than it takes the engine to answer, which proves that it lives."""
        async with trio.open_nursery() as nursery:

            async def ask() -> None:
                if self.engine is not None and await self.engine.healthy(patience):
                    nursery.cancel_scope.cancel()

            nursery.start_soon(ask)
            await self.ended(patience)
            nursery.cancel_scope.cancel()
        return self.outcome

    def check_nothing_is_left(self, name: str) -> None:
        """The model of that name is unloaded. Raises StillRunning if something that its engine started is not."""
        if self.engine is not None and self.engine.left:
            left = ", ".join(self.engine.left)
            raise StillRunning(
                f"{name} was unloaded, but its engine left something that llmsup could not end: {left}.",
                hint="Look for it with ps or lsof, and end it by hand.",
            )

    @property
    def uptime(self) -> float:
        """Seconds since it became ready; 0 before."""
        return 0.0 if self.loaded_at is None else trio.current_time() - self.loaded_at

    @property
    def footprint(self) -> Bytes | None:
        """What only the engine's end gives back, in bytes, when last measured."""
        return None if self.engine is None else self.engine.meter.freeable

    def gives_back(self, declared: Bytes | None) -> Bytes | None:
        """The same with what its table says that it takes and that can't be seen here (`Meter.gives_back`), once it has
        come to what it needs.
        """
        if self.engine is None or not self.settled:
            return self.footprint
        return self.engine.meter.gives_back(declared)

    async def measure(self) -> None:
        """Look at what the engine costs now."""
        if self.engine is not None:
            began = trio.current_time()
            await self.engine.measure()
            self.measured_at = began
            if self.settled:
                self.engine.meter.started()

    @property
    def settled(self) -> bool:
        """It was measured since it became ready: what it costs is there, and no longer only promised."""
        return self.loaded_at is not None and self.measured_at is not None and self.measured_at >= self.loaded_at

    @property
    def pool(self) -> Pool:
        """The connections to the engine."""
        assert self.engine is not None
        return self.engine.pool

    @property
    def body_defaults(self) -> Mapping[str, Any]:
        """Request fields that the engine couldn't take at launch."""
        assert self.engine is not None
        return self.engine.launch.body_defaults
