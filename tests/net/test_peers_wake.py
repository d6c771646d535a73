"""A machine that sleeps is woken by what is asked of it."""

from __future__ import annotations

import socket
import sys
from pathlib import Path

import pytest
import trio
from netns import PATIENCE
from netns_hosts import network
from netns_llmsup import llmsup, smol
from netns_peers import ASKED, Chat, has, peer, text_of, until_peer

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="network namespaces are Linux'"),
]

MAC = "a4:83:e7:01:02:03"


async def test_a_machine_is_woken(tmp_path: Path) -> None:
    """The magic packet comes to where it sleeps; it takes its time, and the client is told so; then it serves."""
    async with network("a", "b") as net:
        models = {"smol": smol()}
        peers = {"b": peer(net["b"], mac=MAC)}
        async with llmsup(net["a"], tmp_path, peers=peers, server={"loading_comments": "200ms"}) as a:
            async with llmsup(net["b"], tmp_path, models=models):
                await until_peer(a, "b", has("smol"))
            await until_peer(a, "b", lambda found: found["state"] == "asleep")
            with net["b"].inside.make_socket(socket.SOCK_DGRAM) as card:
                await card.bind(("", 9))
                with trio.fail_after(PATIENCE):
                    async with trio.open_nursery() as nursery:
                        chat = Chat(nursery, a.client, "smol", **ASKED)
                        packet = await card.recv(200)
                        assert packet == b"\xff" * 6 + bytes.fromhex(MAC.replace(":", "")) * 16
                        await chat.begun.wait()
                        assert chat.pieces[0].startswith(b":")
                        async with llmsup(net["b"], tmp_path, models=models):
                            await chat.ended.wait()
            assert text_of(chat.pieces)
