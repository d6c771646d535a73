"""Models of peers in every list of models: with where they are, and for whom."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
from attrs import evolve
from described import as_described
from peers_seen import peer, serving_with, several
from serving import Served, fake

from llmsup.config.keys import hash_of
from llmsup.config.schema import Config, KeySpec, ModelSpec
from llmsup.gateway.places import Places
from llmsup.peers.offer import Offer
from llmsup.peers.peer import Peer, PeerState
from llmsup.peers.via import MOST_HOPS


def known(served: Served, names: Iterable[str]) -> None:
    """Have the names of models elsewhere mean something, as peers' backends do."""

    class Backend:
        def __init__(self, name: str) -> None:
            self.spec = ModelSpec(name=name)
            self.places = ""

    served.fleet.serve_elsewhere([Backend(name) for name in names])  # type: ignore[misc]


def all_names(peers: Iterable[Peer]) -> set[str]:
    return {name for each in peers for offer in each.offers for name in (offer, f"{each.name}/{offer}")}


async def test_v1_models(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each once, under its own name; what is here is as it was, and says who has it, too."""
    async with serving_with(monkeypatch, fake("shared"), fake("m"), peers=several()) as (served, _):
        listed = as_described("/v1/models", await served.client.get("/v1/models"))
    data: dict[str, Any] = {entry["id"]: entry for entry in listed["data"]}
    assert list(data) == ["<b>small", "llama-70b", "m", "only-on-box", "qwen3-32b", "shared", "twice"]
    assert {name: entry.get("peer") for name, entry in data.items()} == {
        "<b>small": {"peers": ["laptop"], "down": [], "loaded": False, "hops": 1},
        "llama-70b": {"peers": ["studio"], "down": [], "loaded": False, "hops": 1},
        "m": None,
        "only-on-box": {"peers": ["box"], "down": ["box"], "loaded": None, "hops": 1},
        "qwen3-32b": {"peers": ["studio"], "down": [], "loaded": True, "hops": 1},
        "shared": None,
        "twice": {"peers": ["studio", "box"], "down": ["box"], "loaded": True, "hops": 1},
    }
    assert (data["shared"]["peers"], data["m"].get("peers")) == (["studio"], None)
    assert {name: entry["status"]["value"] for name, entry in data.items()} == {
        "<b>small": "unloaded",
        "llama-70b": "unloaded",
        "m": "unloaded",
        "only-on-box": "failed",
        "qwen3-32b": "loaded",
        "shared": "unloaded",
        "twice": "loaded",
    }
    assert data["only-on-box"]["status"]["error"] == "no peer that has it answers (box: it refuses connections)"
    assert data["twice"]["names"] == ["studio/twice", "box/twice"]
    assert (data["twice"]["kind"], data["twice"]["capabilities"]) == ("embedding", ["embedding"])
    assert data["qwen3-32b"]["context_length"] == 32768
    assert [entry["name"] for entry in listed["models"]] == list(data)


async def test_one_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """By its own name it is that of all peers, by a peer's that peer's; without a peer it isn't found."""
    peers = several()
    async with serving_with(monkeypatch, fake("shared"), peers=peers) as (served, there):
        known(served, all_names(peers) - {"shared"} | {"nobodys"})
        client = served.client
        both = as_described("/v1/models/{model}", await client.get("/v1/models/twice"))
        assert (both["id"], both["peer"]["peers"]) == ("twice", ["studio", "box"])
        one = as_described("/v1/models/{model}", await client.get("/v1/models/box/twice"))
        assert (one["id"], one["peer"]["peers"], one["status"]["value"]) == ("box/twice", ["box"], "failed")
        here = as_described("/v1/models/{model}", await client.get("/v1/models/shared"))
        assert ("peer" in here, here["peers"]) == (False, ["studio"])
        away = as_described("/v1/models/{model}", await client.get("/v1/models/studio%2Fshared"))
        assert (away["peer"]["peers"], away["status"]["value"]) == (["studio"], "loading")
        got = await client.get("/v1/models/nobodys")
        assert (got.status, got.error["code"]) == (404, "model_not_found")
        there.all = {}
        assert (await client.get("/v1/models/twice")).status == 404


async def test_ollamas_lists(monkeypatch: pytest.MonkeyPatch) -> None:
    peers = several()
    async with serving_with(monkeypatch, fake("shared"), peers=peers) as (served, _):
        known(served, all_names(peers) - {"shared"})
        tags = (await served.client.get("/api/tags")).json["models"]
        assert {each["name"] for each in tags} == {
            "shared", "<b>small", "llama-70b", "only-on-box", "qwen3-32b", "twice"
        }  # fmt: skip
        (box,) = (each for each in tags if each["name"] == "only-on-box")
        assert (box["size"], box["peer"]["down"]) == (0, ["box"])
        assert len({each["digest"] for each in tags}) == len(tags)
        shown = (await served.client.post("/api/show", model="studio/qwen3-32b")).json
        assert shown["model_info"] == {
            "general.architecture": "unknown",
            "general.basename": "studio/qwen3-32b",
            "unknown.context_length": 32768,
        }
        assert (shown["capabilities"], shown["parameters"]) == (["completion"], "num_ctx 32768")


async def test_lm_studios_lists(monkeypatch: pytest.MonkeyPatch) -> None:
    peers = several()
    async with serving_with(monkeypatch, fake("shared"), peers=peers) as (served, _):
        known(served, all_names(peers) - {"shared"})
        listed = (await served.client.get("/api/v0/models")).json["data"]
        states = {each["id"]: (each["type"], each["state"]) for each in listed}
        assert list(states) == ["<b>small", "llama-70b", "only-on-box", "qwen3-32b", "shared", "twice"]
        assert states["twice"] == ("embeddings", "loaded")
        assert states["only-on-box"] == ("llm", "not-loaded")
        one = (await served.client.get("/api/v0/models/studio/twice")).json
        assert (one["id"], one["publisher"], one["peer"]["peers"]) == ("studio/twice", "studio", ["studio"])
        newer = {each["key"]: each for each in (await served.client.get("/api/v1/models")).json["models"]}
        assert list(newer) == list(states)
        assert newer["qwen3-32b"]["loaded_instances"] == [{"id": "qwen3-32b", "config": {"context_length": 32768}}]


async def test_a_key_sees_what_it_may_use(monkeypatch: pytest.MonkeyPatch) -> None:
    """By its own name, or only by a peer's; and neither names nor descriptions of the others, in any list."""
    patterns = {"by-name": ("qwen*", "m"), "by-peer": ("box/*",), "nothing": ("none",), "all": ("*",)}
    keys = {name: KeySpec(name=name, hash=hash_of(name), models=models) for name, models in patterns.items()}
    peers = several()
    config = Config(keys=keys, models={name: fake(name) for name in ("m", "shared")})
    async with serving_with(monkeypatch, peers=peers, config=config) as (served, _):
        known(served, all_names(peers) - {"shared"})

        async def seen(key: str, path: str) -> Any:
            return await served.client.ask("GET", path, headers=[(b"authorization", b"Bearer %s" % key.encode())])

        expected = {
            "by-name": ["m", "qwen3-32b"],
            "by-peer": ["box/only-on-box", "box/twice"],
            "nothing": [],
            "all": ["<b>small", "llama-70b", "m", "only-on-box", "qwen3-32b", "shared", "twice"],
        }
        for key, names in expected.items():
            listed = (await seen(key, "/v1/models")).json["data"]
            assert [entry["id"] for entry in listed] == names
            assert sorted(each["name"] for each in (await seen(key, "/api/tags")).json["models"]) == names
            assert [each["id"] for each in (await seen(key, "/api/v0/models")).json["data"]] == names
            for entry in listed:
                assert (await seen(key, f"/v1/models/{entry['id']}")).status == 200
        (entry,) = (each for each in (await seen("by-name", "/v1/models")).json["data"] if each["id"] == "qwen3-32b")
        assert entry["names"] == []
        (down,) = (each for each in (await seen("by-peer", "/v1/models")).json["data"] if each["id"] == "box/twice")
        assert down["status"]["error"] == "no peer that has it answers"  # and not where it is
        assert (await seen("by-name", "/v1/models/twice")).status == 404
        assert (await seen("by-peer", "/v1/models/twice")).status == 404


@pytest.mark.parametrize(
    ("one", "other", "value", "reason"),
    [
        ({"loaded": True}, {"loaded": False}, "loaded", "it is loaded at one"),
        ({"loaded": True}, {"loaded": True}, "loaded", "it is loaded at one and other"),
        ({"loaded": False}, {"loading": True}, "loading", "it is being loaded at other"),
        ({"loaded": False}, {"loaded": False}, "unloaded", "it is not loaded at one or other"),
        ({}, {}, "unloaded", "one and other don't tell whether it is loaded"),
        ({"state": PeerState.DOWN, "loaded": True}, {}, "unloaded", "other doesn't tell whether it is loaded"),
        ({"state": PeerState.DOWN}, {"state": PeerState.DOWN}, "failed", "no peer that has it answers"),
        ({"state": PeerState.ASLEEP}, {"state": PeerState.DOWN}, "unloaded", "one sleeps, and a request wakes it"),
    ],
)
async def test_states(
    monkeypatch: pytest.MonkeyPatch, one: dict[str, Any], other: dict[str, Any], value: str, reason: str
) -> None:
    def made(name: str, state: PeerState = PeerState.UP, **told: Any) -> Peer:
        return peer(name, evolve(Offer(name="x"), **told), state=state)

    async with serving_with(monkeypatch, peers=[made("one", **one), made("other", **other)]) as (served, _):
        (entry,) = (await served.client.get("/v1/models")).json["data"]
    assert (entry["status"]["value"], entry["status"]["reason"]) == (value, reason)


async def test_the_way_is_the_shortest(monkeypatch: pytest.MonkeyPatch) -> None:
    peers = [
        peer("far", Offer(name="x", hops=2, context_length=8192)),
        peer("near", Offer(name="x", context_length=512)),
    ]
    async with serving_with(monkeypatch, peers=peers) as (served, _):
        placed = Places(peers, served.fleet).elsewhere["x"]
        assert (placed.hops, placed.context_length, placed.loaded) == (1, 512, None)
        assert Places(peers, served.fleet).find("far/x").hops == 3  # type: ignore[union-attr]
        assert Places(peers, served.fleet).find("far/y") is None
        too_far = peer("far", Offer(name="y", hops=MOST_HOPS))
        assert Places([too_far], served.fleet).elsewhere == {}
