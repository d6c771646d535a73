"""Another machine is lost, in each of the ways that there are: a cut cable, a crash, packets that are dropped."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
import trio
from netns_hosts import network
from netns_llmsup import by_command, gated, llmsup, smol
from netns_peers import ENDLESS, Chat, has, peer, peers_of, until_peer
from serving import Got

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="network namespaces are Linux'"),
]


async def test_a_cut_cable(tmp_path: Path) -> None:
    """Nothing answers where the request would have gone, so it goes to the next, once; what is back is found again."""
    async with (
        network("a", "b", "c") as net,
        llmsup(net["b"], tmp_path, models={"smol": smol(preload=True)}),
        llmsup(net["c"], tmp_path, models={"smol": by_command()}),
        llmsup(net["a"], tmp_path, peers={name: peer(net[name]) for name in ("b", "c")}) as a,
    ):
        await until_peer(a, "b", has("smol", loaded=True))
        await until_peer(a, "c", has("smol"))
        await net["b"].cut()
        got = await a.client.chat("smol", max_tokens=2)
        assert (got.status, bool(got.json["choices"][0]["message"]["content"])) == (200, True)
        found = await peers_of(a)
        assert (found["b"]["requests"], found["b"]["failed"]) == (1, 1)
        assert (found["c"]["requests"], found["c"]["failed"]) == (1, 0)
        down = await until_peer(a, "b", lambda found: found["state"] == "down")
        assert len(down["reason"].split()) > 3
        got = await a.client.chat("b/smol", max_tokens=2)  # it is named, and nobody else is that
        assert got.status >= 500
        assert "b" in got.error["message"]
        await net["b"].mend()
        await until_peer(a, "b", has("smol", loaded=True))
        assert (await a.client.chat("b/smol", max_tokens=2)).status == 200


async def test_killed_while_it_talks(tmp_path: Path) -> None:
    """The client is told in its stream, nothing is held for it any longer, and who asks next is served elsewhere."""
    async with (
        network("a", "b", "c") as net,
        llmsup(net["b"], tmp_path, models={"smol": smol(preload=True)}) as b,
        llmsup(net["c"], tmp_path, models={"smol": by_command()}),
        llmsup(net["a"], tmp_path, peers={name: peer(net[name]) for name in ("b", "c")}) as a,
    ):
        await until_peer(a, "b", has("smol", loaded=True))
        await until_peer(a, "c", has("smol"))
        async with a.client.stream("smol", **ENDLESS) as pieces:
            await anext(aiter(pieces))
            assert (await peers_of(a))["b"]["in_flight"] == 1
            b.program.kill()
            rest = b"".join([piece async for piece in pieces])
        assert b'"error"' in rest[-1000:]
        await until_peer(a, "b", lambda found: found["in_flight"] == 0 and found["failed"] == 1)
        got = await a.client.chat("smol", max_tokens=2)
        assert got.status == 200
        assert (await peers_of(a))["c"]["requests"] == 1
        await until_peer(a, "b", lambda found: found["state"] == "down")


async def test_a_partition_during_a_load(tmp_path: Path) -> None:
    """Packets are dropped, and nobody says so. Who waits for a load there is served elsewhere, or told that nobody else
    can; who has got a part of an answer is told in its stream.
    """
    os.mkfifo(gate := tmp_path / "gate")
    async with (
        network("a", "b", "c") as net,
        llmsup(net["b"], tmp_path, models={"smol": smol(), "slow": gated(gate), "only": gated(gate)}),
        llmsup(net["a"], tmp_path, peers={name: peer(net[name]) for name in ("b", "c")}) as a,
    ):
        await until_peer(a, "b", has("slow"))
        got: dict[str, Got] = {}

        async def ask(model: str) -> None:
            got[model] = await a.client.chat(model, max_tokens=2)

        async with trio.open_nursery() as nursery:
            chat = Chat(nursery, a.client, "smol", **ENDLESS)
            for model in ("slow", "only"):
                nursery.start_soon(ask, model)
                await until_peer(a, "b", has(model, loading=True))
            await chat.begun.wait()
            async with llmsup(net["c"], tmp_path, models={"slow": smol()}):
                await until_peer(a, "c", has("slow"))
                assert not got
                await net.part("b")
                await until_peer(a, "b", lambda found: found["state"] == "down" and not found["in_flight"])
                await chat.ended.wait()
                await until_peer(a, "c", lambda found: found["requests"] == 1 and not found["in_flight"])
        assert got["slow"].status == 200
        assert got["only"].status == 502
        assert "peer b" in got["only"].error["message"]
        assert b'"error"' in chat.last
        await net.unite()
        await until_peer(a, "b", has("smol"))
        assert (await a.client.chat("smol", max_tokens=1)).status == 200


async def test_a_machine_that_lost_its_power_and_is_back(tmp_path: Path) -> None:
    """It knows nothing of who waits there, and nobody told him: all that he had sent had come, and it answers again.

    Only TCP itself can find out (`engines.keepalive`).
    """
    models = {"smol": smol()}
    async with (
        network("a", "b") as net,
        llmsup(net["b"], tmp_path, models=models) as before,
        llmsup(net["a"], tmp_path, peers={"b": peer(net["b"])}) as a,
    ):
        await until_peer(a, "b", has("smol"))
        async with trio.open_nursery() as nursery:
            chat = Chat(nursery, a.client, "smol", **ENDLESS)
            await chat.begun.wait()
            await net.lose_power("b", before.program)
            async with llmsup(net["b"], tmp_path, models=models):
                await chat.ended.wait()
                assert b'"error"' in chat.last
                await until_peer(a, "b", has("smol"))
                assert (await a.client.chat("smol", max_tokens=1)).status == 200
