"""`GET /peers`: the other servers whose models are served here, what each offers, and how it fares."""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

import trio
from quart import Blueprint, Response

from ..fleet.fleet import Fleet
from ..peers.offer import Offer, Room
from ..peers.peer import Peer, PeerState
from ..peers.peers import Peers
from .answers import as_json
from .shapes import peers as shapes
from .status import rounded, wall


def peers(all_of_them: Peers, fleet: Fleet) -> Blueprint:
    """The route /peers. A peer's key is never told."""
    routes = Blueprint("peers", __name__)

    @routes.get("/peers")
    async def look() -> Response:
        all_of_them.look()
        answer: shapes.Peers = {"peers": []}
        for peer in list(all_of_them.all.values()):
            await trio.lowlevel.checkpoint()  # ten times fifty models must not hold up everybody's streams
            answer["peers"].append(peer_as_json(peer, fleet))
        return as_json(answer)

    return routes


def peer_as_json(peer: Peer, fleet: Fleet) -> shapes.Peer:
    """One peer. Times are Unix seconds, durations seconds, sizes bytes; null is "not known"."""
    left = peer.retry_at - trio.current_time() if peer.state in (PeerState.DOWN, PeerState.ASLEEP) else 0
    return {
        "name": peer.name,
        "url": peer.spec.url,
        "kind": peer.kind,
        "state": cast("shapes.PeerStateName", str(peer.state)),
        "since": wall(peer.since),
        "reason": peer.reason,
        "failures": peer.failures,
        "next_probe_in": rounded(left) if left > 0 else None,
        "latency_seconds": None if peer.latency is None else round(peer.latency, 6),
        "in_flight": peer.in_flight,
        "requests": peer.requests,
        "failed": peer.failed,
        "priority": peer.spec.priority,
        "version": peer.version or None,
        "note": peer.note or None,
        "memory": None if peer.room is None else _room(peer.room),
        "models": [_model(peer, offer, fleet) for offer in _by_name(peer.offers.values())],
    }


def unanswered(peers: Peers) -> str:
    """How many peers don't answer, without their names; "" if all that are awake do."""
    down = sum(peer.state is PeerState.DOWN for peer in peers.all.values())
    if not down:
        return ""
    one = len(peers.all) == 1
    return f"{down} of {len(peers.all)} peer{'' if one else 's'} {_does(down)} answer: `llmsup peers` tells more"


def _does(count: int) -> str:
    return "doesn't" if count == 1 else "don't"


def _by_name(offers: Iterable[Offer]) -> list[Offer]:
    return sorted(offers, key=lambda offer: offer.name.casefold())


def _room(room: Room) -> shapes.PeerMemory:
    return {"ceiling_bytes": room.ceiling, "used_bytes": room.used, "available_bytes": room.available}


def _model(peer: Peer, offer: Offer, fleet: Fleet) -> shapes.PeerModel:
    return {
        "name": offer.name,
        "also_here": fleet.here(offer.name) is not None,
        "loaded": offer.loaded,
        "loading": offer.loading,
        "in_flight": peer.ours[offer.name],
        "busy": offer.busy,
        "slots": offer.slots,
        "load_seconds": rounded(offer.load_seconds),
        "needs_bytes": offer.needs_bytes,
        "context_length": offer.context_length,
        "hops": offer.hops,
    }
