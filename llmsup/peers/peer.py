"""One peer as the rest of llmsup sees it: what it offers, whether it answers, and the connections to it.

Who asks it, and when, is up to `watcher`.
"""

from __future__ import annotations

import logging
import math
import random
from collections import Counter
from collections.abc import Callable, Mapping
from enum import StrEnum
from types import MappingProxyType

import trio
from attrs import evolve

from ..config.schema import PeerSpec
from ..engines.pool import ConnectionPool
from ..errors import PeerUnavailable
from ..process.ring import Events
from ..process.watched import Watched
from ..units import Seconds, format_seconds
from .health import Health
from .offer import Offer, PeerKind, Room

log = logging.getLogger(__name__)


AGAIN = Seconds(2)
"""How often a peer that is down is asked at most because requests had to be refused."""


class PeerState(StrEnum):
    """What is known of a peer."""

    UNKNOWN = "unknown"  # not asked yet
    UP = "up"
    DOWN = "down"  # it gets no request until a probe succeeds
    ASLEEP = "asleep"  # down, but it can be woken
    WAKING = "waking"


class Peer(Watched):
    """One peer. Its watcher writes what it says and most transitions; requests report how they fared.

    Attributes:
        spec: Its table in the config.
        pool: The connections that requests, and our own questions, are sent on.
        state: Its state; `reason` says in words why, `since` when it began (trio time).
        kind: What it is; None until it has told.
        version: What it says of its own version; "" if it doesn't.
        identity: Which llmsup it is (`via`); "" if it is none.
        offers: Its models, by the names that they have there, as far as `spec.models` lets them in. While it doesn't
            answer they are those that it had: their names go on to mean something.
        room: Its memory; None if it doesn't tell.
        note: What it doesn't tell although it might, and what to do about that; "" if there is nothing to say.
        health: How it has fared; `failures` how often in a row it has failed by now.
        retry_at: When it is probed next, while it is down (trio time).
        latency: Seconds that its last answer to a probe took; None: there was none.
        ours: How many of our requests it has now, by the model's name there; `ours_then`: when it told what it offers.
        requests: How many it has had; `failed`: how many of them it failed.
        woken_at: When it was last to be woken (trio time); that goes on until it answers or `wake_timeout` is over.
        gone: It is no longer in the config: requests finish, and no more are sent.
        announce: Called when there is anything new.
    """

    def __init__(self, spec: PeerSpec, pool: ConnectionPool, events: Events | None = None) -> None:
        """`events` gets its transitions."""
        super().__init__()
        self.spec = spec
        self.pool = pool
        self.events = events or Events()
        self.state = PeerState.UNKNOWN
        self.reason = "it has not answered yet"
        self.since = trio.current_time()
        self.kind: PeerKind | None = None
        self.version = ""
        self.identity = ""
        self.offers: Mapping[str, Offer] = MappingProxyType({})
        self.room: Room | None = None
        self.note = ""
        self.health = Health()
        self.retry_at = 0.0
        self.latency: float | None = None
        self.ours: Counter[str] = Counter()
        self.ours_then: Counter[str] = Counter()
        self.requests = 0
        self.failed = 0
        self.woken_at = -math.inf
        self.gone = False
        self._missed_at = -math.inf
        self.announce: Callable[[], None] = lambda: None
        self._nudged = trio.Event()
        self._wakings = 0  # attempts that have failed

    @property
    def name(self) -> str:
        """Its name in the config."""
        return self.spec.name

    @property
    def failures(self) -> int:
        """How often in a row it has failed by now."""
        return self.health.failures

    @property
    def in_flight(self) -> int:
        """How many of our requests it has now."""
        return self.ours.total()

    @property
    def usable(self) -> bool:
        """Whether requests may go there now; one that is asleep has to be woken first."""
        return self.state in (PeerState.UP, PeerState.ASLEEP, PeerState.WAKING) and not self.gone

    @property
    def untold(self) -> bool:
        """Whether it has never told what it has: any name could be one of its models'."""
        return self.kind is None and not self.identity and not self.offers

    # What requests report...

    def began(self, model: str) -> None:
        """One of our requests goes there; `ended` must follow."""
        self.ours[model] += 1
        self.requests += 1
        if self.in_flight == 1:
            self.nudge()
        self.notify(minor=True)

    def ended(self, model: str) -> None:
        """It is over, however that was."""
        if self.ours[model] > 1:
            self.ours[model] -= 1
        else:
            del self.ours[model]
        self.notify(minor=True)

    def answered(self) -> None:
        """It has answered one of our requests: it is up."""
        if self.health is _WELL or self.gone or self.kind is None:
            return
        troubled, self.health = self.health.failures, _WELL
        if self.state is not PeerState.UP or troubled:
            self.become(PeerState.UP, "it has answered a request")
            self.stale()

    def broke(self, reason: str) -> None:
        """It has failed one of our requests, for this reason, a clause. After a few in a row it is taken out."""
        self.failed += 1
        if self.state is not PeerState.UP:
            return  # one of those that were on their way when it was taken out
        self.health = self.health.broke()
        self.retry_at = trio.current_time() + self.health.pause(random.random())  # noqa: S311 -- only spreads questions
        if self.health.down:
            self.fell(f"it failed {self.health.broken} requests in a row: {reason}", awake=True)
        else:
            self.wavers(reason)
        self.nudge()

    async def woken(self) -> None:
        """Wake its machine, if it is asleep, and wait until it answers.

        Raises:
            PeerUnavailable: It did not within `wake_timeout`, or it is down and can't be woken.
        """
        failed = self._wakings
        if self.state is PeerState.UNKNOWN:
            self.nudge()
            await self.until(lambda: self.state is not PeerState.UNKNOWN or self.gone)
        if self.state is PeerState.ASLEEP and not self.gone:
            self.woken_at = trio.current_time()
            self.become(PeerState.WAKING, "one of its models is asked for, and its machine is being woken")
            self.nudge()
        await self.until(lambda: self.state is not PeerState.WAKING or self._wakings > failed or self.gone)
        if self.gone:
            raise PeerUnavailable(f"Peer {self.name} is no longer in the config.")
        if self.state is not PeerState.UP:
            raise self.unavailable()

    def unavailable(self) -> PeerUnavailable:
        """Why it can't be asked now, as an error for a request."""
        hint = "" if self.spec.mac else "If its machine sleeps: with 'mac' in its table it is woken."
        return PeerUnavailable(
            f"Peer {self.name} is {self.state}: {self.reason}.",
            hint=hint,
            retry_after=max(1.0, min(self.retry_at - trio.current_time(), 60.0)),
        )

    # What its watcher writes...

    def become(self, state: PeerState, reason: str) -> None:
        """Enter a state. `reason`: a clause that a person understands without context."""
        if state is not self.state:
            level = logging.WARNING if state is PeerState.DOWN else logging.INFO
            log.log(level, "peer %s: %s -> %s: %s", self.name, self.state, state, reason)
            self.events.write("peer", peer=self.name, before=str(self.state), state=str(state), reason=reason)
            self.state, self.since = state, trio.current_time()
        self.reason = reason
        self.notify()
        self.announce()

    def fell(self, reason: str, *, awake: bool) -> None:
        """It doesn't answer any more; what it has offered stays known, but not what was loaded.

        `awake`: its machine isn't asleep, as far as that can be told.
        """
        self.room, self.latency = None, None
        self.offers = MappingProxyType({name: forgotten(offer) for name, offer in self.offers.items()})
        self.become(PeerState.ASLEEP if self.spec.mac and not awake else PeerState.DOWN, reason)

    def wavers(self, reason: str) -> None:
        """It has failed, and stays up until it has done so a few times in a row."""
        times = "once" if self.failures == 1 else f"{self.failures} times in a row"
        self.become(PeerState.UP, f"it has failed {times}: {reason}")

    def slept_on(self, reason: str) -> None:
        """It could not be woken: those who wait for that get an error."""
        self._wakings += 1
        self.become(
            PeerState.ASLEEP, f"it did not wake up within {format_seconds(self.spec.wake_timeout)}, and {reason}"
        )

    def missed(self) -> None:
        """A request had to be refused because it is down: it is asked again soon, rather than in up to a minute."""
        if self.state in (PeerState.DOWN, PeerState.ASLEEP) and not self.gone:
            self.retry_at = self._missed_at = min(self.retry_at, max(trio.current_time(), self._missed_at + AGAIN))
            self.nudge()

    def stale(self) -> None:
        """Have it asked anew at once."""
        self.retry_at = trio.current_time()
        self.nudge()

    def nudge(self) -> None:
        """Have the watcher look whether there is something to do."""
        self._nudged.set()

    async def nudged(self) -> None:
        """Wait for the next `nudge`, or the last one that nobody has waited for."""
        await self._nudged.wait()
        self._nudged = trio.Event()

    def __repr__(self) -> str:
        return f"<Peer {self.name} {self.state}, {len(self.offers)} models, {self.in_flight} in flight>"


_WELL = Health(proven=True)


def forgotten(offer: Offer) -> Offer:
    """The same without what is only so at the moment."""
    return evolve(offer, loaded=None, loading=False, busy=None, fits=None, down=False)
