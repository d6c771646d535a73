"""Has the fleet serve what peers offer: which names there are, and which peers have each."""

from __future__ import annotations

import logging
from collections.abc import Iterable

import trio
from attrs import evolve, fields

from ..config.live import LiveConfig
from ..config.peers import about_peers
from ..config.schema import ModelSpec, Settings
from ..fleet.fleet import Fleet
from ..fleet.memory.governor import Governor
from ..fleet.model.model import Model
from ..process.ring import Events
from ..process.watched import Watched
from ..units import Seconds
from .absent import Absent
from .backend import RoutedBackend
from .decisions import Routes
from .names import NamesHere
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
        self._told: dict[str, object] = {}
        self._warned: frozenset[str] = frozenset()
        self._news = trio.Event()
        absent = Absent(self)
        fleet.absent, fleet.rouse, fleet.asking = absent.why, absent.rouse, self._asked

    @property
    def peers(self) -> Iterable[Peer]:
        """All peers."""
        return self._peers.all.values()

    def peer_of(self, name: str) -> tuple[Peer | None, str]:
        """The peer of PEER/NAME, and the model's name there; None if it is no such name."""
        peer, slash, rest = name.partition("/")
        return (self._peers.all.get(peer) if slash else None), rest

    def table(self, name: str) -> ModelSpec | None:
        """The table of a model of peers to which this name is given."""
        return self._here.table(name)

    @property
    def identity(self) -> str:
        """Which llmsup this is (`via`)."""
        return self._peers.identity

    @property
    def busy(self) -> bool:
        """Whether a peer has a request of ours."""
        return any(peer.in_flight for peer in self._peers.all.values())

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Keep them so, until cancelled."""
        task_status.started()
        while True:
            changed = self._listen()
            if fresh := self.update():
                await self._governor.costs(fresh)  # so that choices can be made without waiting for the disk
            rested = trio.current_time() + LEAST_APART
            await changed.wait()
            self.known, self._fleet.asking = False, self._asked  # until then, what is new could be what is asked for
            await trio.sleep_until(rested)

    def _listen(self) -> trio.Event:
        """Return what is set as soon as there is anything new."""
        changed = trio.Event()
        for each in (self._peers, self._fleet, self._config):
            each.wakes(changed)
        return changed

    def refresh(self) -> None:
        """Come up to date, if `run` hasn't yet: a choice is made among all that are known by now."""
        if self._news.is_set():
            self.update()

    def update(self) -> list[Model]:
        """Work out what is served by whom, and tell the fleet if that is new; returns the models here that others have,
        too, if so.
        """
        self._news = self._listen()
        config, models = self._config.now, self._fleet.models
        here = self._here = NamesHere(models.values(), about_peers(config, models))
        shared, alone, addressed = self._places(here)
        also = _without_latest(alone) | _without_latest(addressed)
        new = [
            self._keep(self._alone, alone, is_here=False),
            self._keep(self._addressed, addressed, is_here=False),
            self._keep(self._shared, shared, is_here=True),
            also != self._also,
            here.told != self._told,
        ]
        self.known = all(peer.state is not PeerState.UNKNOWN for peer in self._peers.all.values())
        self._fleet.asking = None if self.known else self._asked
        self.notify()
        if not any(new):
            return []
        self._also, self._told = also, here.told
        self._peers.called = here.called
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
                    _put(place, shared.setdefault(model.spec.name, {}), model.spec.name)
                elif (table := here.table(name) or here.table(plain(peer, name))) is not None:
                    _put(place, alone.setdefault(table.name, {}), table.name)
                elif not here.has_preset(name):  # which would be lost behind a peer's model of that name
                    alone.setdefault(name, {})[peer.name] = place
        free = (name for name in addressed if here.meant(name) is None and here.owner(name) in ("", name))
        addressed = {name: addressed[name] for name in free}
        return shared, {name: places for name, places in alone.items() if name not in addressed}, addressed

    def _keep(self, backends: dict[str, RoutedBackend], places: Places, *, is_here: bool) -> bool:
        """Bring some backends up to date; returns whether there are others now."""
        gone, new = backends.keys() - places.keys(), places.keys() - backends.keys()
        for name in gone:
            del backends[name]
        for name in new:
            backends[name] = RoutedBackend(
                name,
                self._fleet,
                self._governor,
                self.routes,
                self.identity,
                self._spec,
                refresh=self.refresh,
                is_here=is_here,
            )
        for name, there in places.items():
            backends[name].has(there)
        return bool(gone or new)

    def _spec(self, name: str) -> ModelSpec:
        """The settings for requests of a model that isn't here: those of its table, or for PEER/NAME those of the model
        of that name, whether it is here or has a table; else [defaults], as far as they are not for engines here.
        """
        here, defaults = self._here, self._config.now.defaults
        peer, _, rest = name.partition("/")
        theirs = rest if peer in self._peers.all else ""
        model, table = here.meant(theirs), here.table(name) or here.table(theirs)
        if theirs and model is None and table is None:
            table = here.table(plain(self._peers.all[peer], theirs))
        origin: object = model.spec if model is not None else table or defaults
        known = self._specs.get(name)
        if known is not None and known[0] is origin:  # each request asks for it, several times
            return known[1]
        if model is not None:
            spec = evolve(model.spec, name=name, aliases=(), upstream_model="")
        elif table is not None:
            aliases = table.aliases if table.name == name else ()
            sampling = {key: table.sampling[key] for key in table.sampling if _own(key, table, defaults)}
            spec = evolve(table, name=name, aliases=aliases, upstream_model="", sampling=sampling)
        else:
            spec = ModelSpec(name=name, **{key: getattr(origin, key) for key in _SETTINGS})
        self._specs[name] = (origin, spec)
        return spec

    def _warn(self, here: NamesHere, addressed: Places) -> None:
        """Tell, once, of models here whose names are what peers' models would be called."""
        offered = ((peer.name, name) for peer in self._peers.all.values() for name in peer.offers)
        taken = frozenset(f"{peer}/{name}" for peer, name in offered) - addressed.keys()
        for name in sorted(taken - self._warned):
            text = "%r is a name of the model %s here, so that the model %r of the peer %r can't be asked for by it"
            log.warning(text, name, here.owner(name) or "?", *reversed(name.split("/", 1)))
        self._warned = taken

    async def _asked(self) -> None:
        """Wait until each peer has been asked once, for a moment: what isn't known here may be theirs."""
        with trio.move_on_after(FIRST_ANSWERS):
            await self.until(lambda: self.known)


