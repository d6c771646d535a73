"""One run of a model, from the moment a load is wanted to the end of its engine.

What comes after a run is decided in `aftermath`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

import trio

from ...catalog.entry import Entry
from ...engines.http import HeaderLines
from ...engines.launch import Launch
from ...engines.pool import ConnectionPool
from ...errors import EngineBadAnswer, Error, StillRunning
from ...memory.cost.load_mode import Measured, Plan
from ...memory.cost.meter import Meter
from ...memory.policy.decision import Decision
from ...process.activity import ActivitySample
from ...process.logbook import LogBook
from ...units import Bytes, Seconds
from .outcome import Crash, Outcome, as_error


class Engine(Protocol):
    """A running engine, as a model sees it. `fleet.engine.process_engine` has the real one; tests have another.

    Attributes:
        launch: How it was started.
        pid: Of its process, and of its process group.
        pool: The connections to it.
        meter: Its size in memory, from what it logs and what was measured.
        progress: How much of it is loaded, 0 to 1; None if it doesn't say.
        own_entry: What it says of itself once it is ready, if it does: its entry in llama-server's list of models.
        remains: Processes still running after it had exited by itself, for people: "4711 (llama-server)".
        left: What could not be ended with it, for people.
    """

    launch: Launch
    pid: int
    pool: ConnectionPool
    meter: Meter
    progress: float | None
    own_entry: Mapping[str, Any]
    remains: tuple[str, ...]
    left: tuple[str, ...]

    @property
    def unreachable(self) -> bool:
        """Its socket is gone, so that it can serve only the connections it already has."""

    async def pump(self) -> None:
        """Read the engine's output until it ends. Must always run, or the engine blocks once the pipe is full."""

    async def ready(self) -> None:
        """Wait until the engine answers. Never raises; may take forever."""

    @property
    def unready_reason(self) -> str:
        """How the last readiness check failed, for people."""

    async def activity(self) -> ActivitySample:
        """A sample of what the engine does; comparing two tells whether anything happened in between."""

    async def healthy(self, patience: float) -> bool:
        """Ask once whether the engine still answers, within `patience` seconds."""

    async def wait(self) -> int:
        """Wait for the engine to end and its output to be read; returns its exit code or -signal."""

    async def measure(self) -> None:
        """Measure the engine's memory now, and tell its meter."""

    async def after_ready(self) -> None:
        """Prepare for requests, which wait for this. Called once the engine is ready, and given limited time.

        Raises:
            Error, Disconnected, OSError: It failed. That is logged, and the engine serves requests anyway.
        """

    async def while_idle(self) -> None:
        """Use the time in which nobody needs the engine. Called when it has been idle for a while after some work; a
        request that comes meanwhile is sent to the engine at once.

        Raises:
            Error, Disconnected, OSError: It failed. That is logged.
        """

    @property
    def listens(self) -> bool:
        """Whether it wants to be told of answers (`answered`)."""

    @property
    def keeps_slots(self) -> bool:
        """Whether it was given a directory for its slots, into which it would write for clients, too."""

    def answered(self, computed: int, cached: int, seconds: float | None) -> None:
        """An answer is complete.

        Args:
            computed: How many tokens of the prompt had to be computed.
            cached: How many had not.
            seconds: How long computing took; None if the engine didn't tell.
        """

    @property
    def sleeps(self) -> bool:
        """Whether it can be put to sleep."""

    async def sleep(self, level: int) -> None:
        """Put it to sleep, without requests in flight. `level`: see `engines.sleep`.

        Raises:
            Error, Disconnected, OSError: It failed; the engine may be in any state.
        """

    async def wake(self, level: int) -> None:
        """Wake it, from this level. Raises as `sleep` does."""

    def saves_for(self, limit: float) -> float:
        """How many seconds `before_stop` should take if it was called now and given `limit` seconds; 0 where nothing is
        to be prepared, or nothing is known.
        """

    async def before_stop(self, deadline: float) -> None:
        """Prepare for a planned stop: no request is in flight, and the engine still answers. Not called when the engine
        has to stop at once; cancelled at the deadline or when the stop is forced.

        Args:
            deadline: On trio's clock.

        Raises:
            Error, Disconnected, OSError: It failed. That is logged, and the engine is stopped anyway.
        """


Start = Callable[[Entry, LogBook], AbstractAsyncContextManager[Engine]]
"""Starts an engine, and always ends it on the way out. Raises SetupError or OSError if it can't be started."""


