"""Peers that have never told what they have: their models are not "not found", and asking for one helps."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
from click.testing import CliRunner
from fake_peer import FakePeer, said
from fake_peers import Machine, with_peers
from serving import fake, serving

from llmsup.cli import main
from llmsup.config.schema import Bridge, Config, ModelSpec, PeerSpec, Server
from llmsup.peers.offer import Offer
from llmsup.peers.peer import Peer, PeerState
from llmsup.units import NEVER


def never_there(machine: Machine, state: PeerState, **spec: Any) -> Peer:
    """A peer that has not answered since llmsup runs."""
    peer = machine.peer
    peer.kind, peer.identity, peer.offers = None, "", {}
    peer.state, peer.reason = state, "nothing listens at its address"
    peer.spec = type(peer.spec)(name=peer.name, url=peer.spec.url, **spec)
    peer.retry_at = 1e9
    return peer


async def test_a_request_for_what_it_may_have_has_it_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    async with with_peers(monkeypatch, fake("mine")) as (served, machines, look):
        peer = never_there(machines["studio"], PeerState.DOWN)
        look()
        for name in ("far", "studio/far"):
            peer.retry_at = 1e9
            got = await served.client.chat(name)
            assert (got.status, got.error["code"]) == (503, "peer_unavailable")
            assert "What studio has is not known: studio has been down for" in got.error["message"]
            assert peer.retry_at < 1e9, "it is not asked again before its time"
        assert (await served.client.chat("min")).error["message"].startswith("There is no model 'min'. The nearest")
        assert (await served.client.chat("box/far")).status == 404
        assert (await served.client.chat("mine")).status == 200
        machines["studio"].offers(Offer(name="far", loaded=True))
        peer.state, peer.kind = PeerState.UP, "openai"
        look()
        assert (await served.client.chat("far")).status == 200
        assert (await served.client.chat("fra")).status == 404


async def test_what_its_table_does_not_let_in_is_not_its(monkeypatch: pytest.MonkeyPatch) -> None:
    async with with_peers(monkeypatch, names="studio") as (served, machines, look):
        never_there(machines["studio"], PeerState.DOWN, models=("qwen*",))
        look()
        for name in ("qwen3", "far"):
            status = 503 if name == "qwen3" else 404
            assert [(await served.client.chat(each)).status for each in (name, f"studio/{name}")] == [status, status]
        # Requests of the past are looked up by names that may be gone.
        assert (await served.client.get("/requests?model=qwen3")).status == 200


async def test_one_that_sleeps_is_woken_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    async with with_peers(monkeypatch, names="studio") as (served, machines, look):
        machine = machines["studio"]
        never_there(machine, PeerState.ASLEEP, mac="aa:bb:cc:dd:ee:ff")
        look()
        got = await served.client.chat("far")
        assert (got.status, got.error["code"]) == (503, "peer_unavailable")
        assert "A request for studio/NAME wakes studio." in got.error["message"]

        async def woken() -> None:
            machine.peer.state, machine.peer.kind = PeerState.UP, "openai"
            machine.offers(Offer(name="far", loaded=True))

        monkeypatch.setattr(machine.peer, "woken", woken)
        assert (await served.client.chat("studio/far")).json["at"] == "studio"


async def test_a_table_says_so_of_one_that_sleeps_too(monkeypatch: pytest.MonkeyPatch) -> None:
    peers = {"studio": PeerSpec(name="studio", url="http://studio:1")}
    config = Config(models={"far": ModelSpec(name="far")}, peers=peers, bridge=Bridge(every=NEVER))
    async with with_peers(monkeypatch, config=config, names="studio") as (served, machines, look):
        never_there(machines["studio"], PeerState.ASLEEP, mac="aa:bb:cc:dd:ee:ff")
        look()
        assert (await served.client.chat("far")).status == 503


async def test_a_list_of_no_models_says_which_peer_is_down(monkeypatch: pytest.MonkeyPatch) -> None:
    async with with_peers(monkeypatch, names="studio") as (served, machines, look):
        never_there(machines["studio"], PeerState.DOWN)
        look()
        words = ["ls", "--url", f"http://127.0.0.1:{served.client.port}"]
        result = await trio.to_thread.run_sync(partial(CliRunner().invoke, main, words))
        assert "There are no models." in result.stdout
        assert "studio is down: nothing listens at its address" in result.stdout


@pytest.mark.road("fast")
async def test_one_that_starts_later(tmp_path: Path) -> None:
    """With questions over HTTP: down at the start, and served by its name and without as soon as it is up."""
    models = {"/v1/models": said({"data": [{"id": "far"}]}), "/v1/chat/completions": said({"at": "late"})}
    async with FakePeer(models).listening() as late:
        late.hangs_up = True
        peers = {"late": PeerSpec(name="late", url=f"http://127.0.0.1:{late.port}")}
        config = Config(server=Server(state_dir=tmp_path), peers=peers, bridge=Bridge(every=NEVER))
        async with serving(config=config) as served:
            for name in ("far", "late/far"):
                got = await served.client.chat(name)
                assert (got.status, got.error["code"]) == (503, "peer_unavailable")
            late.hangs_up = False
            with trio.fail_after(30):
                while (got := await served.client.chat("far")).status != 200:
                    assert got.status == 503
                    await trio.sleep(0.1)
            assert (await served.client.chat("late/far")).status == 200
            got = await served.client.chat("nobodys")
            assert (got.status, got.error["code"]) == (404, "model_not_found")
