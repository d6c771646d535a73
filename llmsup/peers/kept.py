"""What peers that sleep have offered, kept from one run of llmsup to the next, so that they can be woken for it."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from pathlib import Path

import msgspec
from attrs import evolve, frozen

from ..process.atomic import write_atomic
from ..process.kept import read_kept
from .asking import reading
from .offer import Offer, PeerKind
from .peer import Peer, forgotten
from .watcher import let_in

log = logging.getLogger(__name__)

FILE = "peers.json"
FORMAT = 1
LARGEST_FILE = 8 * 1024**2


@frozen
class _Known:
    url: str
    kind: PeerKind | None
    offers: list[Offer]


@frozen
class _Document:
    format: int
    peers: dict[str, _Known]


class KeptOffers:
    """The file. `load` and `save` block on the disk; one call at a time, from any thread."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._known: Mapping[str, _Known] = {}

    def load(self) -> None:
        """Read it."""
        document, trouble = read_kept(
            self._file, _Document, version=FORMAT, largest=LARGEST_FILE, instead="sleeping peers are asked anew"
        )
        if trouble:
            log.warning("%s", trouble)
        self._known = document.peers if document else {}

    def recall(self, peer: Peer) -> None:
        """Tell a peer that has not answered yet what it had."""
        known = self._known.get(peer.name)
        if known is None or known.url != peer.spec.url or not peer.spec.mac or peer.offers:
            return
        peer.kind = known.kind
        peer.offers = let_in(peer.spec, tuple(forgotten(each) for each in known.offers if reading.name(each.name)))

    def now(self, peers: Iterable[Peer]) -> bytes | None:
        """Return what the file should hold; None if that is what it holds."""
        known = {peer.name: self._of(peer) for peer in peers if peer.spec.mac}
        wanted = {name: each for name, each in known.items() if each is not None}
        if wanted == self._known:
            return None
        self._known = wanted
        return msgspec.json.encode(_Document(FORMAT, wanted))

    def _of(self, peer: Peer) -> _Known | None:
        if not peer.offers and not peer.health.proven:
            return self._known.get(peer.name)
        kept = [
            evolve(forgotten(each), load_seconds=None, slots=None, origins=frozenset()) for each in peer.offers.values()
        ]
        return _Known(peer.spec.url, peer.kind, kept)

    def save(self, data: bytes) -> None:
        """Write it. What can't be written is only logged: it is asked for again."""
        try:
            write_atomic(self._file, data)
        except OSError as error:
            log.warning("%s can't be written (%s): after a restart, sleeping peers are not woken", self._file, error)
