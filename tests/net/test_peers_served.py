"""Several llmsups on several machines, with real engines: what is asked of one is served by another."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from netns_hosts import network
from netns_llmsup import llmsup, smol, url
from netns_peers import ASKED, has, peer, peers_of, text_of, until_peer, wire_to

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="network namespaces are Linux'"),
]


async def test_a_model_of_another_machine(tmp_path: Path) -> None:
    """It is loaded there, and says what it says to those who ask there; with the peer's key, and never the client's."""
    async with (
        network("a", "b", "wire") as net,
        llmsup(net["b"], tmp_path, models={"smol": smol()}) as b,
        wire_to(net["b"], net["wire"]) as sent,
        llmsup(net["a"], tmp_path, peers={"b": {"url": url(net["wire"]), "key": b.key}}) as a,
    ):
        await until_peer(a, "b", has("smol"))
        assert [each["id"] for each in (await a.client.get("/v1/models")).json["data"]] == ["smol"]
        got = await a.client.ask(
            "POST", "/v1/chat/completions", {"model": "smol", **ASKED}, [(b"x-api-key", b"another")]
        )
        there = await b.client.post("/v1/chat/completions", model="smol", **ASKED)
        said = got.json["choices"][0]["message"]["content"]
        assert said == there.json["choices"][0]["message"]["content"]
        async with a.client.stream("b/smol", **ASKED) as pieces:
            streamed = [piece async for piece in pieces]
        assert text_of(streamed) == said
        assert streamed[-1].endswith(b"data: [DONE]\n\n")

        assert [each["model"] for each in (await b.client.get("/running")).json] == ["smol"]
        assert not [each for each in (await a.client.get("/running")).json if "pid" in each]
        assert sent.count(b"POST /v1/chat/completions") == 2
        assert b.key.encode() in sent
        assert a.key.encode() not in sent
        assert b"another" not in sent


async def test_a_far_one_and_a_near_one(tmp_path: Path) -> None:
    """200 ms there and back: it works, and of two that are alike the near one is asked."""
    async with (
        network("a", "far", "near") as net,
        llmsup(net["far"], tmp_path, models={"smol": smol(preload=True)}),
        llmsup(net["near"], tmp_path, models={"smol": smol(preload=True)}),
    ):
        await net.slow("far", 0.1)
        async with llmsup(net["a"], tmp_path, peers={name: peer(net[name]) for name in ("far", "near")}) as a:
            for name in ("far", "near"):
                await until_peer(a, name, has("smol", loaded=True))
            async with a.client.stream("far/smol", **ASKED) as pieces:
                assert text_of([piece async for piece in pieces])
            for _ in range(3):
                for name in ("far", "near"):  # alike in this, too
                    await until_peer(a, name, has("smol", busy=0))
                await until_peer(a, "near", lambda found: found["latency_seconds"] < 0.1)  # the machine may be busy
                assert (await a.client.chat("smol", max_tokens=1)).status == 200
            found = await peers_of(a)
            assert found["far"]["latency_seconds"] >= 0.2
            assert (found["far"]["requests"], found["near"]["requests"]) == (1, 3)


async def test_both_ask_each_other(tmp_path: Path) -> None:
    """What neither has is found nowhere, soon; what one has is listed once, and served to both."""
    async with (
        network("a", "b") as net,
        llmsup(net["a"], tmp_path, peers={"b": peer(net["b"])}) as a,
        llmsup(net["b"], tmp_path, models={"smol": smol()}, peers={"a": peer(net["a"])}) as b,
    ):
        await until_peer(a, "b", has("smol"))
        await until_peer(b, "a", lambda found: found["state"] == "up")
        for machine in (a, b):
            assert (await machine.client.chat("nobody-has-it")).status == 404
        assert (await a.client.chat("smol", max_tokens=1)).status == 200
        assert (await b.client.chat("smol", max_tokens=1)).status == 200
        for name in ("a/smol", "a/b/smol"):
            assert (await b.client.chat(name, max_tokens=1)).status in (404, 508)
        listed = {
            machine.host.name: [each["id"] for each in (await machine.client.get("/v1/models")).json["data"]]
            for machine in (a, b)
        }
        assert listed == {"a": ["smol"], "b": ["smol"]}
        assert (await peers_of(b))["a"]["requests"] == 0
