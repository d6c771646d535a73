"""One model of one peer, as what a request is sent to: its name there, its headers, and what its failures mean."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode

import trio

from ..config.schema import ModelSpec
from ..engines.connection import Disconnected
from ..engines.http import HeaderLines
from ..engines.pool import ConnectionPool
from ..engines.sampling import request_fields
from ..errors import EngineBadAnswer, Error, PeerFailed
from ..units import Seconds
from .address import unreachable
from .offer import Offer
from .peer import Peer
from .via import VIA

RESTING = frozenset((401, 429, 502, 503, 504, 507, 508))
"""Statuses of a peer that are no client's fault: it has too much to do, or no room, or doesn't know us. Another server
may do better, and the next request is better sent there at once."""

ELSEWHERE_MAYBE = frozenset((404, 405, 501))
"""Those that another server may not have: a peer has no such path, or the model no more."""

PROXIES = frozenset((502, 503, 504))
"""Those that may come from something in front of a peer that is down."""

REST = Seconds(10)
"""For how long a model of a peer that has refused a request, or broken off, is only asked if there is no other."""

SOON = Seconds(5)
"""After which a client may try again what a peer has broken off."""

_BY_PATH = ("llmsup", "llama-swap")
"""Peers that take an engine's own paths behind `/upstream/MODEL`."""


class PeerRun:
    """One peer's model. It is there for as long as the peer offers it, whether that is up or not.

    Attributes:
        peer: Whose it is.
        name: What it is called there.
        rests_until: Until when others are preferred, as it has failed a request (trio time).
    """

    listens = False
    keeps_slots = False  # a peer that does says so itself

    def __init__(self, peer: Peer, name: str, spec: Callable[[], ModelSpec], identity: str) -> None:
        """`spec` gives the settings for its requests; `identity` is ours (`via`)."""
        self.peer = peer
        self.name = name
        self.rests_until = 0.0
        self._spec = spec
        self._identity = identity.encode("latin-1")
        self._busy: tuple[Mapping[str, Offer], int] = ({}, 0)  # what all models have by those offers
        self._lines: tuple[HeaderLines | None, HeaderLines | None] = (None, None)  # the last, and what became of them

    def __repr__(self) -> str:
        return f"<PeerRun {self.name} at {self.peer.name}>"

    @property
    def where(self) -> str:
        """The peer's name."""
        return self.peer.name

    @property
    def renames(self) -> str:
        """The model's name there."""
        return self.name

    @property
    def pool(self) -> ConnectionPool:
        """The connections to the peer."""
        return self.peer.pool

    @property
    def body_defaults(self) -> Mapping[str, Any]:
        """The sampling that the config has for the model: what runs there was not started with it."""
        sampling = self._spec().sampling
        return request_fields(sampling) if sampling else {}

    @property
    def down(self) -> bool:
        """Whether the peer has it from servers that don't answer, as it says."""
        return (offer := self.peer.offers.get(self.name)) is not None and offer.down

    @property
    def others(self) -> int:
        """Requests that the peer's other models have: as it says itself, or ours, if these are more."""
        offers = self.peer.offers
        if self._busy[0] is not offers:
            self._busy = (offers, sum(offer.busy or 0 for offer in offers.values()))
        own = offers.get(self.name)
        said = self._busy[1] - ((own.busy or 0) if own is not None else 0)
        return max(said, self.peer.in_flight - self.peer.ours[self.name])

    @property
    def passed_on_to(self) -> frozenset[str]:
        """The llmsups that the peer would pass a request on to, at the end of the way (`via`); empty: it has the model
        itself, or doesn't tell.
        """
        offer = self.peer.offers.get(self.name)
        return offer.origins if offer is not None and offer.hops else frozenset()

    def refuses(self, status: int) -> bool:
        """See `fleet.backend.BackendRun`."""
        if status not in PROXIES:
            self.peer.answered()
        if status in RESTING:
            self.rests_until = trio.current_time() + REST
            return True
        self.rests_until = 0.0
        return status in ELSEWHERE_MAYBE

    def directed(
        self, target: bytes, headers: HeaderLines, via: tuple[str, ...], *, by_path: bool
    ) -> tuple[bytes, HeaderLines]:
        """See `fleet.backend.BackendRun`."""
        path, mark, query = target.partition(b"?")
        if by_path and self.peer.kind in _BY_PATH:
            path = b"/upstream/" + quote(self.name, safe="/").encode() + path
        elif mark and b"model=" in query:
            query = self._named(query)
        return path + mark + query, self._with_via(headers, via)

    def _named(self, query: bytes) -> bytes:
        """A query, with the name that the model has there."""
        pairs = parse_qsl(query.decode("latin-1"), keep_blank_values=True)
        return urlencode([(key, self.name if key == "model" else value) for key, value in pairs]).encode()

    def _with_via(self, headers: HeaderLines, via: tuple[str, ...]) -> HeaderLines:
        before, after = self._lines
        if not via and before is headers and after is not None:
            return after
        identities = b", ".join((*(each.encode("latin-1") for each in via), self._identity))
        after = HeaderLines(b"%b%b: %b\r\n" % (headers.text, VIA, identities), headers.upgrading)
        if not via:
            self._lines = (headers, after)
        return after

    def answered(self, computed: int, cached: int, seconds: float | None) -> None:
        """Nobody here wants to know."""

    async def ended_because(self, patience: float) -> Error | None:  # noqa: ARG002 -- there is nothing to wait for
        """It has no end that we would know of."""
        return None

    async def died_of(self, patience: float) -> Error | None:
        """An answer has ended with its connection: if the peer can't be reached now either, that was no end."""
        with trio.move_on_after(patience):
            try:
                answer = await self.pool.request("GET", b"/v1/models", [], b"")
            except (Disconnected, EngineBadAnswer):
                return self.broke("it ended its connection amid an answer, and can't be reached any more")
            await answer.close()
            return None
        return self.broke("it ended its connection amid an answer, and doesn't answer any more")

    def lost(self, gone: Disconnected) -> PeerFailed:
        """Note that a connection to it broke; returns the error for whoever's request it was."""
        if isinstance(gone.__cause__, OSError):
            return self.broke(unreachable(gone.__cause__))
        if self.peer.health.down:  # and so `watcher` has hung up
            return self.broke(f"it doesn't answer any more: {self.peer.reason}")
        return self.broke(f"it hung up {gone}")

    def broke(self, reason: str, detail: str = "") -> PeerFailed:
        """See `fleet.backend.BackendRun`."""
        self.rests_until = trio.current_time() + REST
        self.peer.broke(detail or reason)
        return PeerFailed(f"The peer {self.where} failed a request for {self.name}: {reason}.", retry_after=SOON)
