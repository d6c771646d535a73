"""Checks between the keys of [peers.NAME] tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from .checks import check_name
from .schema import PeerSpec
from .tables import Read
from .wording import Place


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
