"""A [models.NAME] table without a path, for a model that isn't here: it says what holds for it at peers."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
import trio
from attrs import evolve, fields
from described import as_described
from fake_peers import with_peers
from serving import Served, fake

from llmsup.config.keys import hash_of
from llmsup.config.peers import AT_PEERS
from llmsup.config.schema import Bridge, Config, KeySpec, ModelSpec, PeerSpec, RequestEdits, Settings
from llmsup.peers.offer import Offer
from llmsup.peers.peer import PeerState
from llmsup.peers.via import VIA
from llmsup.units import NEVER, Seconds

PEERS = {name: PeerSpec(name=name, url=f"http://{name}:1") for name in ("studio", "box")}
FAR = ModelSpec(
    name="far",
    aliases=("gpt-4o",),
    description="a large one",
    kind="chat",
    presets={"bold": {"temperature": 1.5}},
    request=RequestEdits(set={"user": "us"}),
    sampling={"top_k": 7},
)


def config(*tables: ModelSpec, **more: Any) -> Config:
    models = {spec.name: spec for spec in (*tables, fake("mine"))}
    return Config(**{"models": models, "peers": PEERS, "bridge": Bridge(every=NEVER), **more})


async def as_key(served: Served, key: str, model: str) -> Any:
    """The answer to a chat of a client with this key."""
    data = msgspec.json.encode({"model": model, "messages": [{"role": "user", "content": "hi"}]})
    headers = [(b"authorization", b"Bearer " + key.encode()), (b"content-type", b"application/json")]
    return await served.client.ask("POST", "/v1/chat/completions", data, headers)


async def test_it_is_the_peers_model_in_lists_and_for_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    async with with_peers(monkeypatch, config=config(FAR), names="studio") as (served, machines, look):
        studio = machines["studio"]
        studio.offers(Offer(name="far", loaded=True), Offer(name="other"))
        look()
        listed = as_described("/v1/models", await served.client.get("/v1/models"))
        data: dict[str, Any] = {entry["id"]: entry for entry in listed["data"]}
        assert list(data) == ["far", "far:bold", "mine", "other"]
        for name in ("far", "far:bold"):
            assert data[name]["status"] == {"value": "loaded", "reason": "it is loaded at studio"}
            assert data[name]["peer"]["peers"] == ["studio"]
            assert data[name]["description"] == "a large one"
        assert (data["far"]["aliases"], data["far"]["names"]) == (["far", "gpt-4o"], ["studio/far"])
        assert (data["far:bold"]["aliases"], data["far:bold"]["names"]) == (
            ["far:bold", "gpt-4o:bold"],
            ["studio/far:bold"],
        )
        assert (await served.client.get("/v1/models/gpt-4o")).json["id"] == "far"
        tags = [each["name"] for each in (await served.client.get("/api/tags")).json["models"]]
        assert sorted(tags) == ["far", "far:bold", "mine", "other"]
        for name in ("far", "gpt-4o", "studio/far", "gpt-4o:bold", "studio/far:bold"):
            assert (await served.client.chat(name)).json["at"] == "studio"
            body = studio.bodies[-1]
            assert (body["model"], body["user"], body["top_k"]) == ("far", "us", 7)
            assert body.get("temperature") == (1.5 if ":" in name else None)
        assert (await served.client.chat("other")).status == 200
        assert not {"user", "top_k"} & studio.bodies[-1].keys()
        told = (await served.client.get("/memory/gpt-4o")).json
        assert (told["model"], told["here"], told["backends"][0]["requests"]) == ("far", False, 3)
        assert list(served.fleet.models) == ["mine"]


async def test_other_llmsups_are_told_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """By its names here, with who has it; but not the one from which it comes."""
    big = evolve(FAR, name="big", aliases=("far",))
    async with with_peers(monkeypatch, config=config(big), names="studio") as (served, machines, look):
        machines["studio"].offers(Offer(name="far", loaded=True))
        look()
        for asker, names in (("0123456789abcdef", ["big", "big:bold", "mine"]), ("id-of-studio", ["mine"])):
            told = await served.client.ask("GET", "/v1/models", headers=[(VIA, asker.encode())])
            assert [each["id"] for each in told.json["data"]] == names
            there = [each["peer"] for each in told.json["data"] if "peer" in each]
            assert all((each["hops"], each["origins"]) == (1, ["id-of-studio"]) for each in there)


async def test_a_name_of_ones_own_for_what_peers_call_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    """By aliases: what has one of them is the table's model, under the table's name."""
    big = ModelSpec(name="big", aliases=("qwen3-32b", "qwen3:32b"))
    async with with_peers(monkeypatch, config=config(big)) as (served, machines, look):
        machines["studio"].offers(Offer(name="qwen3-32b", loaded=False))
        machines["box"].offers(Offer(name="qwen3:32b", loaded=True), Offer(name="qwen3-32b", loaded=False))
        look()
        (entry,) = [each for each in (await served.client.get("/v1/models")).json["data"] if each["id"] != "mine"]
        assert (entry["id"], entry["peer"]["peers"]) == ("big", ["studio", "box"])
        machines["box"].offers(Offer(name="qwen3:32b", loaded=True))
        look()
        assert (await served.client.chat("big")).json["at"] == "box"
        assert machines["box"].bodies[-1]["model"] == "qwen3:32b"
        assert (await served.client.chat("studio/qwen3-32b")).json["at"] == "studio"


async def test_a_table_for_what_one_peer_has(monkeypatch: pytest.MonkeyPatch) -> None:
    table = ModelSpec(name="studio/far", aliases=("there",), request=RequestEdits(set={"user": "us"}))
    async with with_peers(monkeypatch, config=config(table)) as (served, machines, look):
        for machine in machines.values():
            machine.offers(Offer(name="far", loaded=True))
        look()
        for name in ("studio/far", "there"):
            assert (await served.client.chat(name)).json["at"] == "studio"
            assert machines["studio"].bodies[-1]["user"] == "us"
        assert (await served.client.chat("box/far")).status == 200
        assert "user" not in machines["box"].bodies[-1]


async def test_nobody_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Then it is in no list, and a request for it says what the table is for; or which peer can't be asked."""
    keys = {
        "little": KeySpec(name="little", hash=hash_of("little"), models=("m*",)),
        "more": KeySpec(name="more", hash=hash_of("more"), models=("f*",)),
    }
    async with with_peers(monkeypatch, config=config(FAR)) as (served, machines, look):
        look()
        assert [each["id"] for each in (await served.client.get("/v1/models")).json["data"]] == ["mine"]
        got = await served.client.chat("gpt-4o")
        assert (got.status, got.error["code"]) == (404, "model_not_found")
        assert got.error["message"].startswith("far is not here, and no peer has it.")
        assert "no path or command" in got.error["message"]
        machines["box"].peer.state, machines["box"].peer.reason = PeerState.DOWN, "its cable is out"
        got = await served.client.chat("far")
        assert (got.status, got.error["code"]) == (503, "peer_unavailable")
        assert "no peer that answers has it: box has been down for" in got.error["message"]
    async with with_peers(monkeypatch, config=config(FAR, keys=keys)) as (served, machines, look):
        machines["box"].peer.state = PeerState.DOWN
        look()
        for key, code in (("little", "model_not_found"), ("more", "peer_unavailable")):
            got = await as_key(served, key, "far")
            assert got.error["code"] == code


