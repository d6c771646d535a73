"""A model that several servers have, this one and peers, or peers alone: each request goes to the best of them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Self, cast

import trio

from ..config.schema import ModelSpec
from ..engines.connection import Disconnected
from ..errors import EngineBadAnswer, EngineDied, Error, Loop, ModelNotFound, ModelNotLoaded, PeerUnavailable
from ..fleet.backend import BackendLease, BackendRun, Trail
from ..fleet.fleet import Fleet
from ..fleet.model.model import OUTCOME_PATIENCE, Model
from ..units import Seconds, format_seconds
from .candidates import Memory, here, share, there, why_not_here
from .choice import ALONE, HERE, Candidate, choose
from .decisions import Routed, Routes
from .lease import MOST_TRIES, RoutedLease
from .peer import Peer, PeerState
from .run import PeerRun
from .via import MOST_HOPS

NOBODYS = Trail()
"""Of no request."""


class RoutedBackend:
    """The backend. It stays the same object while its places come and go.

    Attributes:
        name: The model's id: of the one here, or what peers call it; or PEER/NAME, which is only that peer's.
        runs: It at each peer that has it, by the peer's name.
    """

    would_wait = False  # whoever has to wait here has to pass the queue's own check
    spreads = True

    def __init__(
        self,
        name: str,
        fleet: Fleet,
        memory: Memory,
        routes: Routes,
        identity: str,
        spec: Callable[[str], ModelSpec],
        *,
        refresh: Callable[[], None],
        is_here: bool,
    ) -> None:
        """
        Args:
            identity: Ours (`via`).
            spec: Gives the settings of a name that is nobody's here.
            refresh: Brings `runs` up to date.
            is_here: It stands for a model here, too.
        """
        self.name = name
        self.runs: Mapping[str, PeerRun] = {}
        self._fleet = fleet
        self._memory = memory
        self._routes = routes
        self._identity = identity
        self._spec_of = spec
        self._refresh = refresh
        self._is_here = is_here

    def __repr__(self) -> str:
        return f"<RoutedBackend {self.name}{', here' if self.model else ''}, {len(self.runs)} peers>"

    @property
    def model(self) -> Model | None:
        """The model here; None if it stands for none, or that is gone."""
        return self._fleet.models.get(self.name) if self._is_here else None

    @property
    def spec(self) -> ModelSpec:
        """The settings for its requests: those of the model here, wherever they go."""
        model = self.model
        return self._spec_of(self.name) if model is None else model.spec

    def has(self, places: Mapping[str, tuple[Peer, str]]) -> None:
        """These peers have it now, each under a name of its own."""
        runs = {}
        for where, (peer, name) in places.items():
            run = self.runs.get(where)
            if run is None or run.peer is not peer or run.name != name:
                run = PeerRun(peer, name, lambda: self.spec, self._identity)
            runs[where] = run
        self.runs = runs

    @property
    def places(self) -> str:
        """Who else has it, for people."""
        return ", ".join(self.runs)

    # Choosing...

    def choose(self, trail: Trail) -> PeerRun | None:
        """Who gets a request that has failed where its trail says; None: the model here.

        Raises:
            Error: Nobody, for this reason.
        """
        self._refresh()
        if trail.failed and trail.tries >= MOST_TRIES:
            raise list(trail.failed.values())[-1]
        candidates = [each for each in self._candidates(trail, trail.failed) if each.where not in trail.failed]
        if not candidates:
            self._check_here(trail)
            return None
        choice = choose(candidates, alone=self._alone(trail))
        self._routes.decided(self.name, choice, candidates)
        return None if choice.where == HERE else self.runs[choice.where]

    def _alone(self, trail: Trail) -> str:
        """Why there is only one to choose, a clause."""
        if trail.failed:
            return f"{' and '.join(where or 'this llmsup' for where in trail.failed)} failed the request"
        known = len(self.runs) + (self.model is not None)
        return ALONE if known == 1 else "nobody else that has it comes into question now"

    def others(self, trail: Trail, where: str) -> bool:
        """Whether somebody else than `where`, and than those that have failed, could have it."""
        out = {where, *trail.failed}
        return any(each.where not in out for each in self._candidates(trail, out))

    def _candidates(self, trail: Trail, out: Collection[str] = ()) -> list[Candidate]:
        """Those that come into question, once those that are `out` have failed it, too."""
        found = []
        if (own := self._own(trail)) is not None:
            found.append(own)
        if len(trail.via) < MOST_HOPS:
            now, ours = trio.current_time(), share(self.runs.values())
            peers = [(run, each) for run in self.runs.values() if (each := there(run, trail, ours)) is not None]
            # Who would only pass it on to others of them knows less of these than we do: how busy they are, say.
            near = {run.peer.identity for run, _ in peers if not run.passed_on_to and run.where not in out}
            last = [] if out or self.model is not None else [each for run, each in peers if run.down]
            peers = [pair for pair in peers if not pair[0].down]
            peers = [pair for pair in peers if not pair[0].passed_on_to or not pair[0].passed_on_to <= near]
            rested = [each for run, each in peers if run.rests_until <= now]
            # Those that have just failed a request come into question only if there is nobody else, and those that have
            # it from servers that are down after these.
            found += rested or ([] if found else [each for _, each in peers] or last)
        return found

    def _own(self, trail: Trail) -> Candidate | None:
        """The model here, if it comes into question."""
        model = self.model
        if model is None or self._fleet.paused is not None:
            return None
        return here(model, self._memory, trail, self._fleet.running())

    def _check_here(self, trail: Trail) -> None:
        """Raise why there is nobody; returns if it is up to the model here to say that, or to try again."""
        model, failed = self.model, trail.failed
        if failed:
            if model is None or not isinstance(failed.get(HERE), EngineDied):
                raise list(failed.values())[-1]
            return
        if model is not None and not (model.entry.refusal and self.runs):
            return  # it refuses it itself, and knows why
        if trail.via and (len(trail.via) >= MOST_HOPS or any(run.peer.usable for run in self.runs.values())):
            raise Loop(
                f"{self.name} is not served here, and the request has come through {len(trail.via)} other llmsup "
                f"{'server' if len(trail.via) == 1 else 'servers'}: it would go round in circles.",
                hint="Ask the one that has the model itself.",
            )
        raise self._down()

    def _down(self) -> PeerUnavailable:
        now = trio.current_time()
        if not self.runs:
            return PeerUnavailable(f"No peer has {self.name} any more.", retry_after=5)
        why = "; ".join(
            _why_not(run) if run.name in run.peer.offers else f"{run.where} has it no more"
            for run in self.runs.values()
        )
        for run in self.runs.values():
            run.peer.missed()
        again = min(run.peer.retry_at for run in self.runs.values()) - now
        return PeerUnavailable(
            f"{self.name} is not served here, and who has it can't be asked: {why}.", retry_after=min(max(again, 1), 60)
        )

    @property
    def routed(self) -> Routed:
        """Where its requests went."""
        return self._routes.of(self.name)

    def seen(self) -> list[tuple[str, Candidate | None, str]]:
        """Each server that has it; what the choice is made from, for a request that nobody remembers; and why that is
        nothing, in a clause.
        """
        found: list[tuple[str, Candidate | None, str]] = []
        if (model := self.model) is not None:
            own = self._own(NOBODYS)
            found.append((HERE, own, "" if own is not None else why_not_here(model, self._memory)))
        for where, run in self.runs.items():
            theirs = None if run.down else there(run, NOBODYS, share(self.runs.values()))
            found.append((where, theirs, "" if theirs is not None else _why_not(run)))
        return found

    # The backend...

    def enter(self, ttl: Seconds = Seconds(0), client: str = "", trail: Trail | None = None) -> RoutedLease:
        """Take a lease. Raises Error: nobody can serve it, for this reason."""
        return RoutedLease(self, ttl, client, Trail() if trail is None else trail)

    def enter_here(self, ttl: Seconds, client: str) -> BackendLease:
        """Take one on the model here. Raises what `Fleet.enter` does."""
        if (model := self.model) is None:
            raise ModelNotFound(f"The model {self.name!r} was just removed.", param="model")
        return self._fleet.enter(model, ttl, client)

    def keep(self, seconds: Seconds) -> None:
        """Keep the model here for so long."""
        if (model := self.model) is not None:
            model.keep(seconds)

    def look(self) -> BackendLease:
        """Take a lease for a read-only request: here if the model is loaded here, else where it is.

        Raises:
            ModelNotLoaded: It is loaded nowhere.
        """
        model = self.model
        try:
            if model is not None:
                return model.look()
        except ModelNotLoaded:
            if not any(self._shows(run) for run in self.runs.values()):
                raise
        for run in self.runs.values():
            if self._shows(run):
                return Look(run)
        raise ModelNotLoaded(
            f"{self.name} is at {self.places}, and not loaded, as far as is known.",
            hint="Ask with autoload=true in the query.",
            lasting=True,
        )

    @staticmethod
    def _shows(run: PeerRun) -> bool:
        offer = run.peer.offers.get(run.name)
        return run.peer.state is PeerState.UP and offer is not None and offer.loaded is not False and not offer.down

    async def explain(self, run: BackendRun, gone: Disconnected) -> Error:
        """Why a connection broke: see `fleet.backend.Backend`."""
        if run.where:
            return cast("PeerRun", run).lost(gone)
        if (model := self.model) is not None:
            return await model.explain(run, gone)
        return await run.ended_because(OUTCOME_PATIENCE) or EngineBadAnswer(
            f"The engine of {self.name} hung up {gone}."
        )


class Look:
    """A lease for a read-only request to a peer; it isn't counted."""

    awaits = ""
    others = False
    waited = Seconds(0)

    def __init__(self, run: PeerRun) -> None:
        self.served_by: BackendRun | None = run
        self._run = run

    async def run(self, timeout: Seconds) -> BackendRun:  # noqa: ARG002 -- it never waits
        """It is served already."""
        return self._run

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass


def _why_not(run: PeerRun) -> str:
    """Why a peer can't be asked for a model, in a clause with its name."""
    return f"{run.where} has it from servers that don't answer" if run.down else unavailable(run.peer)


def unavailable(peer: Peer) -> str:
    """Why a peer can't be asked, in a clause with its name."""
    if peer.usable and not peer.untold:
        return f"{peer.name} no longer offers it"
    since = format_seconds(max(round(trio.current_time() - peer.since), 1))
    return f"{peer.name} has been {peer.state} for {since} ({peer.reason})"
