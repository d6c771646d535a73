"""What a peer has told is reckoned on with what was sent since: ours, and what others are likely to have sent."""

from __future__ import annotations

from collections import Counter
from typing import cast

import pytest

from llmsup.config.schema import ModelSpec, PeerSpec
from llmsup.engines.pool import ConnectionPool
from llmsup.fleet.backend import Trail
from llmsup.peers.candidates import share, there
from llmsup.peers.estimate import our_share
from llmsup.peers.offer import Offer
from llmsup.peers.peer import Peer, PeerState
from llmsup.peers.run import PeerRun


def a_run(name: str, busy: int | None, *, then: int, now: int) -> PeerRun:
    """A peer that had so many requests for `m` when it told, of which `then` were ours; now we have `now` there."""
    peer = Peer(PeerSpec(name=name), cast("ConnectionPool", None))
    peer.state = PeerState.UP
    peer.offers = {"m": Offer(name="m", loaded=True, busy=busy, slots=4)}
    peer.ours_then, peer.ours = Counter(m=then), Counter(m=now)
    return PeerRun(peer, "m", lambda: ModelSpec(name="m"), "us")


def busy(runs: list[PeerRun]) -> list[int]:
    found = [there(run, Trail(), share(runs)) for run in runs]
    return [each.busy for each in found if each is not None]


async def test_nobody_else_asks_them() -> None:
    """Then it is what they told, and what we have sent since."""
    assert busy([a_run("free", 0, then=0, now=1), a_run("full", 4, then=4, now=4)]) == [1, 4]


async def test_one_of_many_who_ask_them_is_not_the_only_one_to_see_who_is_free() -> None:
    assert busy([a_run("free", 0, then=0, now=1), a_run("full", 19, then=1, now=1)]) == [10, 19]


async def test_what_has_ended_since_is_gone() -> None:
    assert busy([a_run("peer", 4, then=3, now=1)]) == [2]


async def test_one_that_does_not_tell_has_what_we_have_sent() -> None:
    assert busy([a_run("peer", None, then=0, now=3)]) == [3]


@pytest.mark.parametrize(("told", "ours", "part"), [(0, 0, 1.0), (4, 4, 1.0), (19, 1, 0.1), (3, 9, 1.0)])
def test_our_part(told: int, ours: int, part: float) -> None:
    assert our_share(told, ours) == part