async def test_keys_fit_its_aliases_and_it_may_be_unlisted(monkeypatch: pytest.MonkeyPatch) -> None:
    keys = {"k": KeySpec(name="k", hash=hash_of("k"), models=("gpt-*", "studio/*"))}
    tables = (FAR, ModelSpec(name="shy", unlisted=True))
    async with with_peers(monkeypatch, config=config(*tables, keys=keys), names="studio") as (served, machines, look):
        machines["studio"].offers(Offer(name="far", loaded=True), Offer(name="shy", loaded=True))
        look()
        header = [(b"authorization", b"Bearer k")]
        listed = (await served.client.ask("GET", "/v1/models", b"", header)).json["data"]
        assert [each["id"] for each in listed] == ["far", "far:bold"]
        for name, status in (("far", 200), ("studio/shy", 200), ("shy", 404)):
            assert (await as_key(served, "k", name)).status == status


async def test_a_reload_changes_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its names, its settings, whether there is one, and what it is without peers."""
    configs = [config()]
    more: Any = {"config": configs[0], "reread": lambda: configs[-1], "names": "studio"}
    async with with_peers(monkeypatch, **more) as (served, machines, look):
        machines["studio"].offers(Offer(name="far", loaded=True))
        look()

        async def reload(new: Config) -> Any:
            configs.append(new)
            return (await served.client.post("/reload-config")).json

        async def comes(name: str) -> None:
            with trio.fail_after(30):
                await served.fleet.until(lambda: served.fleet.knows(name))

        assert (await served.client.chat("far")).status == 200
        assert "top_k" not in machines["studio"].bodies[-1]
        assert (await reload(config(FAR)))["added"] == []
        await comes("gpt-4o")
        assert (await served.client.chat("far")).status == 200
        assert machines["studio"].bodies[-1]["top_k"] == 7
        await reload(config(evolve(FAR, aliases=("gpt-5",), sampling={"top_k": 8})))
        await comes("gpt-5")
        assert not served.fleet.knows("gpt-4o")
        assert (await served.client.chat("gpt-5")).status == 200
        assert machines["studio"].bodies[-1]["top_k"] == 8
        told = await reload(config(FAR, peers={}))
        assert told["added"] == ["far"]
        assert told["refused"]["far"].startswith("[models] has no path or command for it.")
        assert (await reload(config(FAR)))["removed"] == ["far"]
        await comes("gpt-4o")
        assert (await served.client.get("/v1/models/far")).json["status"]["value"] == "loaded"


async def test_sampling_for_engines_here_stays_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """[defaults] is filled into each table; a model that only peers have gets what its own table says."""
    table = evolve(FAR, sampling={"top_k": 7, "top_p": 0.5}, given=frozenset(("sampling", "sampling.top_k")))
    given = config(table, defaults=Settings(sampling={"top_p": 0.5}, queue_timeout=Seconds(5)))
    async with with_peers(monkeypatch, config=given, names="studio") as (served, machines, look):
        machines["studio"].offers(Offer(name="far", loaded=True))
        look()
        assert (await served.client.chat("far")).status == 200
        assert machines["studio"].bodies[-1]["top_k"] == 7
        assert "top_p" not in machines["studio"].bodies[-1]


def test_every_key_is_said_to_count_for_peers_or_not() -> None:
    """A new one has to be put down in one of the two: `check` warns of what has no effect."""
    about_engines = {
        *("args", "cache_ram", "command", "ctx_size", "devices", "drain_timeout", "engine", "env", "hang_timeout"),
        *("health", "load_mode", "max_in_flight", "max_ttl", "memory", "n_gpu_layers", "parallel", "path", "pinned"),
        *("preload", "priority", "rpc", "sleep", "stall_timeout", "start_timeout", "stop_grace", "threads", "ttl"),
        "upstream_model",
    }
    known = {field.name for field in fields(ModelSpec)} - {"name", "given"}
    assert known == AT_PEERS | about_engines
    assert not AT_PEERS & about_engines
