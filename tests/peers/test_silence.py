"""Nothing comes from a peer any more, and nobody says so: who waits there is let go; who is only slow is waited for."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio
from fake_peer import FakePeer, said
from trio.testing import MockClock, memory_stream_pair, wait_all_tasks_blocked
from watched_peers import Watched, spec, watched

from llmsup.engines.connection import Disconnected
from llmsup.peers import address
from llmsup.peers.peer import PeerState

SOON = 30
"""Seconds, of the test's clock, within which a request is to be let go."""


class Wire:
    """The way to a fake peer; `dead`: who connects waits for ever."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self.fake = FakePeer({"/v1/models": said({"data": [{"id": "a"}]})})
        self.dead = False
        self._nursery = nursery

    async def connect(self, _address: object) -> trio.abc.Stream:
        await trio.lowlevel.checkpoint()
        if self.dead:
            await trio.sleep_forever()
        ours, theirs = memory_stream_pair()
        self._nursery.start_soon(self.fake.serve, None, theirs)
        return ours


class Waiting:
    """A request that waits for the head of its answer; `ended`: why it does no longer."""

    def __init__(self, nursery: trio.Nursery, found: Watched) -> None:
        self.ended: Disconnected | None = None
        self.done = trio.Event()
        nursery.start_soon(self._ask, found)

    async def _ask(self, found: Watched) -> None:
        peer = found["studio"]
        peer.began("a")
        try:
            await peer.pool.request("GET", b"/", [], b"")
        except Disconnected as gone:
            self.ended = gone
        finally:
            peer.ended("a")
        self.done.set()


async def test_who_waits_is_let_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    """And can be sent elsewhere; when the peer is back, it gets requests again."""
    wire = Wire(nursery)
    monkeypatch.setattr(address, "connect", wire.connect)
    async with watched(tmp_path, spec(1)) as found:
        await found.until(lambda: found["studio"].state is PeerState.UP)
        wire.fake.silent = True
        waiting = Waiting(nursery, found)
        await wait_all_tasks_blocked()
        wire.dead = True
        with trio.fail_after(SOON):
            await waiting.done.wait()
        assert waiting.ended
        assert not waiting.ended.began
        assert found["studio"].state is PeerState.DOWN
        assert found["studio"].reason == "it has not answered within 5 s"
        wire.dead = wire.fake.silent = False
        await found.until(lambda: found["studio"].state is PeerState.UP)


async def test_who_waits_for_one_that_still_speaks_goes_on_waiting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    """What it says may be nonsense: it is alive, and may be busy with just this request."""
    wire = Wire(nursery)
    monkeypatch.setattr(address, "connect", wire.connect)
    async with watched(tmp_path, spec(1)) as found:
        await found.until(lambda: found["studio"].state is PeerState.UP)
        wire.fake.silent = True
        waiting = Waiting(nursery, found)
        await wait_all_tasks_blocked()
        wire.fake.silent = False
        wire.fake.answers = {"/v1/models": said({}, 500)}
        await found.until(lambda: found["studio"].state is PeerState.DOWN)
        await trio.sleep(10 * SOON)
        assert not waiting.done.is_set()


async def test_a_connection_is_open_soon_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    """The system would try for two minutes, while another server could do the work."""
    wire = Wire(nursery)
    monkeypatch.setattr(address, "connect", wire.connect)
    async with watched(tmp_path, spec(1)) as found:
        await found.until(lambda: found["studio"].state is PeerState.UP)
        await trio.sleep(5)  # its idle connections are closed
        wire.dead = True
        waiting = Waiting(nursery, found)
        began = trio.current_time()
        await waiting.done.wait()
        assert trio.current_time() - began < 6
        assert waiting.ended
        assert str(waiting.ended.__cause__) == "no connection within 5 s"
