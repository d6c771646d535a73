"""The simulated world: requests arrive; models load, serve, grow, are unloaded and killed, in virtual seconds.

It carries out what a `Policy` decides, and keeps count.
"""

from __future__ import annotations

import heapq
import math
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from itertools import count, islice
from typing import Literal, Protocol

from attrs import Factory, define, field

from llmsup.memory.cost.load_mode import Load
from llmsup.memory.cost.load_speed import Speed
from llmsup.memory.policy.decision import Decision
from llmsup.memory.policy.inputs import Level
from llmsup.memory.policy.pressure import Relief
from tools.simulate_engine import Engine, Past
from tools.simulate_machine import Host, Model, Request, Trace
from tools.simulate_pages import Pages
from tools.simulate_talks import IDLE, Held, Shelf, again, with_talks
from tools.simulate_tally import Tally

Prompts = Literal["free", "computed", "restored"]
"""What a reload costs beyond the load: nothing; computing each next prompt; restoring those that were saved, and
computing the others."""

UNLOAD = 1.0
"""Seconds from a decision until an idle model's memory is free again."""

QUEUE_TIMEOUT = 600.0
TICK = 1.0
COOL_DOWN = 10.0
"""Seconds before a model that the system killed is restarted."""


class Policy(Protocol):
    """Decides which models are loaded and which are evicted."""

    name: str
    reserves: bool
    """Whether a load that evicts is final; otherwise the policy is asked again when the victim is gone."""

    def admit(self, world: World) -> Sequence[Decision]:
        """Decide about the models that requests are waiting for."""
        ...

    def relieve(self, world: World) -> Decision | None:
        """Decide about pressure."""
        ...