class Run:
    """One run.

    Attributes:
        began: When it began, which is before the engine was started (trio time).
        first_line: How many lines the model's log book had by then: those after them belong to this run.
        plan: How its weights are loaded, once that is decided.
        load: How fast that was; None until it is ready, or if its size isn't known.
        engine: The engine, once there is one.
        loaded_at: When it became ready (trio time).
        measured_at: When it was last measured (trio time).
        first_served: When it had answered its first request since it was loaded or woken (trio time).
        asleep: The level at which it sleeps; 0: it is awake.
        turned_at: When it last fell asleep or was woken (trio time); minus infinity if it never slept.
        kept: For how many seconds clients want it kept after its last request, instead of the model's `ttl`; None if
            none has said.
        kept_by_hand: An operator said so.
        outcome: How it ended, once that is known. The first outcome stays.
        decision: The decision to evict it, if that is why it ends.
        urgent: Its memory is needed at once: once it is to end, nothing more is prepared for that.
        freed: How much memory came back at its end, in bytes; None if that was not measured.
        scope: Cancelled at its end; everything that belongs to this run runs in it.
        over: Set when the engine is gone and the model's state is up to date.
    """

    where = renames = ""  # as `fleet.backend.BackendRun` has them

    def __init__(self, first_line: int = 0) -> None:
        self.began = trio.current_time()
        self.first_line = first_line
        self.plan = Plan()
        self.load: Measured | None = None
        self.engine: Engine | None = None
        self.loaded_at: float | None = None
        self.measured_at: float | None = None
        self.first_served: float | None = None
        self.asleep = 0
        self.turned_at = -math.inf
        self.kept: Seconds | None = None
        self.kept_by_hand = False
        self.outcome: Outcome | None = None
        self.decision: Decision | None = None
        self.urgent = False
        self.freed: Bytes | None = None
        self.scope = trio.CancelScope()
        self.over = trio.Event()
        self._ended = trio.Event()

    def end(self, outcome: Outcome) -> None:
        """End this run. Only the first outcome counts."""
        if self.outcome is None:
            self.outcome = outcome
        self._ended.set()
        self.scope.cancel()

    async def ended(self, patience: float) -> Outcome | None:
        """Wait up to `patience` seconds for the outcome: a broken connection is often seen before the exit."""
        with trio.move_on_after(patience):
            await self._ended.wait()
        return self.outcome

    async def ended_because(self, patience: float) -> Error | None:
        """See `fleet.backend.BackendRun`."""
        outcome = await self.ended(patience)
        return None if outcome is None else as_error(outcome)

    async def died_of(self, patience: float) -> Error | None:
        """See `fleet.backend.BackendRun`."""
        outcome = await self.fate(patience)
        return as_error(outcome) if isinstance(outcome, Crash) else None

    async def fate(self, patience: float) -> Outcome | None:
        """Like `ended`, but returns early if the engine answers, which proves that it is alive."""
        async with trio.open_nursery() as nursery:

            async def ask() -> None:
                if self.engine is not None and await self.engine.healthy(patience):
                    nursery.cancel_scope.cancel()

            nursery.start_soon(ask)
            await self.ended(patience)
            nursery.cancel_scope.cancel()
        return self.outcome

    def check_nothing_is_left(self, name: str) -> None:
        """Raise StillRunning if something that the engine started is still there. `name`: the model's."""
        if self.engine is not None and self.engine.left:
            left = ", ".join(self.engine.left)
            raise StillRunning(
                f"{name} was unloaded, but its engine left something behind that llmsup could not end: {left}.",
                hint="Find it with ps or lsof, and end it by hand.",
            )

    @property
    def uptime(self) -> float:
        """Seconds since it became ready; 0 before."""
        return 0.0 if self.loaded_at is None else trio.current_time() - self.loaded_at

    @property
    def footprint(self) -> Bytes | None:
        """The bytes that ending the engine would free, as last measured."""
        return None if self.engine is None else self.engine.meter.freeable

    def gives_back(self, declared: Bytes | None) -> Bytes | None:
        """`footprint`, plus, once the run is settled, whatever of the declared size can't be measured here
        (`Meter.gives_back`).
        """
        if self.engine is None or not self.settled:
            return self.footprint
        return self.engine.meter.gives_back(declared)

    async def measure(self) -> None:
        """Measure the engine's memory now."""
        if self.engine is not None:
            began = trio.current_time()
            await self.engine.measure()
            self.measured_at = began
            if self.settled:
                self.engine.meter.started()

    @property
    def settled(self) -> bool:
        """It has been measured since it became ready, so that its size is known rather than reserved."""
        return self.loaded_at is not None and self.measured_at is not None and self.measured_at >= self.loaded_at

    def turn(self, level: int) -> None:
        """It has fallen asleep, or (0) is awake."""
        self.asleep, self.turned_at, self.first_served = level, trio.current_time(), None

    @property
    def listens(self) -> bool:
        """Whether the engine wants to be told of answers; see `fleet.backend.BackendRun`."""
        return self.engine is not None and self.engine.listens

    @property
    def keeps_slots(self) -> bool:
        """See `fleet.backend.BackendRun`."""
        return self.engine is not None and self.engine.keeps_slots

    def answered(self, computed: int, cached: int, seconds: float | None) -> None:
        """See `Engine.answered`."""
        if self.engine is not None:
            self.engine.answered(computed, cached, seconds)

    def refuses(self, status: int) -> bool:  # noqa: ARG002 -- whatever it is
        """See `fleet.backend.BackendRun`: what an engine here says is passed on."""
        return False

    def broke(self, reason: str, detail: str = "") -> Error:  # noqa: ARG002 -- of a peer
        """See `fleet.backend.BackendRun`."""
        return EngineBadAnswer(f"The engine failed a request: {reason}.")

    def directed(
        self,
        target: bytes,
        headers: HeaderLines,
        via: tuple[str, ...],  # noqa: ARG002 -- an engine sends nothing on
        *,
        by_path: bool,  # noqa: ARG002 -- either way it is the engine's own
    ) -> tuple[bytes, HeaderLines]:
        """See `fleet.backend.BackendRun`."""
        return target, headers

    @property
    def pool(self) -> ConnectionPool:
        """The connections to the engine."""
        assert self.engine is not None
        return self.engine.pool

    @property
    def body_defaults(self) -> Mapping[str, Any]:
        """Request fields that the engine couldn't take at launch."""
        assert self.engine is not None
        return self.engine.launch.body_defaults
