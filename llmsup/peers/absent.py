"""Why a name is no model's: where peers haven't told what they have, it may well be one of theirs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

import trio

from ..config.schema import ModelSpec
from ..errors import Error, ModelNotFound, PeerUnavailable
from .backend import unavailable
from .peer import Peer
from .watcher import fits


class Known(Protocol):
    """What is known of peers, and of names."""

    @property
    def peers(self) -> Iterable[Peer]:
        """All peers."""

    def peer_of(self, name: str) -> tuple[Peer | None, str]:
        """The peer of PEER/NAME, and the model's name there; None if it is no such name."""

    def table(self, name: str) -> ModelSpec | None:
        """The table of a model of peers to which this name is given."""

    def update(self) -> object:
        """Come up to date with what peers have told."""


class Absent:
    """Looks into names that nobody is known to have."""

    def __init__(self, known: Known) -> None:
        self._known = known

    async def rouse(self, name: str) -> None:
        """Wake the peer of PEER/NAME, if it has never told what it has: it may have that.

        Raises:
            PeerUnavailable: It did not wake up.
        """
        peer, rest = self._known.peer_of(name)
        if peer is not None and peer.untold and peer.spec.mac and not peer.gone and fits(peer.spec, rest):
            await peer.woken()
            self._known.update()

    def why(self, name: str, error: ModelNotFound) -> Error | None:
        """Why there is no such model, if it would be one of a peer that has not told what it has; `error` says that
        there is none.
        """
        if (table := self._known.table(name)) is not None:
            return self._nobodys(table.name)
        peer, rest = self._known.peer_of(name)
        if peer is not None:
            silent = [peer] if _silent(peer) and fits(peer.spec, rest) else []
            return _unknown(f"What {peer.name} has is not known", silent) if silent else None
        silent = [each for each in self._known.peers if each.untold and fits(each.spec, name)]
        names = " and ".join(each.name for each in silent)
        what = f"{error.message} What {names} {'has' if len(silent) == 1 else 'have'} is not known"
        return _unknown(what, silent) if silent else None

    def _nobodys(self, name: str) -> Error:
        """Why a model that has a table isn't served: nobody has it, as far as is known."""
        if silent := [peer for peer in self._known.peers if _silent(peer)]:
            return _unknown(f"{name} is not here, and no peer that answers has it", silent)
        hint = "Its table in [models] has no path or command, so it is for a model of that name here or at a peer."
        return ModelNotFound(f"{name} is not here, and no peer has it.", hint=hint, param="model")


def _silent(peer: Peer) -> bool:
    """Whether it can't be said what a peer has."""
    return not peer.offers and (peer.untold or not peer.usable)


def _unknown(what: str, silent: Sequence[Peer]) -> PeerUnavailable:
    """An error for a request of what these peers might have. They are asked again soon."""
    for peer in silent:
        peer.missed()
    why = "; ".join(map(unavailable, silent))
    asleep = next((peer.name for peer in silent if peer.untold and peer.spec.mac), "")
    hint = f"A request for {asleep}/NAME wakes {asleep}." if asleep else ""
    again = min(peer.retry_at for peer in silent) - trio.current_time()
    return PeerUnavailable(f"{what}: {why}.", hint=hint, retry_after=min(max(again, 1.0), 60.0))
