"""Peers as they look to whoever shows them: nothing listens behind these, and nobody watches them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
from serving import Served, serving

import llmsup.tree
from llmsup.config.schema import ModelSpec, PeerSpec
from llmsup.engines.address import TcpAddress
from llmsup.engines.pool import ConnectionPool
from llmsup.peers.offer import Offer, Room
from llmsup.peers.peer import Peer, PeerState
from llmsup.peers.peers import Peers
from llmsup.units import Bytes

GIB = 1024**3
KEY = "a-key-that-nobody-is-shown"


def peer(name: str, *offers: Offer, state: PeerState = PeerState.UP, **known: Any) -> Peer:
    """A peer in a state, with what is known of it."""
    spec = PeerSpec(name=name, url=f"https://{name}.local:5005", key=KEY)
    made = Peer(spec, ConnectionPool.to(TcpAddress("127.0.0.1", 1)))
    made.state = state
    made.reason = "it answers"
    made.offers = {offer.name: offer for offer in offers}
    for attribute, value in known.items():
        setattr(made, attribute, value)
    return made


def several() -> list[Peer]:
    """One of ours with much to do, one that is down, one that sleeps."""
    studio = peer(
        "studio",
        Offer(name="qwen3-32b", kind="chat", loaded=True, busy=3, slots=4, load_seconds=12.5, context_length=32768),
        Offer(name="llama-70b", kind="chat", loaded=False, needs_bytes=Bytes(40 * GIB), fits=True),
        Offer(name="shared", kind="chat", loaded=False, loading=True),
        Offer(name="twice", kind="embedding", loaded=True, hops=1),
        kind="llmsup",
        version="0.1.0",
        note="it tells little",
        latency=0.0023,
        room=Room(ceiling=Bytes(96 * GIB), used=Bytes(20 * GIB), available=Bytes(70 * GIB)),
        requests=41,
        failed=1,
    )
    studio.began("qwen3-32b")
    studio.began("qwen3-32b")
    box = peer(
        "box",
        Offer(name="twice"),
        Offer(name="only-on-box"),
        state=PeerState.DOWN,
        kind="openai",
        reason="it refuses connections",
        retry_at=trio.current_time() + 100,
    )
    laptop = peer(
        "laptop",
        Offer(name="<b>small", loaded=False),
        state=PeerState.ASLEEP,
        kind="ollama",
        room=Room(used=Bytes(3 * GIB)),
    )
    return [studio, box, laptop]


@asynccontextmanager
async def serving_with(
    monkeypatch: pytest.MonkeyPatch, *models: ModelSpec, peers: list[Peer], **more: Any
) -> AsyncIterator[tuple[Served, Peers]]:
    """A llmsup that has these peers. `more`: as `serving` takes it."""
    caught: list[Peers] = []

    class Caught(Peers):
        """Hands itself over, and watches nobody."""

        def __init__(self, *parts: Any) -> None:
            super().__init__(*parts)
            caught.append(self)

        async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
            task_status.started()
            await trio.sleep_forever()

    monkeypatch.setattr(llmsup.tree, "Peers", Caught)
    async with serving(*models, **more) as served:
        (there,) = caught
        there.all = {each.name: each for each in peers}
        yield served, there
