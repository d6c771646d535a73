"""Asks one peer what it has, again and again, and writes that into `Peer`; wakes its machine when that is wanted."""

from __future__ import annotations

import logging
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from fnmatch import fnmatchcase
from types import MappingProxyType

import trio

from ..config.schema import PeerSpec
from ..errors import OutOfResources
from ..units import Seconds
from .address import Door
from .asking.kind import Asker, Report
from .asking.recognise import recognise
from .offer import Offer
from .peer import Peer, PeerState
from .question import Busy, NoAnswer, Questions
from .via import MOST_HOPS

log = logging.getLogger(__name__)

EVERY = Seconds(10)
"""How often a peer is asked."""

OFTEN = Seconds(2)
"""The same while it has requests of ours, or somebody looks at peers."""

WAKE_EVERY = Seconds(3)
"""How often the packet that wakes a machine is repeated: it may be lost, or come while that is falling asleep."""

WAKE_PROBE = Seconds(1)
"""How often a machine that is being woken is asked whether it is there."""

ITSELF = "it is this llmsup itself"

Send = Callable[[PeerSpec], Awaitable[None]]
"""Sends what wakes a peer's machine."""


class Watcher:
    """The task of one peer."""

    def __init__(
        self,
        peer: Peer,
        door: Door | None,
        *,
        identity: str,
        looked_at: Callable[[], bool] = lambda: False,
        send: Send,
        luck: Callable[[], float] = random.random,
    ) -> None:
        """
        Args:
            identity: Of this llmsup.
            looked_at: Whether somebody looks at peers now.
            luck: Gives numbers from 0 to 1, to spread pauses.
        """
        self._peer = peer
        self._door = door
        self._identity = identity
        self._looked_at = looked_at
        self._send = send
        self._luck = luck
        self._asker: Asker | None = None
        self._asked_at = -EVERY
        self._silent_since = 0.0
        self._sent_at = -WAKE_EVERY

    async def run(self) -> None:
        """Watch it, until cancelled."""
        while True:
            await self._rest()
            if self._peer.state is PeerState.WAKING:
                await self._wake()
            await self._ask()

    # When...

    async def _rest(self) -> None:
        """Wait until it is to be asked; what that depends on may change meanwhile."""
        while (left := self._due() - trio.current_time()) > 0:
            with trio.move_on_after(left):
                await self._peer.nudged()

    def _due(self) -> float:
        peer = self._peer
        if peer.state is PeerState.WAKING:
            return self._asked_at + WAKE_PROBE
        if peer.state is not PeerState.UP or peer.health.missed:
            return peer.retry_at
        often = self._asked_at + (OFTEN if peer.in_flight or self._looked_at() else EVERY)
        # A request that failed since then is a reason to ask sooner.
        return min(often, peer.retry_at) if peer.retry_at > self._asked_at else often

    def _set_pause(self) -> None:
        self._peer.retry_at = trio.current_time() + self._peer.health.pause(self._luck())

    # What...

    async def _ask(self) -> None:
        peer, self._asked_at = self._peer, trio.current_time()
        questions, ours = Questions(peer.pool, self._door, self._identity), Counter(peer.ours)
        try:
            report = await self._report(questions)
        except Busy as error:
            self._set_pause()
            if peer.state is PeerState.UP:
                peer.become(PeerState.UP, str(error))
        except NoAnswer as error:
            if not peer.health.missed:
                self._silent_since = self._asked_at
            self._missed(str(error), awake=error.awake)
            await self._give_up()
        except OutOfResources:
            self._set_pause()  # we are at fault, which has been logged: nothing is known of it
        except Exception as error:
            # What a peer says must not end llmsup, whatever it is.
            log.exception("a bug in llmsup: what peer %s says can't be read", peer.name)
            self._missed(f"what it says can't be read: a bug in llmsup ({type(error).__name__})", awake=True)
        else:
            self._told(report, min(questions.took, default=0.0), ours)
        finally:
            self._asked_at = trio.current_time()

    async def _report(self, questions: Questions) -> Report:
        if self._asker is None or self._peer.state is not PeerState.UP:
            self._asker = await recognise(questions)  # another one may have come back than the one that went
        return await self._asker.ask(questions)

    def _missed(self, reason: str, *, awake: bool) -> None:
        peer = self._peer
        peer.health = peer.health.miss()
        self._set_pause()
        if peer.state is PeerState.WAKING:
            if trio.current_time() >= peer.woken_at + peer.spec.wake_timeout:
                peer.slept_on(reason)
        elif peer.health.down:
            if peer.state is not PeerState.ASLEEP or awake or not peer.reason.endswith(reason):
                peer.fell(reason, awake=awake)
        else:
            peer.wavers(reason)

    async def _give_up(self) -> None:
        """Fail the requests that wait for a peer from which nothing at all has come while it was taken out: a machine
        that has lost its power or its cable says nothing, and they would wait for ever. One that answers anything, or
        goes on with a stream, is alive.
        """
        if self._peer.health.down and self._peer.pool.heard < self._silent_since:
            await self._peer.pool.hang_up()

    def _told(self, report: Report, took: float, ours: Counter[str]) -> None:
        peer, before = self._peer, self._shown()
        if report.identity and report.identity == self._identity:
            peer.identity = report.identity
            peer.health = peer.health.miss()
            peer.offers = MappingProxyType({})
            self._set_pause()
            if peer.state is not PeerState.DOWN or peer.reason != ITSELF:
                peer.become(PeerState.DOWN, ITSELF)
                self._peer.announce()
            return
        peer.health = peer.health.told()
        peer.retry_at = 0.0
        peer.kind, peer.version, peer.identity = report.kind, report.version, report.identity
        peer.latency, peer.room, peer.note = took, report.room, "; ".join(report.notes)
        peer.offers = let_in(peer.spec, tuple(each for each in report.offers if not self._own(each)))
        peer.ours_then = ours | peer.ours  # the larger of what it had when it was asked, and has now
        reason = f"it answers, and offers {_models(len(peer.offers))}"
        if peer.state is not PeerState.UP or peer.reason != reason:
            peer.become(PeerState.UP, reason)
        if self._shown() != before:
            peer.notify()
            self._peer.announce()

    def _own(self, offer: Offer) -> bool:
        """Whether it is a model of this llmsup, offered back by one that has it from here."""
        return bool(offer.hops and offer.origins) and offer.origins <= {self._identity}

    def _shown(self) -> object:
        peer = self._peer
        return peer.state, peer.reason, peer.offers, peer.room, peer.note, peer.version, peer.identity, peer.kind

    # Waking...

    async def _wake(self) -> None:
        if trio.current_time() < self._sent_at + WAKE_EVERY:
            return
        self._sent_at = trio.current_time()
        try:
            await self._send(self._peer.spec)
        except OSError as error:
            log.warning("peer %s can't be woken: %s", self._peer.name, error.strerror or error)


def let_in(spec: PeerSpec, offers: tuple[Offer, ...]) -> Mapping[str, Offer]:
    """Return what a peer offers, by name: only what its table lets in, and what hasn't come from too far."""
    return MappingProxyType(
        {offer.name: offer for offer in offers if offer.hops < MOST_HOPS and fits(spec, offer.name)}
    )


def fits(spec: PeerSpec, name: str) -> bool:
    """Whether a peer's table lets in a model of that name."""
    return any(fnmatchcase(name.casefold(), pattern.casefold()) for pattern in spec.models)


def _models(count: int) -> str:
    return f"{count or 'no'} model{'' if count == 1 else 's'}"
