"""A llmsup that watches another one: what that has, what is loaded, and how much room there is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import trio
from attrs import evolve
from fake_peer import PATIENCE
from serving import fake, serving
from watched_peers import spec, watched

from llmsup.config.keys import hash_of
from llmsup.config.schema import Bridge, Config, KeySpec, Server
from llmsup.peers.peer import PeerState
from llmsup.peers.peers import Peers
from llmsup.peers.via import ID
from llmsup.units import NEVER, Bytes

run = Peers.run


async def test_what_is_loaded_there_is_known(tmp_path: Path) -> None:
    models = fake("a", memory=Bytes(2**20)), fake("b", memory=Bytes(2**20))
    own = Server(state_dir=tmp_path / "there")
    async with serving(*models, server=own) as there, watched(tmp_path, spec(there.client.port)) as here:
        peer = here["studio"]
        await here.until(lambda: len(peer.offers) == 2)
        assert (peer.kind, peer.note) == ("llmsup", "")
        assert peer.version
        assert peer.identity
        assert peer.room is not None
        assert (peer.room.ceiling or 0) > 0
        assert {name: offer.loaded for name, offer in peer.offers.items()} == {"a": False, "b": False}
        assert peer.offers["a"].needs_bytes == 2**20
        assert peer.offers["a"].fits is True
        await there.client.chat("a")
        peer.stale()
        await here.until(lambda: peer.offers["a"].loaded)
        assert not peer.offers["b"].loaded
        assert peer.offers["a"].load_seconds
        assert peer.offers["a"].hops == 0


async def test_a_model_that_is_new_there_is_soon_known(tmp_path: Path) -> None:
    """Though its list is asked for rarely: what is asked often tells that there is something new."""
    models = {each.name: each for each in (fake("a"), fake("b"))}
    config = Config(server=Server(state_dir=tmp_path / "there"), models={"a": models["a"]}, bridge=Bridge(every=NEVER))
    async with (
        serving(config=config, reread=lambda: evolve(config, models=models)) as there,
        watched(tmp_path, spec(there.client.port)) as here,
    ):
        peer = here["studio"]
        await here.until(lambda: list(peer.offers) == ["a"])
        peer.stale()
        assert (await there.client.post("/reload-config")).json["added"] == ["b"]
        peer.stale()
        await here.until(lambda: list(peer.offers) == ["a", "b"])


async def test_a_llmsup_knows_itself_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own address in its own config is a mistake that does no harm."""
    made: list[Peers] = []

    async def noted(self: Peers, *, task_status: trio.TaskStatus[None]) -> None:
        made.append(self)
        await run(self, task_status=task_status)

    monkeypatch.setattr(Peers, "run", noted)
    async with serving(fake("a"), server=Server(state_dir=tmp_path)) as served:
        (peers,) = made
        served.tree.config.replace(evolve(served.tree.config.now, peers={"me": spec(served.client.port, name="me")}))
        with trio.fail_after(PATIENCE):
            await peers.until(lambda: "me" in peers.all and peers.all["me"].state is PeerState.DOWN)
        assert peers.all["me"].reason == "it is this llmsup itself"
        assert not peers.all["me"].offers


async def test_a_key_that_is_no_admins_tells_less(tmp_path: Path) -> None:
    """The list has what is loaded, too; that more can't be known is said."""
    models = {each.name: each for each in (fake("a"), fake("hidden"))}
    keys = {"k": KeySpec(name="k", hash=hash_of("sesame"), models=("a",))}
    config = Config(models=models, keys=keys, bridge=Bridge(every=NEVER))
    async with serving(config=config) as there:
        table = spec(there.client.port, key="sesame")
        async with watched(tmp_path, table) as here:
            peer = here["studio"]
            await here.until(lambda: peer.offers)
            assert list(peer.offers) == ["a"]
            assert (peer.offers["a"].loaded, peer.offers["a"].busy, peer.room) == (False, None, None)
            assert "admin = true" in peer.note
            assert peer.reason == "it answers, and offers 1 model"
            answer = await there.client.ask(
                "POST",
                "/v1/chat/completions",
                {"model": "a", "messages": []},
                [(b"authorization", b"Bearer sesame")],
            )
            assert answer.status == 200
            peer.stale()
            await here.until(lambda: peer.offers["a"].loaded)


async def test_a_wrong_key_is_told(tmp_path: Path) -> None:
    config = Config(server=Server(api_keys=("sesame",)), bridge=Bridge(every=NEVER))
    async with serving(config=config) as there, watched(tmp_path, spec(there.client.port, key="wrong")) as here:
        await here.until(lambda: here["studio"].state is PeerState.DOWN)
        assert "it wants a key" in here["studio"].reason


@pytest.mark.parametrize("path", ["/v1/models", "/models", "/running", "/memory"])
async def test_what_peers_ask_tells_which_llmsup_answers(path: str) -> None:
    """The same each time, and another one for each llmsup."""
    name = ID.decode()
    async with serving(fake("a")) as one, serving(fake("a")) as other:
        said = [(await client.get(path)).headers[name] for client in (one.client, one.client, other.client)]
        assert said[0] == said[1] != said[2]
        assert all(re.fullmatch(r"[0-9a-f]{16}", each) for each in said)
        assert name not in (await one.client.get("/health")).headers
