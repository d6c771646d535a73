"""What must hold for each request whatever its servers do: it is tried twice at most, never where it has been, and
nothing of it is left behind.
"""

from __future__ import annotations

from collections import Counter
from typing import Any, Self, cast

import trio
from attrs import Factory, define, frozen
from hypothesis import given
from hypothesis import strategies as st

from llmsup.catalog.entry import Entry
from llmsup.config.schema import ModelSpec, PeerSpec
from llmsup.engines.address import TcpAddress
from llmsup.engines.pool import ConnectionPool
from llmsup.errors import EngineDied, Error, ModelFailed, PeerFailed, PeerUnavailable, QueueFull
from llmsup.fleet.backend import BackendRun, Trail
from llmsup.fleet.fleet import Fleet
from llmsup.fleet.model.model import Model
from llmsup.peers.backend import RoutedBackend
from llmsup.peers.candidates import Memory
from llmsup.peers.decisions import Routes
from llmsup.peers.lease import MOST_TRIES
from llmsup.peers.offer import Offer
from llmsup.peers.peer import Peer, PeerState
from llmsup.process.logbook import LogBook
from llmsup.process.ring import Events
from llmsup.units import Seconds


@frozen
class There:
    """A peer, what becomes of waking it, and of a request."""

    state: PeerState
    came_through: bool
    offers: bool
    loaded: bool | None
    busy: int
    wakes: bool
    answers: bool


@frozen
class Here:
    """A model here, and what becomes of a request."""

    enters: bool
    at_once: bool
    loads: bool
    answers: bool


THERE = st.builds(
    There,
    state=st.sampled_from(PeerState),
    came_through=st.booleans(),
    offers=st.booleans(),
    loaded=st.sampled_from([True, False, None]),
    busy=st.integers(0, 9),
    wakes=st.booleans(),
    answers=st.booleans(),
)


class Waker(Peer):
    """A peer of which it is known whether it wakes up."""

    wakes_up = True
    log: list[str]

    async def woken(self) -> None:
        await trio.lowlevel.checkpoint()
        if not self.wakes_up:
            raise PeerUnavailable(f"{self.name} sleeps on")

    def began(self, model: str) -> None:
        self.log.append(f"began {self.name}")
        super().began(model)

    def ended(self, model: str) -> None:
        self.log.append(f"ended {self.name}")
        super().ended(model)


class OwnRun:
    """What serves here."""

    where = ""


@define(eq=False)
class OwnLease:
    """A lease here."""

    here: Here
    log: list[str]
    served_by: Any = None
    left: bool = False

    async def run(self, timeout: Seconds) -> Any:
        await trio.lowlevel.checkpoint()
        assert timeout > 0
        if not self.here.loads:
            raise ModelFailed("it can't be loaded")
        self.served_by = OwnRun()
        return self.served_by

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if not self.left:
            self.left = True
            self.log.append("ended here")


@define(eq=False)
class OwnFleet:
    """As much of a fleet as a backend asks."""

    here: Here | None
    log: list[str]
    models: dict[str, Model] = Factory(dict)
    paused: None = None

    def running(self) -> list[Model]:
        return []

    def enter(self, model: Model, ttl: Seconds, client: str) -> OwnLease:
        assert self.here is not None
        if not self.here.enters:
            self.log += ["began here", "ended here"]  # a try all the same
            raise QueueFull("full")
        self.log.append("began here")
        return OwnLease(self.here, self.log, OwnRun() if self.here.at_once else None)


class NothingKnown:
    """Of the machine's memory."""

    def load_seconds(self, model: Model) -> float:
        return 1.0

    def verdict(self, model: Model) -> None:
        return None


@given(
    st.dictionaries(st.sampled_from(["studio", "box", "laptop", "nas"]), THERE),
    st.none()
    | st.builds(Here, enters=st.booleans(), at_once=st.booleans(), loads=st.booleans(), answers=st.booleans()),
    st.integers(0, 4),
    st.booleans(),
)
def test_whatever_becomes_of_its_servers(peers: dict[str, There], here: Here | None, hops: int, leaves: bool) -> None:
    async def play() -> None:
        log: list[str] = []
        fleet = OwnFleet(here, log)
        if here is not None:
            fleet.models["m"] = Model(Entry(spec=ModelSpec(name="m", command=("m",))), LogBook())
        backend = RoutedBackend(
            "m",
            cast("Fleet", fleet),
            cast("Memory", NothingKnown()),
            Routes(Events()),
            "ours",
            lambda name: ModelSpec(name=name),
            refresh=lambda: None,
            is_here=True,
        )
        made: dict[str, Peer] = {}
        for name, there in peers.items():
            made[name] = peer = Waker(
                PeerSpec(name=name, url=f"http://{name}"), ConnectionPool.to(TcpAddress("::1", 1))
            )
            peer.log, peer.wakes_up, peer.state, peer.identity = log, there.wakes, there.state, f"id-{name}"
            offer = Offer(name="m", loaded=there.loaded, busy=there.busy)
            peer.offers = {"m": offer} if there.offers else {}
        backend.has({name: (peer, "m") for name, peer in made.items()})
        via = (*(f"id-{name}" for name, there in peers.items() if there.came_through), *map(str, range(hops)))
        trail = Trail(via=via)
        served = await exchange(backend, trail, peers, here, leaves=leaves)
        began, ended = (Counter(line[6:] for line in log if line.startswith(what)) for what in ("began ", "ended "))
        assert began == ended
        assert not any(peer.ours.total() for peer in made.values())
        assert began.total() <= MOST_TRIES
        for name, there in peers.items():
            if began[name]:
                assert not there.came_through
                assert len(via) < 3
                assert there.offers
                assert there.state is not PeerState.DOWN
                assert began[name] == 1
        if served is not None:
            assert (peers[served] if served else here).answers  # type: ignore[union-attr]

    trio.run(play)


async def exchange(
    backend: RoutedBackend, trail: Trail, peers: dict[str, There], here: Here | None, *, leaves: bool
) -> str | None:
    """A request, as `gateway.exchange` deals with one; returns where it was served."""
    lease = None
    try:
        for _ in range(3):
            lease = backend.enter(trail=trail)
            run: BackendRun | None = lease.served_by
            if leaves and run is None:
                with trio.CancelScope() as scope:  # once more, after a sign of life
                    scope.cancel()
                    await lease.run(Seconds(60))
            run = run or await lease.run(Seconds(60))
            if leaves:
                return None
            there: Any = peers[run.where] if run.where else here
            if there.answers:
                return run.where
            trail.failed[run.where] = PeerFailed("it broke") if run.where else EngineDied("it died")
            lease.__exit__()
        raise AssertionError("it was tried three times")
    except Error:
        return None
    finally:
        if lease is not None:
            lease.__exit__()
            lease.__exit__()  # which may be done twice
