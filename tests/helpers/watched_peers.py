"""`Peers` without the rest of llmsup: a config that a test changes, and the peers that follow it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import trio
from attrs import evolve

from llmsup.config.live import LiveConfig
from llmsup.config.schema import Config, PeerSpec, Server
from llmsup.fleet.fleet import Fleet
from llmsup.peers.peer import Peer
from llmsup.peers.peers import Peers
from llmsup.process.ring import Events

PATIENCE = 30
"""Seconds after which a test counts as hung."""


def spec(port: int, name: str = "studio", **table: Any) -> PeerSpec:
    """A peer's table."""
    return PeerSpec(name=name, **{"url": f"http://127.0.0.1:{port}", **table})


class Watched:
    """The peers, and what they run on.

    Attributes:
        woken: The peers that were sent a packet, in order.
    """

    def __init__(self, config: Config) -> None:
        self.config = LiveConfig(config)
        self.events = Events()
        self.woken: list[str] = []
        self.wakes: Callable[[], None] = lambda: None
        self.peers = Peers(self.config, cast("Fleet", None), self.events, send=self._send)

    async def _send(self, spec: PeerSpec) -> None:
        self.woken.append(spec.name)
        self.wakes()

    def __getitem__(self, name: str) -> Peer:
        return self.peers.all[name]

    def configure(self, *specs: PeerSpec) -> None:
        """Put other peers into the config."""
        self.config.replace(evolve(self.config.now, peers={spec.name: spec for spec in specs}))

    async def until(self, predicate: Callable[[], object]) -> None:
        """Wait until something holds that the peers tell of, with a bound."""
        with trio.fail_after(PATIENCE):
            await self.peers.until(predicate)

    def transitions(self) -> list[tuple[str, str]]:
        """What the events tell."""
        return [(event.data["before"], event.data["state"]) for event in self.events.tail() if event.kind == "peer"]


@asynccontextmanager
async def watched(folder: Path, *specs: PeerSpec) -> AsyncIterator[Watched]:
    """Watch these peers."""
    config = Config(server=Server(state_dir=folder), peers={spec.name: spec for spec in specs})
    found = Watched(config)
    async with trio.open_nursery() as nursery:
        await nursery.start(found.peers.run)
        yield found
        nursery.cancel_scope.cancel()
