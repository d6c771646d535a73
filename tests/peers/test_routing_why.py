"""What is told of where requests went: `/memory/MODEL`, `llmsup why`, and the event."""

from __future__ import annotations

import time

import pytest
from fake_peers import with_peers
from serving import fake

from llmsup.cli.why import state_lines
from llmsup.peers.offer import Offer
from llmsup.peers.peer import PeerState


async def test_why_tells_where_requests_go(monkeypatch: pytest.MonkeyPatch) -> None:
    async with with_peers(monkeypatch, fake("both"), fake("mine")) as (served, machines, look):
        machines["studio"].offers(Offer(name="both", loaded=True, busy=0, slots=4), Offer(name="far", loaded=True))
        machines["box"].offers(Offer(name="far", loaded=False, load_seconds=500.0))
        look()
        told = (await served.client.get("/memory/both")).json
        text = " ".join(state_lines(told, time.time()))
        assert "No request has come for it yet; it is here and at studio." in text
        for _ in range(3):
            assert (await served.client.chat("both")).status == 200
        machines["studio"].peer.state, machines["studio"].peer.reason = PeerState.DOWN, "it refuses connections"
        assert (await served.client.chat("both")).status == 200
        told = (await served.client.get("/memory/both")).json
        assert told["here"]
        here, studio = told["backends"]
        assert (here["peer"], here["requests"], here["now"]["loaded"]) == (None, 1, True)
        assert (studio["peer"], studio["requests"], studio["now"]) == ("studio", 3, None)
        assert "it refuses connections" in studio["reason"]
        assert [route["peer"] for route in told["routes"]] == ["studio"] * 3
        assert {each["peer"] for each in told["routes"][0]["weighed"]} == {None, "studio"}
        text = " ".join(state_lines(told, time.time()))
        assert "Where its requests go: studio 3 (" in text
        assert "here 1 (nobody else that has it comes into question now)" in text
        assert "It is not asked of studio now: down for" in text
        events = [event.data for event in served.fleet.events.tail() if event.kind == "route"]
        assert [event["peer"] for event in events] == ["studio", None]


async def test_why_works_for_what_is_only_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    async with with_peers(monkeypatch, fake("mine")) as (served, machines, look):
        machines["studio"].offers(Offer(name="far", loaded=True))
        look()
        for name, count in (("far", 1), ("studio/far", 1)):
            assert (await served.client.chat(name)).status == 200
            told = (await served.client.get(f"/memory/{name}")).json
            assert not told["here"]
            assert [each["requests"] for each in told["backends"]] == [count]
            lines = list(state_lines(told, time.time()))
            assert lines[0].startswith(f"{name} has no engine here, and is served from elsewhere: studio (http://")
            assert lines[1] == "Where its requests go: studio 1 (it is the only one that has it)."
        told = (await served.client.get("/memory/mine")).json
        assert (told["here"], told["backends"], told["routes"]) == (True, [], [])
        assert (await served.client.get("/memory/nobodys")).status == 404


async def test_why_the_second_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Others have it, too; one has failed, and one is down."""
    async with with_peers(monkeypatch, names="studio box attic") as (served, machines, look):
        for name, machine in machines.items():
            machine.offers(Offer(name="far", loaded=name == "studio", busy=0, load_seconds=500.0))
        machines["attic"].peer.state = PeerState.DOWN
        machines["studio"].does = "429"
        look()
        assert (await served.client.chat("far")).json["at"] == "box"
        told = (await served.client.get("/memory/far")).json
        reasons = {each["peer"]: [reason["reason"] for reason in each["reasons"]] for each in told["backends"]}
        assert reasons["box"] == ["studio failed the request"]
        machines["studio"].peer.state = PeerState.DOWN
        assert (await served.client.chat("far")).json["at"] == "box"
        told = (await served.client.get("/memory/far")).json
        (box,) = [each for each in told["backends"] if each["peer"] == "box"]
        assert "nobody else that has it comes into question now" in str(box["reasons"])


async def test_what_a_peer_does_not_tell_is_no_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    async with with_peers(monkeypatch, names="studio box") as (served, machines, look):
        for offer, reason in (
            (Offer(name="far"), "idle there, as far as is known"),
            (Offer(name="far", loaded=True), "loaded there, and idle as far as is known"),
            (Offer(name="far", loaded=True, busy=0), "loaded and idle there"),
        ):
            machines["studio"].offers(offer)
            machines["box"].offers(Offer(name="far", loaded=False, load_seconds=500.0))
            look()
            assert (await served.client.chat("far")).json["at"] == "studio"
            assert served.tree.serving.routes.of("far").last[-1].choice.reason == reason
