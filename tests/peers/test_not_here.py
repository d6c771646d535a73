"""What is asked of an engine that is at a peer: commands and the API say at which, and what to type there."""

from __future__ import annotations

from functools import partial

import pytest
import trio
from click.testing import CliRunner
from fake_peers import with_peers
from serving import fake

from llmsup.cli import main
from llmsup.peers.offer import Offer


@pytest.mark.parametrize(
    ("words", "again"),
    [
        (("unload",), "unload"),
        (("stop",), "unload"),
        (("unload", "--ttl", "10m"), "unload"),
        (("load",), "load"),
        (("load", "--pin"), "load"),
        (("load", "--dry-run"), "load --dry-run"),
        (("logs",), "logs"),
    ],
)
async def test_what_to_type(monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], again: str) -> None:
    """As it is called there, and at the address that the config has."""
    async with with_peers(monkeypatch, fake("mine"), names="studio") as (served, machines, look):
        machines["studio"].offers(Offer(name="it's far", loaded=True))
        look()
        run = partial(
            CliRunner().invoke, main, [*words, "studio/it's far", "--url", f"http://127.0.0.1:{served.client.port}"]
        )
        result = await trio.to_thread.run_sync(run)
        url = machines["studio"].peer.spec.url
    assert result.exit_code == 1
    told = result.stderr or str(result.exception)
    assert (
        "studio/it's far has no engine here: it is at studio. Do it there: "
        f"""`llmsup {again} 'it'"'"'s far' --url {url}`.""" in told
    )


async def test_several_peers_and_other_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    async with with_peers(monkeypatch, fake("both"), names="studio box attic") as (served, machines, look):
        for machine in machines.values():
            machine.offers(Offer(name="far", loaded=True), Offer(name="both", loaded=True))
        machines["attic"].peer.kind = "ollama"
        look()
        urls = {name: machine.peer.spec.url for name, machine in machines.items()}
        got = await served.client.post("/models/unload", model="far")
        assert (got.status, got.error["code"]) == (404, "model_not_found")
        assert got.error["message"] == (
            "far has no engine here: it is at studio, box and attic. Do it where you mean: "
            f"`llmsup unload far --url {urls['studio']}`, or `llmsup unload far --url {urls['box']}`. "
            f"attic is no llmsup, and has means of its own for that: {urls['attic']}."
        )
        assert (await served.client.post("/models/unload", model="both")).status == 200
        got = await served.client.post("/models/unload", model="nobodys")
        assert got.error["message"].startswith("There is no model 'nobodys'")


async def test_what_is_loaded_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who frees memory by these lists would wait in vain for what peers have."""
    async with with_peers(monkeypatch, fake("mine"), names="studio") as (served, machines, look):
        machines["studio"].offers(Offer(name="far", loaded=True))
        look()
        for name in ("mine", "far"):
            assert (await served.client.chat(name)).status == 200
        assert [each["model"] for each in (await served.client.get("/running")).json] == ["mine"]
        assert [each["name"] for each in (await served.client.get("/api/ps")).json["models"]] == ["mine"]
        assert [each["model"] for each in (await served.client.get("/memory")).json["models"]] == ["mine"]


async def test_a_peer_that_has_it_from_another_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """It can't be loaded at that one, either; but that one knows more."""
    async with with_peers(monkeypatch, fake("mine"), names="bee") as (served, machines, look):
        machines["bee"].offers(Offer(name="only-c", loaded=True, hops=1))
        look()
        got = await served.client.post("/models/load", model="only-c")
        url = machines["bee"].peer.spec.url
    assert got.error["message"] == (
        "only-c has no engine here: it is at bee, which has it from another server. "
        f"bee says where that is: `llmsup load only-c --url {url}`."
    )
