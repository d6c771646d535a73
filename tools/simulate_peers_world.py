"""Several simulated machines that serve each other's clients, each with llmsup's memory policy, as one world.

Each machine is a front, too: its clients ask it, and it sends each request to the machine that its `Router` picks. What
a front knows of the others is what they said at the last poll, all at the same moment, which is the worst case for
herds; of itself it knows all, and of its own requests, where they are.

A machine computes `width` requests at full speed, whichever models they are for; beyond that all that begin are
slower in proportion.
"""

from __future__ import annotations

import heapq
import random
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from itertools import count

from attrs import Factory, define, frozen

from llmsup.peers.choice import HERE, Candidate
from llmsup.peers.estimate import busy_by_now, our_share
from tools.simulate_engine import Engine
from tools.simulate_machine import Host, Request, Trace
from tools.simulate_talks import Held, again
from tools.simulate_tally import Tally
from tools.simulate_ways import Llmsup
from tools.simulate_world import World

POLL = 2.0
"""Seconds between two questions to a peer."""

Router = Callable[[Sequence[Candidate], Callable[[], float]], str]
"""Picks one of several by name, with a source of chance."""


@define(eq=False)
class Station(World):
    """One machine.

    Attributes:
        slots: Requests that each of its engines works on at once.
        width: Requests that it computes at full speed.
        answered: Is told of each request that is over.
        worked: Seconds of requests, each as long as it takes alone.
    """

    slots: int = 4
    width: int = 4
    answered: Callable[[Request], None] = print
    worked: float = 0.0

    def receives(self, request: Request, now: float) -> None:
        """A request comes."""
        self._at(now, lambda: self._arrive(request))

    def has_slot(self, engine: Engine) -> bool:
        return engine.state == "ready" and engine.in_flight < self.slots

    def takes(self, seconds: float) -> float:
        self.worked += seconds
        running = 1 + sum(engine.in_flight for engine in self.engines.values())
        return seconds * max(running / self.width, 1.0)

    def busy(self, model: str) -> int:
        """Requests for a model, in flight and waiting."""
        engine = self.engines.get(model)
        return (engine.in_flight if engine else 0) + len(self.queues.get(model, ()))

    def says(self, now: float) -> Said:
        """What it tells whoever asks."""
        self.now = now
        here = {name: each.state for name, each in self.engines.items() if each.state not in ("leaving", "dead")}
        names = {*here, *(name for name, queue in self.queues.items() if queue)}
        counted = {name: max(each.reserved, each.taken) for name, each in self.engines.items()}
        coming = sum(counted[name] - each.taken for name, each in self.engines.items() if each.state != "ready")
        free = min(self.host.ceiling - sum(counted.values()), self.available - self.host.reserve // 2 - coming)
        return Said(here, {name: self.busy(name) for name in names}, free)

    def _answered(self, request: Request) -> None:
        self.answered(request)


@frozen(eq=False)
class Said:
    """A machine at one moment: its models' states, their requests, and the bytes that it could give another model
    without an eviction, as `llmsup.memory.policy.admission.room` counts them.
    """

    states: Mapping[str, str]
    busy: Mapping[str, int]
    free: int


@define(eq=False)
class Front:
    """What a machine knows as the one that its clients ask.

    Attributes:
        ours: Its clients' requests that are under way, by machine and model; `then`: at the last poll.
        kept: Where each client's conversation with a model has been, and how much of it.
    """

    at: int
    ours: Counter[tuple[int, str]] = Factory(Counter)
    then: Counter[tuple[int, str]] = Factory(Counter)
    kept: dict[tuple[str, str], dict[int, Held]] = Factory(dict)

    def share(self, model: str, said: Sequence[Said]) -> float:
        """Its part of all requests for a model, as they said."""
        told = sum(each.busy.get(model, 0) for each in said)
        mine = sum(self.then[at, model] for at in range(len(said)))
        return our_share(told, mine)


@define(eq=False)
class Several:
    """One run.

    Attributes:
        clients: Each one's requests; the front of the first is the first machine, and so on, round.
        reckons: Whether fronts reckon with what others have sent since the last poll.
        chance: What all routers draw from.
        beside: Requests that queued for an engine while another machine's had a free slot for them.
        longest: The longest queue for a model that was loaded.
        away: Requests that another machine served than the one that was asked.
    """

    host: Host
    clients: Sequence[Sequence[Request]]
    router: Router
    number: int = 10
    slots: int = 4
    width: int = 4
    reckons: bool = True
    chance: random.Random = Factory(lambda: random.Random(1))  # noqa: S311 -- repeatable, not secret
    now: float = 0.0
    sent: int = 0
    beside: int = 0
    longest: int = 0
    away: int = 0
    stations: list[Station] = Factory(list)
    _fronts: list[Front] = Factory(list)
    _said: list[Said] = Factory(list)
    _events: list[tuple[float, int, Callable[[], None]]] = Factory(list)
    _order: count[int] = Factory(count)
    _left: dict[str, deque[Request]] = Factory(dict)
    _asks: dict[str, Front] = Factory(dict)
    _at_work: dict[str, tuple[Front, int]] = Factory(dict)

    def run(self, until: float, warm_up: float = 0.0) -> Tally:
        """Play that many seconds; what comes before the end of the warm-up isn't counted."""
        for at in range(self.number):
            trace = Trace(f"machine {at}", self.host)
            station = Station(trace, Llmsup(), "computed", slots=self.slots, width=self.width)
            station.answered = self._answered
            station.begin()
            self.stations.append(station)
            self._fronts.append(Front(at))
        self._poll()
        self._later(warm_up, self._forget)
        for number, requests in enumerate(self.clients):
            client = requests[0].client
            self._asks[client], self._left[client] = self._fronts[number % self.number], deque(requests)
            self._next_of(client)
        while True:
            first = min(self.stations, key=lambda each: each.next_event)
            self.now = min(self._events[0][0], first.next_event)
            if self.now > until:
                break
            if self._events[0][0] <= self.now:
                heapq.heappop(self._events)[2]()
            else:
                first.step()
        return self._sum(until - warm_up)

    def _later(self, when: float, event: Callable[[], None]) -> None:
        heapq.heappush(self._events, (when, next(self._order), event))

    def _poll(self) -> None:
        self._said = [station.says(self.now) for station in self.stations]
        for front in self._fronts:
            front.then = Counter(front.ours)
        self._later(self.now + POLL, self._poll)

    def _forget(self) -> None:
        self.sent = self.beside = self.longest = self.away = 0
        for station in self.stations:
            station.tally, station.worked = Tally(), 0.0

    def _next_of(self, client: str) -> None:
        if left := self._left[client]:
            request = left.popleft()
            self._later(max(request.time, self.now), lambda: self._send(request))

    def _send(self, request: Request) -> None:
        front = self._asks[request.client]
        candidates = [self._candidate(request, front, at) for at in range(self.number)]
        where = self.router(candidates, self.chance.random)
        at = front.at if where == HERE else int(where)
        self._count(request.model, front.at, at)
        front.ours[at, request.model] += 1
        self._at_work[request.client] = front, at
        self.stations[at].receives(request, self.now)

    def _candidate(self, request: Request, front: Front, at: int) -> Candidate:
        station, name = self.stations[at], request.model
        said = station.says(self.now) if at == front.at else self._said[at]
        model, state = self.host.models[name], said.states.get(name)
        held = front.kept.get((request.client, name), {}).get(at) if state == "ready" else None
        return Candidate(
            where=HERE if at == front.at else str(at),
            loaded=state == "ready",
            loading=state in ("waiting", "loading"),
            busy=self._busy(front, at, name, said.busy.get(name, 0)),
            others=sum(said.busy.values()) - said.busy.get(name, 0),
            slots=self.slots,
            fits=station.past[name].cost <= said.free,
            load_seconds=station.expected(model),
            latency=0.0 if at == front.at else 0.001,
            remembers=request.shared - again(request, held, model.talk) if held else 0,
        )

    def _busy(self, front: Front, at: int, name: str, told: int) -> int:
        if at == front.at:
            return told
        if not self.reckons:
            return max(told, front.ours[at, name])
        return busy_by_now(told, front.then[at, name], front.ours[at, name], front.share(name, self._said))

    def _count(self, model: str, asked: int, at: int) -> None:
        self.sent += 1
        self.away += asked != at
        engine, before = self.stations[at].engines.get(model), self.stations[at].busy(model)
        if engine is None or engine.state != "ready" or before < self.slots:
            return
        self.longest = max(self.longest, before + 1 - self.slots)
        others = [(each.engines.get(model), each.busy(model)) for each in self.stations]
        self.beside += any(each and each.state == "ready" and busy < self.slots for each, busy in others)

    def _answered(self, request: Request) -> None:
        front, at = self._at_work.pop(request.client)
        front.ours[at, request.model] -= 1
        front.kept.setdefault((request.client, request.model), {})[at] = Held(request.talk, request.tokens)
        self._next_of(request.client)

    def _sum(self, seconds: float) -> Tally:
        tallies = [station.tally for station in self.stations]
        return Tally(
            loads=sum(each.loads for each in tallies),
            evictions=sum(each.evictions for each in tallies),
            refusals=sum(each.refusals for each in tallies),
            deaths=sum(each.deaths for each in tallies),
            again_tokens=sum(each.again_tokens for each in tallies),
            prompt_tokens=sum(each.prompt_tokens for each in tallies),
            duration=seconds,
            waits=[wait for each in tallies for wait in each.waits],
        )
