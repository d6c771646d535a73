"""One peer: what it offers, whether it answers, and the connections to it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType

import trio

from ..config.schema import PeerSpec
from ..engines.pool import ConnectionPool
from ..process.watched import Watched
from .offer import Offer, PeerKind, Room


class PeerState(StrEnum):
    """What is known of a peer."""

    UNKNOWN = "unknown"  # not asked yet
    UP = "up"
    DOWN = "down"  # it gets no request until a probe succeeds
    ASLEEP = "asleep"  # down, but it can be woken
    WAKING = "waking"


class Peer(Watched):
    """One peer. Its own task watches it and writes what it says; requests report how they fared.

    Attributes:
        spec: Its table in the config.
        pool: The connections that requests, and our own questions, are sent on.
        state: Its state; `reason` says in words why, `since` when it began (trio time).
        kind: What it is; None until it has told.
        version: What it says of its own version; "" if it doesn't.
        identity: Which llmsup it is (`via`); "" if it is none.
        offers: Its models, by the names that they have there, as far as `spec.models` lets them in.
        room: Its memory; None if it doesn't tell.
        failures: How often in a row it has failed by now.
        retry_at: When it is probed next, while it is down (trio time).
        latency: Seconds that its last answer to a probe took; None: there was none.
        ours: How many of our requests it has now, by the model's name there.
        requests: How many it has had; `failed`: how many of them it failed.
    """

    def __init__(self, spec: PeerSpec, pool: ConnectionPool) -> None:
        super().__init__()
        self.spec = spec
        self.pool = pool
        self.state = PeerState.UNKNOWN
        self.reason = "it has not answered yet"
        self.since = trio.current_time()
        self.kind: PeerKind | None = None
        self.version = ""
        self.identity = ""
        self.offers: Mapping[str, Offer] = MappingProxyType({})
        self.room: Room | None = None
        self.failures = 0
        self.retry_at = 0.0
        self.latency: float | None = None
        self.ours: Counter[str] = Counter()
        self.requests = 0
        self.failed = 0

    @property
    def name(self) -> str:
        """Its name in the config."""
        return self.spec.name

    @property
    def usable(self) -> bool:
        """Whether requests may go there now; one that is asleep has to be woken first."""
        return self.state in (PeerState.UP, PeerState.ASLEEP, PeerState.WAKING)

    def began(self, model: str) -> None:
        """One of our requests goes there; `ended` must follow."""
        self.ours[model] += 1
        self.requests += 1

    def ended(self, model: str) -> None:
        """It is over, however that was."""
        self.ours[model] -= 1

    def answered(self) -> None:
        """It has answered one of our requests: it is up."""

    def broke(self, reason: str) -> None:
        """It has failed one of our requests, for this reason, a clause. After a few in a row it is taken out."""
        self.failed += 1
        self.reason = reason

    async def woken(self) -> None:
        """Wake its machine, if it is asleep, and wait until it answers.

        Raises:
            Error: It did not within `wake_timeout`, or it is down and can't be woken.
        """

    def __repr__(self) -> str:
        return f"<Peer {self.name} {self.state}, {len(self.offers)} models, {self.ours.total()} in flight>"
