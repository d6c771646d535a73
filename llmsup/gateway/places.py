"""Models of peers as lists of models show them: by which name, and where each is."""

from __future__ import annotations

from collections.abc import Iterable

from attrs import Factory, define, evolve, field, frozen

from ..catalog.described import preset_name, presets
from ..config.schema import Kind, ModelSpec
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
    def memory(self) -> str:
        """In whose memory it is there, if in any."""
        return f"a server behind {self.peer.name}" if self.offer.hops else self.peer.name

    @property
    def down(self) -> bool:
        """Whether the peer doesn't answer now, or those don't from which it has the model."""
        return self.peer.state is PeerState.DOWN or self.offer.down

    @property
    def reason(self) -> str:
        """Why the peer is as it is, in a clause."""
        return "it has it from servers that don't answer" if self.offer.down else self.peer.reason


@define(eq=False)
class Placed:
    """A model that isn't here, or a preset of one.

    Attributes:
        id: What the model is asked for as.
        places: Where it is; at least one, and one at each peer.
        spec: What the config says of it.
        preset: Which preset; "" for the model itself.
    """

    id: str
    places: list[Place] = Factory(list)
    spec: ModelSpec = field(default=Factory(lambda self: ModelSpec(name=self.id), takes_self=True))
    preset: str = ""

    @property
    def name(self) -> str:
        """What it is asked for as."""
        return preset_name(self.id, self.preset)

    @property
    def aliases(self) -> list[str]:
        """What the config calls it, first of all its name."""
        return list(dict.fromkeys(preset_name(name, self.preset) for name in (self.id, *self.spec.aliases)))

    def add(self, place: Place) -> None:
        """Add a place: if a peer has it under several names, that by the model's own counts."""
        known = next((at for at, each in enumerate(self.places) if each.peer is place.peer), None)
        if known is None:
            self.places.append(place)
        elif place.offer.name == self.id:
            self.places[known] = place

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
        """Who has it in memory: peers, or servers behind them."""
        return [each.memory for each in self.places if each.offer.loaded and not each.down]

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
        return self.spec.kind or next((place.offer.kind for place in self.places if place.offer.kind), None)

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
            id_ = fleet.id_of(name)
            if id_ in fleet.models:
                if place.peer.name not in (others := self.also.setdefault(id_, [])):
                    others.append(place.peer.name)
                continue
            id_ = id_ if id_ in fleet.elsewhere else name
            if (placed := self.elsewhere.get(id_)) is None:
                placed = self.elsewhere[id_] = Placed(id_, spec=self._spec(id_))
            placed.add(place)

    def find(self, id_: str) -> Placed | None:
        """The model that an id means, bare or as PEER/NAME; None if it is none of a peer's, or is here."""
        if (placed := self.elsewhere.get(id_)) is not None:
            return placed
        there = [place for place in self._all if place.name == id_]
        return Placed(id_, there, self._spec(id_)) if there else None

    def _spec(self, id_: str) -> ModelSpec:
        backend = self._fleet.elsewhere.get(id_) or self._fleet.addressed.get(id_)
        return ModelSpec(name=id_) if backend is None else backend.spec

    def listed(self, caller: Caller) -> list[Placed]:
        """What isn't here and a caller may use, with the presets that it has here. Where that holds for a model by its
        peer's name only, it is listed by that.
        """
        shown: list[Placed] = []
        hidden: set[str] = set()
        for placed in self.elsewhere.values():
            listed = [] if placed.spec.unlisted else presets(placed.spec)
            usable = [preset for preset in listed if caller.may_use(self._fleet, placed.id, preset)]
            shown += [evolve(placed, preset=preset) for preset in usable]
            if usable or placed.spec.unlisted:
                hidden.update(place.name for place in placed.places)
        if caller.models is not None:
            shown += [
                Placed(place.name, [place], self._spec(place.name))
                for place in self._all
                if place.name not in hidden and caller.may_use(self._fleet, place.name)
            ]
        return shown

    def names(self, placed: Placed, caller: Caller) -> list[str]:
        """What else a model that isn't here answers to, as far as a caller may use it so."""
        names = [preset_name(place.name, placed.preset) for place in placed.places if place.name != placed.id]
        return [name for name in names if caller.may_use(self._fleet, name)]

    def others(self, model: Model) -> list[str]:
        """The peers that have a model that is here."""
        return self.also.get(model.spec.name, [])

    def others_down(self, model: Model) -> list[str]:
        """Of those of them that don't answer now."""
        down = {place.peer.name for place in self._all if place.down}
        return [name for name in self.others(model) if name in down]


def capabilities_of(kind: Kind | None) -> list[str]:
    """What a model of that kind can do for sure, in Ollama's words."""
    return ["completion"] if kind in (None, "chat") else [str(kind)]