def _put(place: tuple[Peer, str], places: dict[str, tuple[Peer, str]], id_: str) -> None:
    """Add one of a model's places: each peer has one, that by the model's own name if there are several."""
    peer, name = place
    if peer.name not in places or name == id_:
        places[peer.name] = place


def _own(key: str, table: ModelSpec, defaults: Settings) -> bool:
    """Whether a table's sampling is its own, and not that for engines here."""
    return f"sampling.{key}" in table.given or key not in defaults.sampling


def _without_latest(places: Places) -> dict[str, list[str]]:
    """What else models of peers answer to: Ollama's names without their usual tag, or with it, where a table has the
    one without; as far as that is no model itself.
    """
    also: dict[str, list[str]] = {}
    for id_, there in places.items():
        names = {
            each for peer, name in there.values() if plain(peer, name) != name for each in (name, plain(peer, name))
        }
        before = f"{peer}/" if (peer := id_.partition("/")[0]) in there and id_ not in names else ""
        also[id_] = [each for each in (f"{before}{name}" for name in sorted(names)) if each not in places]
    return also


def plain(peer: Peer, name: str) -> str:
    """A model's name at a peer without the tag that Ollama takes for granted; as it is at others."""
    return name.removesuffix(":latest") if peer.kind == "ollama" else name
