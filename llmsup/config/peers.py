"""Checks between the keys of [peers.NAME] tables, and which [models.NAME] tables are about models of peers."""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping

from .checks import check_name
from .schema import Config, ModelSpec, PeerSpec
from .tables import Read
from .wording import Place

AT_PEERS = frozenset(
    {
        *("aliases", "capture", "description", "idle_paths", "kind", "presets", "queue_timeout", "request"),
        *("sampling", "unlisted"),
    }
)
"""The keys of a [models.NAME] table that count for a model of peers, too. All others are about an engine here."""


def about_peers(config: Config, served: Container[str]) -> Iterator[ModelSpec]:
    """The tables whose models can only be at peers: `served` are those that are here, and nothing says what to run."""
    for name, spec in config.models.items():
        if config.peers and not (name in served or spec.path or spec.command):
            yield spec


def check(peers: Mapping[str, Read[PeerSpec]]) -> Iterator[tuple[str, Place]]:
    """Find every mistake between keys."""
    folded: dict[str, str] = {}
    for name, peer in peers.items():
        place = ("peers", name)
        try:
            check_name(name)
        except ValueError as error:
            yield str(error), place
        if "/" in name or ":" in name:
            yield "a peer's name can't contain '/' or ':': its models are called NAME/MODEL", place
        if (other := folded.setdefault(name.casefold(), name)) != name:
            yield f"{name!r} and {other!r} are one name: upper and lower case are not told apart", place
        if not peer.value.url and "url" not in peer.bad:
            yield "a peer needs 'url', its address: \"http://studio.local:5005\"", place
        secure = peer.value.url.startswith("https:")
        for key in ("ca", "fingerprint"):
            if getattr(peer.value, key) and not secure and "url" not in peer.bad:
                yield f"{key!r} is about certificates, and 'url' doesn't begin with https://", place
        if peer.value.ca and peer.value.fingerprint:
            yield "both 'ca' and 'fingerprint' are set: keep one", place
