"""The memory that one model has: promised before its engine starts, counted until its memory is back.

It does not know who decides about it.
"""

from __future__ import annotations

from collections.abc import Mapping

import trio
from attrs import define, field

from ...errors import EngineDied
from ...memory.cost.cost import Cost, Source, by_pool
from ...memory.policy.inputs import LoadedModel
from ...units import Bytes
from ..model.model import Model
from ..model.run import Run
from ..model.states import State
from .reclaim import WORTH_WAITING, Watch


@define(eq=False)
class Grant:
    """What a model has.

    Attributes:
        promised: Its cost when it was let in, in bytes.
        source: How that was known; a declared cost counts even when less is seen.
        grows: What it may come to hold on top of that: prompts that it keeps.
        run: For which of its lives.
        oom_kills: How many processes the system had killed for want of memory by then, or None.
        wanted_since: When the first of those came whom it was loaded for (trio time).
        before: What was available when it began to stop, in bytes; None: not yet, or not known.
        stopping: When it began to (trio time); `inf`: not yet.
        measured_at: When that was which somebody has looked at last (trio time).
        warned: That it costs more than was promised was told already.
    """

    model: Model
    run: Run
    promised: int
    source: Source = "estimated"
    grows: int = 0
    oom_kills: int | None = None
    wanted_since: float = float("-inf")
    before: int | None = None
    stopping: float = float("inf")
    measured_at: float | None = field(default=None, init=False)
    warned: bool = field(default=False, init=False)
    _told: bool = field(default=False, init=False)

    @property
    def cost(self) -> int:
        """What it counts for now: what was promised until it is there and was measured, then the most that was seen."""
        seen = self.seen
        if seen is None or not self.run.settled or self.source == "declared":
            return max(self.promised, seen or 0)
        return seen

    @property
    def seen(self) -> Bytes | None:
        """The most that it was seen to cost; None: not looked at yet."""
        return self.run.engine.meter.cost if self.run.engine else None

    @property
    def gives_back(self) -> Bytes:
        """What its end gives back, in bytes."""
        return self.run.gives_back(self.model.spec.memory) or Bytes(0)

    @property
    def unseen(self) -> bool:
        """Much of that can't be seen here, so that nobody knows that it is back when the process is gone."""
        return self.gives_back - (self.run.footprint or 0) >= WORTH_WAITING

    @property
    def may_grow(self) -> int:
        """What it may still come to hold, in bytes; what it has grown by since its start counts already."""
        start = self.promised
        if self.run.settled and self.run.engine is not None:
            start = self.run.engine.meter.start(self.grows) or start
        return max(start + self.grows - self.cost, 0)

    @property
    def known(self) -> Cost:
        """What it counts for, and how that is known."""
        size, grows = Bytes(self.cost), Bytes(self.may_grow)
        return Cost(size, "measured" if self.run.settled and size == self.seen else self.source, size, grows)

    def load_seconds(self) -> float | None:
        """How long its load took, the first time that this is asked once it is ready; else None."""
        if self._told or self.loading:
            return None
        self._told = True
        return self.model.load_seconds

    def was_measured(self) -> bool:
        """Whether it was measured again since this was last asked."""
        before, self.measured_at = self.measured_at, self.run.measured_at
        return self.measured_at != before

    def note_end(self, watch: Watch) -> None:
        """Take note of what is available when it begins to stop; of one that died by itself nobody knows any more."""
        if self.model.state is State.STOPPING and self.model.run is self.run and self.stopping == float("inf"):
            self.stopping = trio.current_time()
            died, reading = isinstance(self.run.verdict, EngineDied), watch.reading
            self.before = None if died or reading is None else reading.available

    @property
    def leaving(self) -> bool:
        """It is on its way out."""
        ends = self.run.stop_request is not None or self.run.verdict is not None
        return ends or self.model.state in (State.DRAINING, State.STOPPING)

    @property
    def loading(self) -> bool:
        """It isn't ready yet."""
        return self.run.loaded_at is None

    def loaded(self, now: float, reload_seconds: float, rivals: Mapping[str, float]) -> LoadedModel:
        """As the policy sees it.

        Args:
            reload_seconds: What its load takes, known or expected.
            rivals: Which models are wanted at the same time, and when that was seen last.
        """
        model, queue, run = self.model, self.model.queue, self.run
        return LoadedModel(
            name=model.spec.name,
            cost=by_pool(self.cost),
            freeable=by_pool(self.gives_back),
            priority=model.spec.priority,
            pinned=model.spec.pinned,
            in_flight=queue.in_flight,
            waiting=queue.due,
            loading=self.loading,
            leaving=self.leaving,
            first_served=run.first_served,
            last_used=max(queue.last_used or 0.0, run.loaded_at or now),
            rate=model.rate.per_second(now) if model.rate.weight else None,
            last_asked=model.last_asked,
            ready_since=now if run.loaded_at is None else run.loaded_at,
            wanted_since=self.wanted_since,
            reload_seconds=reload_seconds,
            refaults=model.refaults.by(now, reload_seconds).count,
            rivals=rivals,
            ttl_expired=not queue.busy and now >= model.expires_at,
            grows=self.may_grow,
        )


@define(eq=False)
class Ask:
    """A model that wants to be let in.

    Attributes:
        cost: What it is going to cost.
        since: When the first who waits for it came (trio time).
        because: Why it waits still.
        held: Who was held for it by the last decision.
        going: Those who leave for it; it is let in when their memory is back.
        granted: Its room is reserved.
        decided: Set when it may start, or never may.
        refusal: Why it never may.
    """

    model: Model
    cost: Cost
    since: float
    because: str = ""
    held: frozenset[str] = frozenset()
    going: tuple[Grant, ...] = ()
    granted: bool = False
    decided: trio.Event = field(factory=trio.Event, init=False)
    refusal: str = field(default="", init=False)

    @property
    def first(self) -> float:
        """When the first of those came who wait for it now, or when its load was asked for (trio time)."""
        return min(self.since, self.model.queue.since or self.since)

    @property
    def name(self) -> str:
        """Whose."""
        return self.model.spec.name

    @property
    def bytes(self) -> Bytes:
        """How much it wants."""
        return self.cost.bytes

    @property
    def wanted(self) -> bool:
        """Somebody still wants it."""
        return bool(self.model.load_wanted or self.model.queue.waiting)