@define(eq=False)
class World:
    """One run of one trace under one policy.

    Attributes:
        prompts: What becomes of conversations when a model is evicted.
        pages: What of evicted models' files is still in memory; None: a reload takes as long as the first load.
        shelf: What is saved, if they are restored.
    """

    trace: Trace
    way: Policy
    prompts: Prompts = "free"
    pages: Pages | None = None
    now: float = 0.0
    engines: dict[str, Engine] = Factory(dict)
    queues: dict[str, deque[tuple[float, Request]]] = Factory(dict)
    past: dict[str, Past] = Factory(dict)
    held: dict[str, float] = Factory(dict)
    """The models that accept no new requests, and since when."""
    level: Level = "normal"
    relief: Relief = Factory(Relief)
    speed: Speed = Factory(Speed)
    tally: Tally = Factory(Tally)
    shelf: Shelf | None = None
    _events: list[tuple[float, int, Callable[[], None]]] = Factory(list)
    _order: Iterator[int] = field(factory=count)
    _neighbour: int = 0
    _ticking: bool = False
    _looks_at: float = -1.0
    _retried: set[Request] = Factory(set)
    _clients: dict[str, deque[Request]] = Factory(dict)
    _present: dict[str, tuple[Request, float | None]] = Factory(dict)
    """Each client's current request, and when it ends if it has started."""

    @property
    def host(self) -> Host:
        """The machine."""
        return self.trace.host

    @property
    def available(self) -> int:
        """Bytes that are free on it."""
        ours = sum(engine.taken for engine in self.engines.values())
        return self.host.total - self.host.reserve // 2 - self._neighbour - ours

    def run(self) -> Tally:
        """Replay the trace to its end."""
        self.begin()
        while self._events:
            self.step()
        self.tally.duration = self.now
        self.tally.written = self.shelf.written if self.shelf else 0
        return self.tally

    @property
    def next_event(self) -> float:
        """When something happens next."""
        return self._events[0][0] if self._events else math.inf

    def step(self) -> None:
        """Let the next thing happen, and handle its consequences."""
        self.now, _, event = heapq.heappop(self._events)
        event()
        self._look()

    def begin(self) -> None:
        """Get ready for the first step."""
        self.past = {name: Past(model.estimate) for name, model in self.host.models.items()}
        for when, size in self.host.neighbour:
            self._at(when, lambda size=size: self._neighbour_takes(size))  # type: ignore[misc]
        if self.prompts == "restored" and self.shelf is None:
            self.shelf = Shelf(self.host.disk)
        requests = self.trace.requests
        for request in requests if self.prompts == "free" else with_talks(requests, self.host.models):
            if request.client:
                self._clients.setdefault(request.client, deque()).append(request)
            else:
                self._at(request.time, lambda request=request: self._arrive(request))  # type: ignore[misc]
        for client in self._clients:
            self._next_of(client)

    def expected(self, model: Model) -> float:
        """Seconds that loading it is expected to take, by the loads so far and by what of it is in the page cache, or
        would be if it were evicted for all those that wait. As llmsup measures loads, restoring is part of them.
        """
        past = self.past[model.name]
        if (seconds := past.speeds.expected("mmap", self._share(model))) is not None:
            return seconds
        return self.speed.expected(model.bytes) if past.reload_seconds is None else past.reload_seconds

    def price(self, model: Model) -> float:
        """Seconds until a loaded model would be again where it is now, if it were evicted: `expected`, and computing
        what of its last client's conversation nothing would be kept of.
        """
        engine, seconds = self.engines[model.name], self.expected(model)
        if model.talk is None or not engine.held:
            return seconds
        client, held = next(reversed(engine.held.items()))
        if self.shelf and (self.shelf.has(model, client, held) or self.shelf.able(model, held)):
            return seconds
        return seconds + (held.tokens if model.talk.most else model.talk.system) / model.tokens_per_second

    def _share(self, model: Model) -> float:
        """The share of its file that is in the page cache, or that could stay there if it were evicted now."""
        if self.pages is None:
            return 0.0
        engine = self.engines.get(model.name)
        if engine is None:
            return self.pages.files.get(model.name, 0) / model.bytes
        left = self.available + engine.taken - sum(self.past[name].cost for _, name in self.waiting())
        return min(max(left / model.bytes, 0.0), 1.0)

    def has_slot(self, engine: Engine) -> bool:
        """Whether it takes another request now."""
        return engine.state == "ready"

    def takes(self, seconds: float) -> float:
        """How many seconds it takes to compute now what takes so many on a machine that does nothing else."""
        return seconds

    def serves(self, name: str, since: float) -> bool:
        """Whether a request that arrived then is served in the model's current turn."""
        return since <= self.held.get(name, self.now)

    def waiting(self) -> list[tuple[float, str]]:
        """The models that aren't loaded but are waited for, by the arrival of the first waiting request."""
        return sorted(
            (queue[0][0], name)
            for name, queue in self.queues.items()
            if queue and name not in self.engines and self.past[name].rests_until <= self.now
        )

    def next_use(self, ahead: int) -> dict[str, float]:
        """When each model is requested next, if nothing has to wait any more, from so many future requests of each
        client. Only for policies that may know the future.
        """
        found: dict[str, float] = {}
        for client, (request, over) in self._present.items():
            free = over
            if free is None:
                free = self._use(found, request, self.now)
            for each in islice(self._clients[client], ahead):
                free = self._use(found, each, free)
        return found

    @staticmethod
    def _use(found: dict[str, float], request: Request, earliest: float) -> float:
        begin = max(request.time, earliest)
        found[request.model] = min(found.get(request.model, begin), begin)
        return begin + request.seconds

    # --- requests ---------------------------------------------------------------------------------------------

    def _arrive(self, request: Request) -> None:
        past = self.past[request.model]
        past.rate = past.rate.asked(self.now, past.reload_seconds)
        past.last_asked = self.now
        self.queues.setdefault(request.model, deque()).append((self.now, request))
        self._at(self.now + QUEUE_TIMEOUT, lambda: self._give_up(request))

    def _give_up(self, request: Request) -> None:
        queue = self.queues[request.model]
        mine = next((each for each in queue if each[1] is request), None)
        if mine is None:
            return
        queue.remove(mine)
        self._refuse(request)

    def _refuse(self, request: Request) -> None:
        self.tally.refusals += 1
        past = self.past[request.model]
        if not self.queues[request.model] and request.model not in self.engines:
            self.tally.futile += past.evicted_for_it
            past.evicted_for_it = 0
        self._answered(request)

    def _refuse_all(self, name: str) -> None:
        queue = self.queues[name]
        while queue:
            self._refuse(queue.popleft()[1])

    def _answered(self, request: Request) -> None:
        if request.client:
            self._next_of(request.client)

    def _next_of(self, client: str) -> None:
        if self._clients[client]:
            request = self._clients[client].popleft()
            self._present[client] = (request, None)
            self._at(max(request.time, self.now), lambda: self._arrive(request))

    def _dispatch(self) -> None:
        for name, engine in self.engines.items():
            queue = self.queues.get(name)
            while queue and self.has_slot(engine) and self.serves(name, queue[0][0]):
                since, request = queue.popleft()
                lost = again(request, engine.held.get(request.client), engine.model.talk)
                computing = self.takes(lost / engine.model.tokens_per_second)
                self.tally.again_tokens += lost
                self.tally.prompt_tokens += request.tokens
                self.tally.again_seconds += computing
                self.tally.waits.append(self.now - since + computing)
                engine.in_flight += 1
                over = self.now + computing + self.takes(request.seconds)
                if request.client:
                    self._present[request.client] = (request, over)
                self._at(over, lambda e=engine, r=request: self._done(e, r))  # type: ignore[misc]

    def _done(self, engine: Engine, request: Request) -> None:
        if engine.state == "dead":  # during the request, which is retried once
            if request in self._retried:
                self._refuse(request)
            else:
                self._retried.add(request)
                self.queues[request.model].append((self.now, request))
            return
        engine.in_flight -= 1
        engine.served += 1
        engine.last_used = self.now
        if engine.first_served is None:
            engine.first_served = self.now
        if request.tokens:
            engine.held.pop(request.client, None)
            engine.held[request.client] = Held(request.talk, request.tokens)
            if self.shelf:
                self._at(self.now + IDLE, lambda: self._save_while_idle(engine))
        self._answered(request)

    def _save_while_idle(self, engine: Engine) -> None:
        if self.shelf and engine.state == "ready" and not engine.in_flight and self.now - engine.last_used >= IDLE:
            self.shelf.save(engine.model, engine.held, idle=True)

    # --- models -----------------------------------------------------------------------------------------------

    def _load(self, name: str, after: Sequence[str]) -> None:
        engine = Engine(self.host.models[name], self.past[name].cost, self.queues[name][0][0], after=set(after))
        self.engines[name] = engine
        self._start(engine)

    def _start(self, engine: Engine) -> None:
        if engine.after or engine.state != "waiting":
            return
        engine.state = "loading"
        model, past = engine.model, self.past[engine.model.name]
        past.refaults = past.refaults.loaded(self.now, self.expected(model))
        cached = self.pages.taken(model.name) / model.bytes if self.pages else 0.0
        load = cached * model.warm_seconds + (1 - cached) * model.load_seconds
        restoring, engine.held = self.shelf.restore(model) if self.shelf else (0.0, {})
        self.tally.loads += 1
        self.tally.load_seconds += load
        self.tally.reload_seconds += load if past.loads else 0.0
        self.tally.restore_seconds += restoring
        past.loads += 1
        seconds = load + restoring
        self._at(self.now + seconds, lambda: self._ready(engine, Load(model.bytes, seconds, cached)))

    def _ready(self, engine: Engine, load: Load) -> None:
        past = self.past[engine.model.name]
        if engine.state == "loading":
            engine.state, engine.last_used, engine.ready_since = "ready", self.now, self.now
            past.evicted_for_it = 0
            past.reload_seconds = load.seconds
            past.speeds = past.speeds.seen("mmap", load) if self.pages else past.speeds
            self.speed = self.speed.seen(load.bytes, load.seconds)

    def _evict(self, name: str, measured: bool) -> None:
        engine = self.engines[name]
        assert engine.state == "ready"
        assert not engine.in_flight
        engine.state = "leaving"
        self.tally.evictions += 1
        expected, before = engine.taken, self.available
        saving = self.shelf.save(engine.model, engine.held) if self.shelf and self.level != "critical" else 0.0
        self.tally.save_seconds += saving
        self._at(self.now + UNLOAD + saving, lambda: self._gone(engine, expected if measured else 0, before))

    def _gone(self, engine: Engine, expected: int, before: int) -> None:
        name = engine.model.name
        if engine.state == "dead":
            return
        del self.engines[name]
        if self.pages:
            self.pages.left(name, engine.model.bytes)
        past = self.past[name]
        past.refaults = past.refaults.evicted(self.now, self.expected(engine.model))
        past.cost = max(past.cost, engine.taken) if past.measured else engine.taken
        past.measured = True
        if expected:
            self.relief = self.relief.stepped(self.now, expected=expected, freed=self.available - before)
        for other in list(self.engines.values()):
            other.after.discard(name)
            self._start(other)

    # --- the machine ------------------------------------------------------------------------------------------

    def _neighbour_takes(self, size: int) -> None:
        self._neighbour = size

    def _look(self) -> None:
        """Handle the consequences of what has just happened."""
        while self.available < 0 and any(engine.taken for engine in self.engines.values()):
            victim = max(self.engines.values(), key=lambda engine: engine.taken)
            self._die(victim)
        if self.pages:
            self.pages.shrink(self.available)
        self._read_level()
        self._dispatch()
        decisions = self.way.admit(self) if self.waiting() else ()
        self.held = {name: self.held.get(name, self.now) for each in decisions for name in each.paused}
        for each in decisions:
            self._carry_out(each)
        relief = self.way.relieve(self) if self.level != "normal" else None
        for name in relief.victims if relief else ():
            self.tally.pressure += 1
            self._evict(name, measured=True)
        self._dispatch()
        self.tally.memory.append((self.now, sum(engine.taken for engine in self.engines.values()), self._neighbour))
        again = min((each.again for each in decisions), default=self.now)
        if self.now < again < self.now + TICK and not self.now < self._looks_at <= again:  # each look would add one
            self._looks_at = again
            self._at(again, lambda: None)
        if not self._ticking and (any(self.queues.values()) or self.level != "normal") and self._events:
            self._ticking = True
            self._at(self.now + TICK, self._tick)

    def _tick(self) -> None:
        self._ticking = False

    def _carry_out(self, decision: Decision) -> None:
        if decision.kind == "refuse":
            self._refuse_all(decision.model)
        for name in decision.victims:
            self.past[decision.model].evicted_for_it += 1
            self._evict(name, measured=False)
        if decision.kind == "admit" or (decision.kind == "evict" and self.way.reserves):
            self._load(decision.model, [n for n, e in self.engines.items() if e.state == "leaving"])

    def _die(self, engine: Engine) -> None:
        """The system kills the largest model."""
        name = engine.model.name
        self.tally.deaths += 1
        self.past[name].rests_until = self.now + COOL_DOWN
        del self.engines[name]
        if engine.state == "loading":
            self._refuse_all(name)
        engine.state = "dead"
        for other in list(self.engines.values()):
            other.after.discard(name)
            self._start(other)

    def _read_level(self) -> None:
        free, reserve = self.available, self.host.reserve
        if free < reserve // 8:
            self.level = "critical"
        elif free < reserve // 4 and self.level == "normal":
            self.level = "warn"
        elif free > reserve // 2 and self.level != "normal":
            self.level = "normal"
            self.relief = self.relief.ended()

    def _at(self, when: float, event: Callable[[], None]) -> None:
        heapq.heappush(self._events, (when, next(self._order), event))
