"""A peer is asked what it has, over real sockets; what it says is there for requests."""

from __future__ import annotations

from pathlib import Path

from fake_peer import FakePeer, said
from watched_peers import spec, watched

from llmsup.peers.peer import PeerState
from llmsup.peers.via import ID, VIA

OPENAI = {"/v1/models": said({"object": "list", "data": [{"id": "a"}, {"id": "b/c", "max_model_len": 4096}]})}


async def test_what_it_offers_is_known_as_soon_as_it_has_answered(tmp_path: Path) -> None:
    async with FakePeer(OPENAI).listening() as fake, watched(tmp_path, spec(fake.port, key="sesame")) as found:
        peer = found["studio"]
        await found.until(lambda: peer.state is PeerState.UP)
        assert (peer.kind, sorted(peer.offers)) == ("openai", ["a", "b/c"])
        assert peer.offers["b/c"].context_length == 4096
        assert peer.latency is not None
        assert found.transitions() == [("unknown", "up")]
        head = fake.asked[0][1]
        assert b"\r\nauthorization: Bearer sesame\r\n" in head
        assert b"\r\n%b: %b\r\n" % (VIA, found.peers.identity.encode()) in head


async def test_its_address_may_have_a_path(tmp_path: Path) -> None:
    answers = {f"/llm/x%20y{path}": answer for path, answer in OPENAI.items()}
    async with FakePeer(answers).listening() as fake:
        table = spec(fake.port, url=f"http://127.0.0.1:{fake.port}/llm/x y/")
        async with watched(tmp_path, table) as found:
            await found.until(lambda: found["studio"].offers)


async def test_only_what_its_table_lets_in_is_offered(tmp_path: Path) -> None:
    async with (
        FakePeer(OPENAI).listening() as fake,
        watched(tmp_path, spec(fake.port, models=("B/*", "x"))) as found,
    ):
        await found.until(lambda: found["studio"].offers)
        assert list(found["studio"].offers) == ["b/c"]


async def test_a_peer_that_is_this_llmsup_gets_no_requests(tmp_path: Path) -> None:
    async with FakePeer({}).listening() as fake, watched(tmp_path) as found:
        own = {ID.decode(): found.peers.identity}
        fake.answers["/v1/models"] = (200, own, b'{"object": "list", "data": [{"id": "a"}]}')
        fake.answers["/running"] = said([])
        fake.answers["/memory"] = said({})
        found.configure(spec(fake.port, name="me"))
        await found.until(lambda: "me" in found.peers.all and found["me"].state is PeerState.DOWN)
        assert found["me"].reason == "it is this llmsup itself"
        assert not found["me"].offers
        assert not found["me"].usable
