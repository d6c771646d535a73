"""All peers: keeps them in step with the config, has each watched, and tells of anything new about any of them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType

import trio

from ..config.live import LiveConfig
from ..config.schema import PeerSpec
from ..fleet.fleet import Fleet
from ..process.ring import Events
from ..process.watched import Watched
from .address import SAME, Door
from .kept import FILE, KeptOffers
from .peer import Peer, forgotten
from .via import new_identity
from .wake import wake
from .watcher import OFTEN, Send, Watcher, let_in

LOOKS = 5 * OFTEN
"""Seconds for which somebody who has looked at the peers counts as looking on."""


class Peers(Watched):
    """The peers of the config in force.

    Attributes:
        all: Them, by name, in the config's order. Whoever waits for `change` hears of anything new about any of them.
        identity: Which llmsup this is (`via`).
        called: What peers may call the models, and their presets, for which the config has tables; by what they are
            called here. Whoever serves them puts it here.
    """

    called: Mapping[str, tuple[str, ...]] = MappingProxyType({})

    def __init__(self, config: LiveConfig, fleet: Fleet, events: Events, *, send: Send = wake) -> None:
        """`send`: what wakes a machine."""
        super().__init__()
        self.all: dict[str, Peer] = {}
        self.identity = new_identity()
        self._config = config
        self._fleet = fleet
        self._events = events
        self._send = send
        self._kept = KeptOffers(config.now.server.state_dir / FILE)
        self._scopes: dict[Peer, trio.CancelScope] = {}
        self._looked = -math.inf

    def look(self) -> None:
        """Note that somebody looks at the peers: what is shown is kept fresh for a while."""
        before, self._looked = self._looked, trio.current_time()
        if self._looked >= before + LOOKS:
            for peer in self.all.values():
                peer.nudge()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Watch them, until cancelled."""
        if any(spec.mac for spec in self._config.now.peers.values()):
            await trio.to_thread.run_sync(self._kept.load)
        async with trio.open_nursery() as nursery:
            self._follow(nursery)
            nursery.start_soon(self._keep)
            task_status.started()
            while True:
                await self._config.change()
                self._follow(nursery)

    def _follow(self, nursery: trio.Nursery) -> None:
        """Come in step with the config."""
        specs = self._config.now.peers
        if [peer.spec for peer in self.all.values()] == list(specs.values()):
            return
        before, self.all = self.all, {}
        for name, spec in specs.items():
            peer = before.pop(name, None)
            if peer is None:
                peer = self._take_on(spec, nursery)
            elif not _same(peer.spec, spec):
                peer = self._replace(peer, spec, nursery)
            elif peer.spec != spec:
                self._change(peer, spec)
            self.all[name] = peer
        for peer in before.values():
            self._dismiss(peer)
        self.notify()

    def _take_on(self, spec: PeerSpec, nursery: trio.Nursery) -> Peer:
        door = Door(spec)
        peer = Peer(spec, door.pool(), self._events)
        peer.announce = self.notify
        self._kept.recall(peer)
        scope = self._scopes[peer] = trio.CancelScope()
        nursery.start_soon(self._watch, peer, door, scope)
        return peer

    def _replace(self, before: Peer, spec: PeerSpec, nursery: trio.Nursery) -> Peer:
        """Take on a peer whose connections are to be made in another way, such as with another key."""
        self._dismiss(before)
        peer = self._take_on(spec, nursery)
        if before.spec.url == spec.url:  # its names go on to mean something until it has told
            peer.kind = before.kind
            peer.offers = let_in(spec, tuple(map(forgotten, before.offers.values())))
        return peer

    def _change(self, peer: Peer, spec: PeerSpec) -> None:
        peer.spec = spec
        peer.offers = let_in(spec, tuple(peer.offers.values()))
        peer.notify()
        peer.stale()

    def _dismiss(self, peer: Peer) -> None:
        peer.gone = True
        peer.notify()
        self._scopes.pop(peer).cancel()

    async def _watch(self, peer: Peer, door: Door, scope: trio.CancelScope) -> None:
        """Watch one until it is dismissed, and let its requests finish."""
        watcher = Watcher(
            peer,
            door,
            identity=self.identity,
            looked_at=lambda: trio.current_time() < self._looked + LOOKS,
            send=self._send,
        )
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(peer.pool.run)
                with scope:
                    await watcher.run()
                await peer.until(lambda: not peer.in_flight)
                nursery.cancel_scope.cancel()
        finally:
            await peer.pool.close()

    async def _keep(self) -> None:
        """Write down what peers that sleep offer, whenever that changes."""
        while True:
            if (data := self._kept.now(self.all.values())) is not None:
                await trio.to_thread.run_sync(self._kept.save, data)
            await self.change()


def _same(before: PeerSpec, after: PeerSpec) -> bool:
    """Whether a peer's connections stay as they are."""
    return all(getattr(before, key) == getattr(after, key) for key in SAME)
