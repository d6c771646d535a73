"""Requests that would go round in circles between llmsups that are each other's peers."""

from __future__ import annotations

from ..errors import Loop
from .peers import Peers


def check_via(peers: Peers, via: tuple[str, ...]) -> None:
    """Refuse a request that has come through here before. Raises Loop, with the names of peers on its way."""
    if peers.identity not in via:
        return
    names = {peer.identity: peer.name for peer in peers.all.values() if peer.identity}
    way = [*("this llmsup" if each == peers.identity else names.get(each, "another one") for each in via)]
    raise Loop(
        f"The request has come back to this llmsup: through {', '.join(way)}.",
        hint="Two servers offer each other a model that neither has: see `llmsup peers` at both.",
    )
