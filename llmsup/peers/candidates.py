"""What the choice of a backend is made from: the state of a model here, and what peers have told of theirs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from ..fleet.backend import Trail
from ..fleet.model.model import Model
from ..fleet.model.states import State
from ..memory.policy.decision import Decision
from .choice import HERE, Candidate
from .estimate import busy_by_now, our_share
from .peer import PeerState
from .run import PeerRun
from .via import MOST_HOPS


class Memory(Protocol):
    """What must be known of this machine's memory."""

    def load_seconds(self, model: Model) -> float:
        """How long loading a model takes."""

    def verdict(self, model: Model) -> Decision | None:
        """What would be decided if a model that isn't loaded were asked for now; None: it isn't known what it costs."""


def here(model: Model, memory: Memory, trail: Trail, running: Iterable[Model] = ()) -> Candidate | None:
    """The model here; None if it can't serve a request now, or could only by being asked all the same. `running`: those
    that have an engine here.
    """
    if model.entry.refusal or model.held or (model.state is State.FAILED and model.retry_in > 0):
        return None
    loaded = model.stays_loaded and model.state is State.READY
    loading = model.state in (State.STARTING, State.WAITING)
    fits: bool | None = True
    evicts: tuple[str, ...] = ()
    if not loaded and not loading and (verdict := memory.verdict(model)) is not None:
        if verdict.kind == "refuse":
            return None
        fits, evicts = verdict.kind == "admit", verdict.victims
    return Candidate(
        where=HERE,
        loaded=loaded,
        loading=loading,
        busy=model.queue.in_flight + model.queue.waiting,
        slots=slots_of(model),
        fits=fits,
        load_seconds=load_seconds_of(model, memory),
        remembers=_remembered(trail, HERE) if loaded else 0,
        others=sum(each.queue.in_flight + each.queue.waiting for each in running if each is not model),
        evicts=evicts,
    )


def why_not_here(model: Model, memory: Memory) -> str:
    """Why the model here is not among those that come into question, in a clause."""
    if model.entry.refusal:
        return f"it can't be served: {model.entry.refusal.rstrip('.')}"
    if model.held:
        return "llmsup is paused"
    if model.state is State.FAILED:
        return model.reason
    verdict = memory.verdict(model)
    return "" if verdict is None else verdict.reason


def slots_of(model: Model) -> int | None:
    """How many requests a model here works on at once; None if that isn't known."""
    slots = 0 if model.estimate is None else model.estimate.context.sequences
    if most := model.spec.max_in_flight:
        slots = min(slots or most, most)
    return slots or None


def load_seconds_of(model: Model, memory: Memory) -> float | None:
    """How long loading a model here takes, in seconds; None if nothing is known of it."""
    if model.entry.found is None and model.load_seconds is None:
        return None  # a command that was never started: it may take any time
    return memory.load_seconds(model)


def share(runs: Iterable[PeerRun]) -> float:
    """Our part of all the requests that peers have for a model, as they have told."""
    told = mine = 0
    for run in runs:
        if (offer := run.peer.offers.get(run.name)) is not None and offer.busy is not None:
            told, mine = told + offer.busy, mine + run.peer.ours_then[run.name]
    return our_share(told, mine)


def there(run: PeerRun, trail: Trail, ours: float = 1.0) -> Candidate | None:
    """A peer's model; None if that can't be asked now, or the request has come from there. `ours`: see `share`."""
    peer = run.peer
    offer = peer.offers.get(run.name)
    # One that was not asked yet may have told, in an earlier run or before its table changed, what it has.
    usable = peer.usable or peer.state is PeerState.UNKNOWN
    if offer is None or not usable or (peer.identity and peer.identity in trail.via) or offer.hops >= MOST_HOPS:
        return None
    loaded = (
        offer.loaded is not False and not offer.down
    )  # a server that doesn't tell has what it lists in memory, most often
    return Candidate(
        where=peer.name,
        loaded=loaded,
        loading=offer.loading,
        busy=peer.ours[run.name]
        if offer.busy is None
        else busy_by_now(offer.busy, peer.ours_then[run.name], peer.ours[run.name], ours),
        slots=offer.slots,
        fits=offer.fits,
        load_seconds=offer.load_seconds,
        priority=peer.spec.priority,
        latency=peer.latency or 0.0,
        remembers=_remembered(trail, peer.name) if loaded else 0,
        asleep=peer.state is not PeerState.UP,
        tells_loaded=offer.loaded is not None or offer.down,
        tells_busy=offer.busy is not None,
        others=run.others,
    )


def _remembered(trail: Trail, where: str) -> int:
    return 0 if trail.remembers is None else trail.remembers(where)
