"""What the control API tells of peers."""

from __future__ import annotations

import pytest
from described import as_described, described, fits
from peers_seen import GIB, KEY, peer, serving_with, several
from prometheus_client.parser import text_string_to_metric_families
from serving import fake, serving

from llmsup.cli.ls import where
from llmsup.config.keys import hash_of
from llmsup.config.schema import Config, KeySpec
from llmsup.peers.offer import Offer
from llmsup.peers.peer import PeerState


async def test_none() -> None:
    async with serving(fake("m")) as served:
        assert as_described("/peers", await served.client.get("/peers")) == {"peers": []}
        assert "problems" not in (await served.client.get("/health")).json


async def test_all_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the config's order, and never their keys."""
    async with serving_with(monkeypatch, fake("shared"), peers=several()) as (served, _):
        got = await served.client.get("/peers")
        studio, box, laptop = as_described("/peers", got)["peers"]
    assert KEY.encode() not in got.body
    models = {model["name"]: model for model in studio.pop("models")}
    assert abs(studio.pop("since") - box["since"]) < 60
    assert studio == {
        "name": "studio",
        "url": "https://studio.local:5005",
        "kind": "llmsup",
        "state": "up",
        "reason": "it answers",
        "failures": 0,
        "next_probe_in": None,
        "latency_seconds": 0.0023,
        "in_flight": 2,
        "requests": 43,
        "failed": 1,
        "priority": "normal",
        "version": "0.1.0",
        "note": "it tells little",
        "memory": {"ceiling_bytes": 96 * GIB, "used_bytes": 20 * GIB, "available_bytes": 70 * GIB},
    }
    assert list(models) == ["llama-70b", "qwen3-32b", "shared", "twice"]
    assert models["qwen3-32b"] == {
        "name": "qwen3-32b",
        "also_here": False,
        "loaded": True,
        "loading": False,
        "in_flight": 2,
        "busy": 3,
        "slots": 4,
        "load_seconds": 12.5,
        "needs_bytes": None,
        "context_length": 32768,
        "hops": 0,
    }
    assert (models["shared"]["also_here"], models["shared"]["loading"]) == (True, True)
    assert (box["state"], box["reason"], box["failures"]) == ("down", "it refuses connections", 0)
    assert 0 < box["next_probe_in"] <= 100
    assert [box[name] for name in ("memory", "version", "latency_seconds", "note")] == [None] * 4
    assert (laptop["state"], laptop["next_probe_in"]) == ("asleep", None)
    assert laptop["memory"] == {"ceiling_bytes": None, "used_bytes": 3 * GIB, "available_bytes": None}


async def test_only_for_an_admin(monkeypatch: pytest.MonkeyPatch) -> None:
    keys = {"little": KeySpec(name="little", hash=hash_of("little"), models=("*",))}
    async with serving_with(monkeypatch, peers=several(), config=Config(keys=keys)) as (served, _):
        got = await served.client.ask("GET", "/peers", headers=[(b"authorization", b"Bearer little")])
        assert (got.status, got.error["code"]) == (403, "admin_required")


async def test_health_counts_those_that_dont_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """It names none: it is told without a key. One that sleeps is no problem."""
    async with serving_with(monkeypatch, peers=several()) as (served, peers):
        told = as_described("/health", await served.client.get("/health"))
        assert told["problems"] == ["1 of 3 peers doesn't answer: `llmsup peers` tells more"]
        peers.all["studio"].state = PeerState.DOWN
        (problem,) = (await served.client.get("/health")).json["problems"]
        assert problem.startswith("2 of 3 peers don't answer: ")
        peers.all = {"box": peers.all["box"]}
        (problem,) = (await served.client.get("/health")).json["problems"]
        assert problem.startswith("1 of 1 peer doesn't answer: ")


async def test_metrics(monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving_with(monkeypatch, peers=several()) as (served, _):
        text = (await served.client.get("/metrics")).body.decode()
    known = {
        (sample.name, sample.labels["peer"]): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if "peer" in sample.labels
    }
    told = ("up", "requests_total", "failures_total", "in_flight", "models")
    assert [known[f"llmsup_peer_{name}", "studio"] for name in told] == [1, 43, 1, 2, 4]
    assert [known[f"llmsup_peer_{name}", "box"] for name in told] == [0, 0, 0, 0, 2]
    assert known["llmsup_peer_latency_seconds", "studio"] == 0.0023
    assert ("llmsup_peer_latency_seconds", "box") not in known


async def test_a_name_of_a_state_is_what_a_peer_has() -> None:
    """The words of the API are those of the states."""
    shapes = described()["paths"]["/events"]["get"]["x-events"]
    for state in PeerState:
        fits(shapes["peer"], {"at": 1.0, "peer": "studio", "before": "unknown", "state": str(state), "reason": "why"})
    assert peer("studio").usable


async def test_who_does_not_answer_and_in_whose_memory_a_model_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also of a model that is here, too; and not in that of a peer that only passes requests on."""
    down = peer("box", Offer(name="shared"), state=PeerState.DOWN)
    bee = peer("bee", Offer(name="shared"), Offer(name="far", loaded=True, hops=1))
    async with serving_with(monkeypatch, fake("shared"), peers=[down, bee]) as (served, _):
        told = as_described("/v1/models", await served.client.get("/v1/models"))["data"]
    shared, far = sorted(told, key=lambda entry: len(entry["id"]), reverse=True)
    assert (shared["peers"], shared["peers_down"]) == (["box", "bee"], ["box"])
    assert where(shared) == "here, box (down), bee"
    assert far["status"] == {"value": "loaded", "reason": "it is loaded at a server behind bee"}
