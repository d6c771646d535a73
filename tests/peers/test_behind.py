"""What a peer has from a server behind it, while that doesn't answer."""

from __future__ import annotations

from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
import trio
from fake_peer import FakePeer, said
from fake_peers import with_peers
from serving import Served, serving

from llmsup.config.schema import Bridge, Config, PeerSpec, Server
from llmsup.peers.offer import Offer
from llmsup.units import NEVER

PATIENCE = 60
"""Seconds after which a test counts as hung."""


@pytest.mark.road("fast")
async def test_it_is_not_unknown_and_soon_served_again(tmp_path: Path) -> None:
    """A -> B -> C: C dies, and comes back."""
    models = {"/v1/models": said({"data": [{"id": "far"}]}), "/v1/chat/completions": said({"at": "c"})}
    async with AsyncExitStack() as stack:

        async def llmsup(name: str, of: str, port: int) -> Served:
            peers = {of: PeerSpec(name=of, url=f"http://127.0.0.1:{port}")}
            config = Config(server=Server(state_dir=tmp_path / name), peers=peers, bridge=Bridge(every=NEVER))
            return await stack.enter_async_context(serving(config=config))

        async def until(status: int) -> None:
            with trio.fail_after(PATIENCE):
                while (got := await first.client.chat("far")).status != status:
                    assert got.status in (200, 502, 503), got
                    await trio.sleep(0.1)

        last = await stack.enter_async_context(FakePeer(models).listening())
        second = await llmsup("b", "cee", last.port)
        with trio.fail_after(PATIENCE):
            await second.fleet.until(lambda: second.fleet.knows("far"))
        first = await llmsup("a", "bee", second.client.port)
        await until(200)
        last.hangs_up = True
        await until(503)
        entry: dict[str, Any] = {}
        with trio.fail_after(PATIENCE):
            while entry.get("peer", {}).get("down") != ["bee"]:
                await first.client.get("/peers")  # who looks has it asked often
                await trio.sleep(0.1)
                (entry,) = (await first.client.get("/v1/models")).json["data"]
        assert entry["status"]["value"] == "failed"
        got = await first.client.chat("far")
        assert (got.status, got.error["code"]) == (503, "peer_unavailable")
        assert "cee has been down for" in got.error["message"]
        last.hangs_up = False
        with trio.fail_after(PATIENCE / 4):
            await until(200)


async def test_who_has_it_at_hand_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """And a failure elsewhere is not made up for by a server that is known not to have it now."""
    async with with_peers(monkeypatch) as (served, machines, look):
        machines["studio"].offers(Offer(name="far", hops=1, down=True))
        machines["box"].offers(Offer(name="far", loaded=False, load_seconds=500.0))
        look()
        assert (await served.client.chat("far")).json["at"] == "box"
        machines["box"].does = "429"
        assert (await served.client.chat("far")).error["message"] == "box says 429"
        assert not machines["studio"].requests
