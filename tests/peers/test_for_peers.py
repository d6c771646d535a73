"""What a llmsup tells another one that asks it, and what that one leaves out."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from attrs import evolve
from fake_peer import FakePeer, said
from serving import fake, serving
from watched_peers import spec, watched

from llmsup.engines.pool import ConnectionPool
from llmsup.fleet.fleet import Fleet
from llmsup.fleet.memory.governor import Governor
from llmsup.peers.offer import Offer
from llmsup.peers.peer import Peer
from llmsup.peers.peers import Peers
from llmsup.peers.via import VIA
from llmsup.web.for_peers import _stamp, _told

ASKER = "0123456789abcdef"


async def test_who_asks_as_a_llmsup_is_told_more(tmp_path: Path) -> None:
    """How long loading takes and how many requests it works on at once; the second list is left out."""
    async with serving(fake("a", max_in_flight=3)) as served:
        plain = (await served.client.get("/v1/models")).json
        assert plain["models"]
        assert "slots" not in plain["data"][0]
        await served.client.chat("a")
        told = (await served.client.ask("GET", "/v1/models", headers=[(VIA, ASKER.encode())])).json
        assert "models" not in told
        assert told["data"][0]["slots"] == 3
        assert told["data"][0]["load_seconds"] > 0
        assert told["data"][0]["id"] == plain["data"][0]["id"]


def peer(name: str, identity: str, *offers: Offer) -> Peer:
    made = Peer(spec(1, name=name), ConnectionPool(cast("Any", None)))
    made.identity, made.offers = identity, {offer.name: offer for offer in offers}
    return made


@pytest.mark.parametrize(
    ("id_", "origins"),
    [
        ("theirs", None),  # who asks has it himself, and nobody else
        ("asker/theirs", None),
        ("shared", ["b0", "us"]),
        ("behind", ["c0", "d0"]),
        ("box/shared", ["us"]),
        ("nobody's", None),
    ],
)
async def test_which_models_of_peers_are_told(id_: str, origins: list[str] | None) -> None:
    """Those that who asks doesn't offer alone, with who has them: without what is only so of the asker's own."""
    peers = Peers.__new__(Peers)
    peers.identity = "us"
    peers.all = {
        each.name: each
        for each in (
            peer("asker", ASKER, Offer(name="theirs"), Offer(name="shared", loaded=True)),
            peer("box", "", Offer(name="shared", loaded=False)),
            peer("b", "b0", Offer(name="shared"), Offer(name="behind", hops=1, origins=frozenset(("c0", "d0")))),
        )
    }
    entry = {"id": id_, "peer": {"hops": 1}}
    told = await _told([entry], cast("Fleet", None), cast("Governor", None), peers, (ASKER,))
    assert [each["peer"].get("origins") for each in told] == ([] if origins is None else [origins])
    if id_ == "shared":
        assert told[0]["peer"] == {"peers": ["box", "b"], "down": [], "loaded": False, "hops": 1, "origins": origins}


def stamped(identity: str, *offers: Offer, of: str = "b0") -> str:
    peers = Peers.__new__(Peers)
    peers.identity, peers.all = identity, {"b": peer("b", of, *offers)}
    return _stamp(cast("Fleet", SimpleNamespace(models={}, without_engine={})), peers)


async def test_that_there_is_something_new_to_list() -> None:
    """Also where the same is offered by another one: a llmsup that was started anew has another identity."""
    far = Offer(name="m", hops=1, origins=frozenset(("c0", "d0")))
    same = stamped("a0", far)
    assert stamped("a0", evolve(far, busy=3)) == same
    for other in (
        stamped("a1", far),
        stamped("a0", far, of="b1"),
        stamped("a0", evolve(far, origins=frozenset(("c0",)))),
    ):
        assert other != same


async def test_ones_own_models_are_no_offers_of_others(tmp_path: Path) -> None:
    """Two that are each other's peers, with others between, would send a request round in circles."""
    async with FakePeer({"/running": said([]), "/memory": said({})}).listening() as server, watched(tmp_path) as found:
        me = found.peers.identity
        entries = [
            {"id": "mine", "peer": {"hops": 2, "origins": [me]}},
            {"id": "ours", "peer": {"hops": 2, "origins": [me, "b0"]}},
            {"id": "untold", "peer": {"hops": 1}},
        ]
        server.answers["/v1/models"] = said({"data": entries}, x_llmsup_id="b0")
        found.configure(spec(server.port))
        await found.until(lambda: "studio" in found.peers.all and found["studio"].offers)
        assert list(found["studio"].offers) == ["ours", "untold"]
