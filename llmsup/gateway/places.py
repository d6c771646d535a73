"""Models of peers as lists of models show them: by which name, and where each is."""

from __future__ import annotations

from collections.abc import Iterable

from attrs import Factory, define, frozen

from ..config.schema import Kind
from ..fleet.fleet import Fleet
from ..fleet.model.model import Model
from ..peers.offer import Offer
from ..peers.peer import Peer, PeerState
from ..peers.via import MOST_HOPS
from .keyring import Caller


@frozen
class Place:
    """A peer that has a model, and what it says of it."""

    peer: Peer
    offer: Offer

    @property
    def name(self) -> str:
        """What the model is asked for as to have it from this peer."""
        return f"{self.peer.name}/{self.offer.name}"

    @property
    def down(self) -> bool:
        """Whether the peer doesn't answer now."""
        return self.peer.state is PeerState.DOWN


@define(eq=False)
class Placed:
    """A model that isn't here.

    Attributes:
        name: What it is asked for as.
        places: Where it is; at least one.
    """

    name: str
    places: list[Place] = Factory(list)

    @property
    def peers(self) -> list[str]:
        """The names of the peers that have it."""
        return [place.peer.name for place in self.places]

    @property
    def down(self) -> list[str]:
        """Of those of them that don't answer now."""
        return [place.peer.name for place in self.places if place.down]

    @property
    def loaded(self) -> bool | None:
        """Whether it is in memory at one of those that answer; None if none tells."""
        known = [each.offer.loaded for each in self.places if not each.down and each.offer.loaded is not None]
        return any(known) if known else None

    @property
    def loaded_at(self) -> list[str]:
        """The peers that have it in memory."""
        return [each.peer.name for each in self.places if each.offer.loaded and not each.down]

    @property
    def loading_at(self) -> list[str]:
        """The peers that are loading it."""
        return [each.peer.name for each in self.places if each.offer.loading and not each.down]

    @property
    def hops(self) -> int:
        """How many servers stand between this one and its engine, on the shortest way."""
        return min(place.offer.hops for place in self.places) + 1

    @property
    def kind(self) -> Kind | None:
        """What it is for; None if nobody tells."""
        return next((place.offer.kind for place in self.places if place.offer.kind), None)

    @property
    def context_length(self) -> int | None:
        """How many tokens a request can have wherever it is served; None if nobody tells."""
        return min((each.offer.context_length for each in self.places if each.offer.context_length), default=None)


class Places:
    """Where all models of peers are, at this moment.

    Attributes:
        elsewhere: Those that aren't here, by the name that they have there.
        also: The peers that have a model that is here, too, by its id here.
    """

    def __init__(self, peers: Iterable[Peer], fleet: Fleet) -> None:
        self._fleet = fleet
        self._all = [Place(peer, offer) for peer in peers for offer in peer.offers.values() if offer.hops < MOST_HOPS]
        self.elsewhere: dict[str, Placed] = {}
        self.also: dict[str, list[str]] = {}
        for place in self._all:
            name = place.offer.name
            if (model := fleet.here(name)) is None:
                self.elsewhere.setdefault(name, Placed(name)).places.append(place)
            elif place.peer.name not in (others := self.also.setdefault(model.spec.name, [])):
                others.append(place.peer.name)

    def find(self, id_: str) -> Placed | None:
        """The model that an id means, bare or as PEER/NAME; None if it is none of a peer's, or is here."""
        if (placed := self.elsewhere.get(id_)) is not None:
            return placed
        there = [place for place in self._all if place.name == id_]
        return Placed(id_, there) if there else None

    def listed(self, caller: Caller) -> list[Placed]:
        """What isn't here and a caller may use. Where that holds for a model by its peer's name only, it is listed by
        that.
        """
        shown = [placed for placed in self.elsewhere.values() if caller.may_use(self._fleet, placed.name)]
        if caller.models is not None:
            bare = {placed.name for placed in shown}
            shown += [
                Placed(place.name, [place])
                for place in self._all
                if place.offer.name not in bare and caller.may_use(self._fleet, place.name)
            ]
        return shown

    def names(self, placed: Placed, caller: Caller) -> list[str]:
        """What else a model that isn't here answers to, as far as a caller may use it so."""
        names = [placed.name, *(place.name for place in placed.places)]
        return [name for name in names if name != placed.name and caller.may_use(self._fleet, name)]

    def others(self, model: Model) -> list[str]:
        """The peers that have a model that is here."""
        return self.also.get(model.spec.name, [])


def capabilities_of(kind: Kind | None) -> list[str]:
    """What a model of that kind can do for sure, in Ollama's words."""
    return ["completion"] if kind in (None, "chat") else [str(kind)]
