"""Ollama's names end in `:latest` where nobody has chosen a tag, and nobody says it: tables don't either."""

from __future__ import annotations

import pytest
from fake_peers import with_peers
from serving import fake

from llmsup.cli.peer_findings import of_tables
from llmsup.cli.peer_look import Look
from llmsup.config.schema import Bridge, Config, ModelSpec, PeerSpec, RequestEdits
from llmsup.peers.offer import Offer
from llmsup.peers.via import VIA
from llmsup.units import NEVER

TABLE = ModelSpec(
    name="gemma",
    aliases=("gpt-4o",),
    request=RequestEdits(set={"user": "us"}),
    presets={"creative": {"temperature": 1.5}},
)


async def test_a_table_without_it_is_the_models(monkeypatch: pytest.MonkeyPatch) -> None:
    peers = {"box": PeerSpec(name="box", url="http://box:1")}
    models = {"gemma": TABLE, "mine": fake("mine")}
    config = Config(models=models, peers=peers, bridge=Bridge(every=NEVER))
    async with with_peers(monkeypatch, config=config, names="box") as (served, machines, look):
        box = machines["box"]
        box.offers(Offer(name="gemma:latest", loaded=True), Offer(name="other:latest", loaded=True))
        box.peer.kind = "ollama"
        look()
        for name in ("gemma", "gemma:latest", "gpt-4o", "gemma:creative", "box/gemma", "box/gemma:latest"):
            got = await served.client.chat(name)
            assert got.status == 200, (name, got.json)
            body = box.bodies[-1]
            assert (body["model"], body.get("user")) == ("gemma:latest", "us"), name
            assert body.get("temperature") == (1.5 if name.endswith("creative") else None)
        for name in ("other", "other:latest", "box/other", "box/other:latest"):
            assert (await served.client.chat(name)).status == 200, name
            assert box.bodies[-1]["model"] == "other:latest"
        listed = [each["id"] for each in (await served.client.get("/v1/models")).json["data"]]
        assert listed == ["gemma", "gemma:creative", "mine", "other:latest"]
        told = await served.client.ask("GET", "/v1/models", headers=[(VIA, b"0123456789abcdef")])
        assert [each["id"] for each in told.json["data"]] == listed


async def test_two_models_of_one_peer_stay_two(monkeypatch: pytest.MonkeyPatch) -> None:
    async with with_peers(monkeypatch, fake("mine"), names="box studio") as (served, machines, look):
        machines["box"].offers(Offer(name="a:latest", loaded=True))
        machines["box"].peer.kind = "ollama"
        machines["studio"].offers(Offer(name="a", loaded=True))
        look()
        for name, at in (("a", "studio"), ("a:latest", "box"), ("box/a", "box")):
            assert (await served.client.chat(name)).json["at"] == at


def test_check_knows() -> None:
    seen = [Look("box", "http://box:1", "ollama", ("gemma:latest",), ("gemma:latest",))]
    assert not [said for said, _ in of_tables([TABLE], seen) if "no peer offers" in said]
