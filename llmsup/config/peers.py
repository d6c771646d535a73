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

HERE = "here"
"""What stands for this machine where others are named as peers are."""


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
        if any(each in "/:" or each.isspace() for each in name):
            yield "a peer's name can't contain '/', ':' or spaces: its models are called NAME/MODEL", place
        if name.casefold() == HERE:
            yield f"{name!r} is what lists call this machine: give the peer another name", place
        if (other := folded.setdefault(name.casefold(), name)) != name:
            yield f"{name!r} and {other!r} are one name: upper and lower case are not told apart", place
        if not peer.value.url and "url" not in peer.bad:
            yield "a peer needs 'url', its address: \"http://studio.local:5005\"", place
        if peer.has("models") and not peer.value.models:
            yield "'models' lets in none of its models: leave it out for all of them", (*place, "models")
        if peer.has("wake_timeout") and not peer.value.mac and "mac" not in peer.bad:
            yield "'wake_timeout' is about a peer that can be woken: set 'mac', too, or leave it out", place
        secure = peer.value.url.startswith("https:")
        for key in ("ca", "fingerprint"):
            if getattr(peer.value, key) and not secure and "url" not in peer.bad:
                yield f"{key!r} is about certificates, and 'url' doesn't begin with https://", place
        if peer.value.ca and peer.value.fingerprint:
            yield "both 'ca' and 'fingerprint' are set: keep one", place
