"""Has the fleet serve what peers offer: which names there are, and which peers have each."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping

import trio
from attrs import evolve, fields

from ..config.live import LiveConfig
from ..config.schema import ModelSpec, Settings
from ..errors import Error, PeerUnavailable
from ..fleet.fleet import Fleet
from ..fleet.memory.governor import Governor
from ..fleet.model.model import Model
from ..process.ring import Events
from ..process.watched import Watched
from ..units import Seconds
from .backend import RoutedBackend, unavailable
from .decisions import Routes
from .peer import Peer, PeerState
from .peers import Peers
from .via import MOST_HOPS

log = logging.getLogger(__name__)

_SETTINGS = tuple(field.name for field in fields(Settings) if field.name not in ("sampling", "preload", "pinned"))


Places = dict[str, dict[str, tuple[Peer, str]]]
"""By a model's name here: by the names of the peers that have it, these peers, and what they call it."""

LEAST_APART = 0.05
"""Seconds between two looks at what there is, at least: ten busy peers have news all the time."""


FIRST_ANSWERS = Seconds(3)
"""How long a request for an unknown name waits after the start for peers to tell what they have."""


class Serving(Watched):
    """Keeps the fleet's backends in step with the peers, the models here, and the config.

    Attributes:
        routes: Where requests went.
        known: Whether each peer has been asked once and nothing new has come since, so that a name that isn't there is
            nobody's.
    """

    def __init__(self, peers: Peers, fleet: Fleet, governor: Governor, config: LiveConfig, events: Events) -> None:
        super().__init__()
        self.routes = Routes(events)
        self.known = False
        self._specs: dict[str, tuple[object, ModelSpec]] = {}
        self._here = NamesHere(())
        self._peers = peers
        self._fleet = fleet
        self._governor = governor
        self._config = config
        self._alone: dict[str, RoutedBackend] = {}
        self._addressed: dict[str, RoutedBackend] = {}
        self._shared: dict[str, RoutedBackend] = {}
        self._also: dict[str, list[str]] = {}
        self._warned: frozenset[str] = frozenset()
        fleet.absent = self._absent
        fleet.asking = self._asked

    @property
    def identity(self) -> str:
        """Which llmsup this is (`via`)."""
        return self._peers.identity

    @property
    def busy(self) -> bool:
        """Whether a peer has a request of ours."""
        return any(peer.ours.total() for peer in self._peers.all.values())

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Keep them so, until cancelled."""
        task_status.started()
        while True:
            changed = trio.Event()
            for each in (self._peers, self._fleet, self._config):
                each.wakes(changed)
            if fresh := self.update():
                await self._governor.costs(fresh)  # so that choices can be made without waiting for the disk
            rested = trio.current_time() + LEAST_APART
            await changed.wait()
            self.known, self._fleet.asking = False, self._asked  # until then, what is new could be what is asked for
            await trio.sleep_until(rested)

    def update(self) -> list[Model]:
        """Work out what is served by whom, and tell the fleet if that is new; returns the models here that others have,
        too, if so.
        """
        here = self._here = NamesHere(self._fleet.models.values())
        shared, alone, addressed = self._places(here)
        also = {name: _without_latest(name, places) for name, places in alone.items()}
        new = [
            self._keep(self._alone, alone, is_here=False),
            self._keep(self._addressed, addressed, is_here=False),
            self._keep(self._shared, shared, is_here=True),
            also != self._also,
        ]
        self.known = all(peer.state is not PeerState.UNKNOWN for peer in self._peers.all.values())
        self._fleet.asking = None if self.known else self._asked
        self.notify()
        if not any(new):
            return []
        self._also = also
        self._warn(here, addressed)
        self.routes.keep((*alone, *addressed, *shared))
        self._specs.clear()
        self._fleet.serve_elsewhere(
            self._alone.values(), addressed=self._addressed.values(), shared=self._shared.values(), also=also
        )
        return [self._fleet.models[name] for name in shared]

    def _places(self, here: NamesHere) -> tuple[Places, Places, Places]:
        """Who has what: of the models here, of those that aren't, and by PEER/NAME."""
        shared: Places = {}
        alone: Places = {}
        addressed: Places = {}
        for peer in self._peers.all.values():
            for name, offer in peer.offers.items():
                if offer.hops >= MOST_HOPS:
                    continue
                place = (peer, name)
                addressed[f"{peer.name}/{name}"] = {peer.name: place}
                if (model := here.meant(name)) is not None:
                    places = shared.setdefault(model.spec.name, {})
                    if peer.name not in places or name == model.spec.name:
                        places[peer.name] = place
                elif not here.has_preset(name):  # which would be lost behind a peer's model of that name
                    alone.setdefault(name, {})[peer.name] = place
        addressed = {name: places for name, places in addressed.items() if here.meant(name) is None}
        return shared, {name: places for name, places in alone.items() if name not in addressed}, addressed

    def _keep(self, backends: dict[str, RoutedBackend], places: Places, *, is_here: bool) -> bool:
        """Bring some backends up to date; returns whether there are others now."""
        gone, new = backends.keys() - places.keys(), places.keys() - backends.keys()
        for name in gone:
            del backends[name]
        for name in new:
            backends[name] = RoutedBackend(
                name, self._fleet, self._governor, self.routes, self.identity, self._spec, is_here=is_here
            )
        for name, there in places.items():
            backends[name].has(there)
        return bool(gone or new)

    def _spec(self, name: str) -> ModelSpec:
        """The settings for requests of a model that isn't here: those of the one here, for PEER/NAME, if there is one;
        else [defaults], as far as they are not for engines here.
        """
        peer, _, rest = name.partition("/")
        model = self._here.meant(rest) if peer in self._peers.all else None
        origin: object = self._config.now.defaults if model is None else model.spec
        known = self._specs.get(name)
        if known is not None and known[0] is origin:  # each request asks for it, several times
            return known[1]
        if model is not None:
            spec = evolve(model.spec, name=name, aliases=(), upstream_model="")
        else:
            spec = ModelSpec(name=name, **{key: getattr(origin, key) for key in _SETTINGS})
        self._specs[name] = (origin, spec)
        return spec

    def _warn(self, here: NamesHere, addressed: Places) -> None:
        """Tell, once, of models here whose names are what peers' models would be called."""
        offered = ((peer.name, name) for peer in self._peers.all.values() for name in peer.offers)
        taken = frozenset(f"{peer}/{name}" for peer, name in offered) - addressed.keys()
        for name in sorted(taken - self._warned):
            model = here.meant(name)
            text = "%r is a name of the model %s here, so that the model %r of the peer %r can't be asked for by it"
            log.warning(text, name, model.spec.name if model else "?", *reversed(name.split("/", 1)))
        self._warned = taken

    async def _asked(self) -> None:
        """Wait until each peer has been asked once, for a moment: what isn't known here may be theirs."""
        with trio.move_on_after(FIRST_ANSWERS):
            await self.until(lambda: self.known)

    def _absent(self, name: str) -> Error | None:
        """Why there is no such model, if it would be one of a peer that has not told what it has."""
        peer = self._peers.all.get(name.partition("/")[0]) if "/" in name else None
        if peer is None or peer.usable or peer.offers:
            return None
        return PeerUnavailable(f"What {peer.name} has is not known: {unavailable(peer)}.", retry_after=5)


class NamesHere:
    """What models here are called, where a peer's model of that name is another place of the same one."""

    def __init__(self, models: Iterable[Model]) -> None:
        self._given: dict[str, Model] = {}
        self._found: dict[str, Model | None] = {}  # None: several are called so
        self._presets: set[str] = set()
        for model in models:
            spec, also = model.spec, model.entry.called.also
            for name in (spec.name, *spec.aliases):
                self._given.setdefault(name, model)
                self._presets.update(f"{name}:{preset}" for preset in spec.presets)
            for name, preset in also.items():
                self._found[name] = None if name in self._found or preset else model

    def meant(self, name: str) -> Model | None:
        """The model that just this name means; None if it means none, or several."""
        return self._given.get(name) or self._found.get(name)

    def has_preset(self, name: str) -> bool:
        """Whether it is a model here with one of its presets."""
        return name in self._presets or name in self._found


def _without_latest(name: str, places: Mapping[str, tuple[Peer, str]]) -> list[str]:
    """What else a model of peers answers to: Ollama's names, without their usual tag."""
    if not name.endswith(":latest") or not any(peer.kind == "ollama" for peer, _ in places.values()):
        return []
    return [name.removesuffix(":latest")]
