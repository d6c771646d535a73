"""What a llmsup that asks this one is told besides: which one this is, and more of each model in `/v1/models`.

That is between llmsups, and no part of the API: who asks says so with `via.VIA`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import msgspec
import trio
from quart import Response, request

from ..fleet.fleet import Fleet
from ..fleet.memory.governor import Governor
from ..fleet.model.model import Model
from ..gateway.places import Place, Placed
from ..peers.candidates import load_seconds_of, slots_of
from ..peers.peers import Peers
from ..peers.via import ID, STAMP, VIA, read_via
from .elsewhere import where
from .status import rounded

LISTS = frozenset(("/models", "/v1/models"))
ASKED = LISTS | {"/running", "/memory"}
"""What a llmsup asks another whose models it serves, too."""


async def introduce(response: Response, fleet: Fleet, governor: Governor, peers: Peers) -> None:
    """Complete an answer of the app's to what a llmsup has asked."""
    if request.path not in ASKED:
        return
    response.headers.add(ID.decode(), peers.identity)
    via = request.headers.get(VIA.decode(), "")
    if not via or request.method != "GET" or response.status_code != 200:
        return
    if request.path == "/running":
        response.headers.add(STAMP.decode(), _stamp(fleet, peers))
    if request.path in LISTS:
        answer = msgspec.json.decode(await response.get_data(as_text=False))
        # One of the two lists is enough.
        told = {"object": "list", "data": await _told(answer["data"], fleet, governor, peers, read_via(via))}
        response.set_data(msgspec.json.encode(told))


def _stamp(fleet: Fleet, peers: Peers) -> str:
    """Return what changes with what is offered, and with who offers it, but for what `/running` itself has."""
    here = [(name, model.entry.refusal) for name, model in fleet.models.items()]
    there = [
        (
            (peer.name, peer.identity, peer.usable),
            [
                (offer.name, offer.loaded, offer.hops, offer.down, sorted(offer.origins))
                for offer in peer.offers.values()
            ],
        )
        for peer in peers.all.values()
    ]
    offered = repr((peers.identity, here, fleet.without_engine, there)).encode("utf-8", "backslashreplace")
    return hashlib.blake2b(offered, digest_size=8).hexdigest()


async def _told(
    entries: list[dict[str, Any]], fleet: Fleet, governor: Governor, peers: Peers, via: tuple[str, ...]
) -> list[dict[str, Any]]:
    """The entries that say something to who asks. A model that only he himself could serve is none."""
    told = []
    for entry in entries:
        await trio.lowlevel.checkpoint()  # hundreds of models must not delay running streams
        if isinstance(entry.get("peer"), dict):
            there = Placed(entry["id"], list(_places(entry["id"], peers, via)))
            if not there.places:
                continue
            origins = {each for place in there.places for each in origins_of(place, peers.identity)}
            entry["peer"] = {**where(there), "origins": sorted(origins)}
        elif (model := _model(entry["id"], fleet)) is not None:
            entry |= {"load_seconds": rounded(load_seconds_of(model, governor)), "slots": slots_of(model)}
        told.append(entry)
    return told


def _places(id_: str, peers: Peers, via: tuple[str, ...]) -> Iterator[Place]:
    """Who has a model, of those that the question hasn't come through."""
    for peer in peers.all.values():
        names = (id_, id_.removeprefix(f"{peer.name}/"), *peers.called.get(id_, ()))
        names += tuple(f"{name}:latest" for name in names if peer.kind == "ollama")
        offer = next((peer.offers[name] for name in names if name in peer.offers), None)
        if offer is not None and not (peer.identity and peer.identity in via):
            yield Place(peer, offer)


def origins_of(place: Place, ours: str) -> frozenset[str]:
    """Which llmsups have the model themselves, or from a server that is none; `ours` is the identity of this one."""
    return place.offer.origins if place.offer.hops else frozenset((place.peer.identity or ours,))


def _model(id_: str, fleet: Fleet) -> Model | None:
    return fleet.models.get(id_) or fleet.models.get(id_.rpartition(":")[0])  # a preset's entry
