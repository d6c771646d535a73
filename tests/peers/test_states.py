"""A peer that stops answering is taken out and comes back; what requests report counts; peers come and go with the
config. The peers' side is a pair of memory streams, so that the clock can jump.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
from attrs import evolve
from fake_peer import FakePeer, said
from trio.testing import MockClock, memory_stream_pair, wait_all_tasks_blocked
from watched_peers import Watched, spec, watched

from llmsup.errors import PeerUnavailable
from llmsup.peers import address
from llmsup.peers.health import LONGEST
from llmsup.peers.peer import AGAIN, Peer, PeerState
from llmsup.peers.watcher import EVERY, OFTEN

MAC = "a4:83:e7:01:02:03"
LIST = said({"data": [{"id": "a"}]})


class Wire:
    """The way to a fake peer.

    Attributes:
        fake: It.
        cut: Connections are refused.
    """

    def __init__(self, nursery: trio.Nursery) -> None:
        self.fake = FakePeer({"/v1/models": LIST})
        self.cut = False
        self.dials: list[float] = []
        self._nursery = nursery

    async def connect(self, _address: object) -> trio.abc.Stream:
        await trio.lowlevel.checkpoint()
        self.dials.append(trio.current_time())
        if self.cut:
            raise ConnectionRefusedError(111, "Connection refused")
        ours, theirs = memory_stream_pair()
        self._nursery.start_soon(self.fake.serve, None, theirs)
        return ours


@pytest.fixture
async def wire(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Wire]:
    async with trio.open_nursery() as nursery:
        found = Wire(nursery)
        monkeypatch.setattr(address, "connect", found.connect)
        yield found
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def up(folder: Path, wire: Wire, **table: Any) -> AsyncIterator[tuple[Watched, Peer]]:
    """A peer that is up."""
    async with watched(folder, spec(1, **table)) as found:
        await found.until(lambda: found["studio"].state is PeerState.UP)
        yield found, found["studio"]


async def test_it_is_asked_now_and_then(tmp_path: Path, wire: Wire, autojump_clock: MockClock) -> None:
    """And more often while it has requests of ours, or somebody looks on."""

    async def asked_within(seconds: float) -> int:
        before = len(wire.fake.asked)
        await trio.sleep(seconds)
        return len(wire.fake.asked) - before

    async with up(tmp_path, wire) as (found, peer):
        await wait_all_tasks_blocked()
        assert await asked_within(10.5 * EVERY) == 10
        peer.began("a")
        assert 10 <= await asked_within(10.5 * OFTEN) <= 11
        peer.ended("a")
        await trio.sleep(EVERY)
        found.peers.look()
        assert 4 <= await asked_within(5 * OFTEN) <= 6
        await trio.sleep(EVERY)
        assert await asked_within(5.5 * EVERY) in (5, 6)


async def test_three_refusals_take_it_out_and_one_answer_brings_it_back(
    tmp_path: Path, wire: Wire, autojump_clock: MockClock
) -> None:
    async with up(tmp_path, wire) as (found, peer):
        wire.cut = True
        began = trio.current_time()
        await found.until(lambda: peer.state is PeerState.DOWN)
        assert trio.current_time() - began < EVERY + 5
        assert peer.failures == 3
        assert peer.reason == "nothing listens at its address"
        assert not peer.usable
        assert list(peer.offers) == ["a"]  # the name still means something
        assert peer.offers["a"].loaded is None
        assert 0 < peer.retry_at - trio.current_time() <= 1.2
        await trio.sleep(500)
        pauses = [after - before for before, after in zip(wire.dials[-4:], wire.dials[-3:], strict=False)]
        assert all(48 <= pause <= 72 for pause in pauses)
        wire.cut = False
        with trio.fail_after(2 * LONGEST):
            await found.peers.until(lambda: peer.state is PeerState.UP)
        assert (peer.failures, peer.usable) == (0, True)
        assert found.transitions() == [("unknown", "up"), ("up", "down"), ("down", "up")]


async def test_requests_that_had_to_be_refused_have_it_asked_again_soon(
    tmp_path: Path, wire: Wire, autojump_clock: MockClock
) -> None:
    """Who has just started it would wait for up to a minute; many requests are no reason to ask it all the time."""
    async with up(tmp_path, wire) as (found, peer):
        wire.cut = True
        await found.until(lambda: peer.state is PeerState.DOWN)
        await trio.sleep(500)
        before = len(wire.dials)
        for _ in range(100):
            peer.missed()
            await trio.sleep(0.1)
        assert 4 <= len(wire.dials) - before <= 6
        wire.cut = False
        peer.missed()
        with trio.fail_after(AGAIN):
            await found.peers.until(lambda: peer.state is PeerState.UP)
        asked = len(wire.fake.asked)
        peer.missed()
        await wait_all_tasks_blocked()
        assert len(wire.fake.asked) == asked


async def test_one_that_hangs_is_taken_out(tmp_path: Path, wire: Wire, autojump_clock: MockClock) -> None:
    async with up(tmp_path, wire) as (found, peer):
        wire.fake.silent = True
        await found.until(lambda: peer.state is PeerState.DOWN)
        assert peer.reason == "it has not answered within 5 s"


async def test_one_that_is_too_busy_to_answer_is_not_taken_out(
    tmp_path: Path, wire: Wire, autojump_clock: MockClock
) -> None:
    """While it goes on with our requests, it is there; when it stops that, too, it isn't."""
    async with up(tmp_path, wire) as (found, peer):

        async def stream() -> None:
            while True:
                peer.pool.heard = trio.current_time()
                await trio.sleep(1)

        wire.fake.silent = True
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stream)
            await trio.sleep(20 * EVERY)
            assert (peer.usable, peer.failures) == (True, 0)
            assert peer.reason == "it has not answered within 5 s, but goes on with requests"
            nursery.cancel_scope.cancel()
        await found.until(lambda: peer.state is PeerState.DOWN)


async def test_one_failure_changes_nothing(tmp_path: Path, wire: Wire, autojump_clock: MockClock) -> None:
    async with up(tmp_path, wire) as (found, peer):
        wire.fake.hangs_up = True
        await found.until(lambda: peer.failures == 1)
        assert (peer.state, peer.reason) == (PeerState.UP, "it has failed once: it hung up instead of answering")
        wire.fake.hangs_up = False
        await found.until(lambda: not peer.failures)
        assert found.transitions() == [("unknown", "up")]


async def test_requests_that_it_fails_take_it_out_at_once(
    tmp_path: Path, wire: Wire, autojump_clock: MockClock
) -> None:
    async with up(tmp_path, wire) as (found, peer):
        for _ in range(3):
            peer.broke("it hung up")
        assert peer.state is PeerState.DOWN
        assert peer.reason == "it failed 3 requests in a row: it hung up"
        assert peer.failed == 3
        await found.until(lambda: peer.state is PeerState.UP)


async def test_a_request_that_it_answers_makes_up_for_it(tmp_path: Path, wire: Wire, autojump_clock: MockClock) -> None:
    async with up(tmp_path, wire) as (_, peer):
        for _ in range(5):
            peer.broke("it hung up")
            peer.answered()
        assert (peer.state, peer.failures, peer.failed) == (PeerState.UP, 0, 5)


async def test_a_request_that_it_answers_brings_it_back(tmp_path: Path, wire: Wire, autojump_clock: MockClock) -> None:
    async with up(tmp_path, wire) as (found, peer):
        wire.cut = True
        await found.until(lambda: peer.state is PeerState.DOWN)
        wire.cut = False
        peer.answered()  # the end of one that had begun before
        assert peer.state is PeerState.UP
        await found.until(lambda: peer.latency is not None)


async def test_what_it_has_is_counted(tmp_path: Path, wire: Wire, autojump_clock: MockClock) -> None:
    async with up(tmp_path, wire) as (_, peer):
        peer.began("a")
        peer.began("a")
        peer.began("b")
        assert (peer.ours["a"], peer.ours["b"], peer.requests) == (2, 1, 3)
        peer.ended("a")
        peer.ended("b")
        assert peer.ours == {"a": 1}


async def test_a_clock_that_jumps_does_no_harm(tmp_path: Path, wire: Wire, autojump_clock: MockClock) -> None:
    """A laptop has slept, and its connections with it."""
    async with up(tmp_path, wire) as (found, peer):
        for _ in range(3):
            before = len(wire.fake.asked)
            autojump_clock.jump(86400)
            await trio.sleep(EVERY)
            assert 1 <= len(wire.fake.asked) - before <= 3  # what was missed is not made up for
        assert found.transitions() == [("unknown", "up")]
        assert peer.usable


# The config...


async def test_peers_come_and_go_with_the_config(tmp_path: Path, wire: Wire, autojump_clock: MockClock) -> None:
    async with up(tmp_path, wire) as (found, peer):
        found.configure(peer.spec, spec(2, name="box"))
        await found.until(lambda: "box" in found.peers.all and found["box"].state is PeerState.UP)
        assert list(found.peers.all) == ["studio", "box"]
        assert found["studio"] is peer
        found.configure(spec(2, name="box"))
        await found.until(lambda: "studio" not in found.peers.all)
        assert not peer.usable
        with pytest.raises(PeerUnavailable, match="no longer in the config"):
            await peer.woken()


async def test_what_can_change_without_new_connections_does(
    tmp_path: Path, wire: Wire, autojump_clock: MockClock
) -> None:
    async with up(tmp_path, wire) as (found, peer):
        found.configure(evolve(peer.spec, models=("nothing",), priority="high"))
        await found.until(lambda: not peer.offers)
        assert (found["studio"], peer.spec.priority) == (peer, "high")
        found.configure(evolve(peer.spec, models=("*",)))
        await found.until(lambda: peer.offers)


async def test_another_key_is_another_peer_and_names_stay(
    tmp_path: Path, wire: Wire, autojump_clock: MockClock
) -> None:
    async with up(tmp_path, wire) as (found, peer):
        found.configure(evolve(peer.spec, key="other"))
        await found.until(lambda: found["studio"] is not peer)
        assert list(found["studio"].offers) == ["a"]
        await found.until(lambda: found["studio"].state is PeerState.UP)
        assert b"Bearer other" in wire.fake.asked[-1][1]


async def test_requests_of_one_that_is_removed_finish(tmp_path: Path, wire: Wire, autojump_clock: MockClock) -> None:
    async with up(tmp_path, wire) as (found, peer):
        peer.began("a")
        found.configure()
        await trio.sleep(60)
        assert "open" in repr(peer.pool)
        peer.ended("a")
        await wait_all_tasks_blocked()
        assert "closed" in repr(peer.pool)


# Sleep...


async def test_one_that_can_be_woken_is_asleep_rather_than_down(
    tmp_path: Path, wire: Wire, autojump_clock: MockClock
) -> None:
    """It is woken for a request; several share that."""
    async with up(tmp_path, wire, mac=MAC) as (found, peer):
        wire.cut = True
        await found.until(lambda: peer.state is PeerState.ASLEEP)
        assert peer.usable
        assert not found.woken
        sent = 0

        def wakes() -> None:
            nonlocal sent
            sent += 1
            wire.cut = sent < 3

        found.wakes = wakes
        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(peer.woken)
        assert peer.usable
        assert found.woken == ["studio"] * 3
        assert found.transitions()[-2:] == [("asleep", "waking"), ("waking", "up")]


async def test_one_that_does_not_wake_is_told(tmp_path: Path, wire: Wire, autojump_clock: MockClock) -> None:
    async with up(tmp_path, wire, mac=MAC, wake_timeout=30) as (found, peer):
        wire.cut = True
        await found.until(lambda: peer.state is PeerState.ASLEEP)
        began = trio.current_time()
        with pytest.raises(PeerUnavailable, match=r"studio.*did not wake up within 30 s, and nothing listens"):
            await peer.woken()
        assert 30 <= trio.current_time() - began <= 40
        assert 10 <= len(found.woken) <= 12
        assert peer.state is PeerState.ASLEEP
        wire.cut = False
        await peer.woken()  # the next one tries again


async def test_a_packet_that_can_not_be_sent_is_no_disaster(
    tmp_path: Path, wire: Wire, autojump_clock: MockClock
) -> None:
    def fails() -> None:
        raise OSError(101, "Network is unreachable")

    async with up(tmp_path, wire, mac=MAC, wake_timeout=10) as (found, peer):
        wire.cut = True
        await found.until(lambda: peer.state is PeerState.ASLEEP)
        found.wakes = fails
        with pytest.raises(PeerUnavailable):
            await peer.woken()


async def test_one_that_is_down_for_good_is_not_woken(tmp_path: Path, wire: Wire, autojump_clock: MockClock) -> None:
    async with up(tmp_path, wire) as (found, peer):
        wire.cut = True
        await found.until(lambda: peer.state is PeerState.DOWN)
        with pytest.raises(PeerUnavailable, match="down: nothing listens"):
            await peer.woken()
        assert not found.woken


async def test_one_that_answers_oddly_is_not_asleep(tmp_path: Path, wire: Wire, autojump_clock: MockClock) -> None:
    """Waking it would not help, and requests would wait for that."""
    async with up(tmp_path, wire, mac=MAC) as (found, peer):
        wire.fake.answers["/v1/models"] = said({}, 401)
        await found.until(lambda: peer.state is PeerState.DOWN)
        assert "it wants a key" in peer.reason
        wire.cut = True
        await found.until(lambda: peer.state is PeerState.ASLEEP)
        wire.cut = False
        await found.until(lambda: peer.state is PeerState.DOWN)


async def test_what_a_sleeper_offers_survives_a_restart(tmp_path: Path, wire: Wire, autojump_clock: MockClock) -> None:
    table = spec(1, mac=MAC)
    async with up(tmp_path, wire, mac=MAC) as (found, _):
        with trio.fail_after(30):
            while not (tmp_path / "peers.json").exists():  # noqa: ASYNC110 -- it is a file
                await trio.sleep(1)
    wire.cut = True
    async with watched(tmp_path, table) as found:
        peer = found["studio"]
        assert list(peer.offers) == ["a"]
        await found.until(lambda: peer.state is PeerState.ASLEEP)
        assert (list(peer.offers), peer.kind, peer.usable) == (["a"], "openai", True)
    async with watched(tmp_path, spec(2, mac=MAC)) as found:  # another machine
        assert not found["studio"].offers


@pytest.mark.parametrize("data", [b"", b"{", b'{"format": 1}', b'{"format": 1, "peers": {"studio": 3}}', b"[1]"])
async def test_a_damaged_file_is_no_disaster(
    tmp_path: Path, wire: Wire, autojump_clock: MockClock, data: bytes
) -> None:
    (tmp_path / "peers.json").write_bytes(data)
    async with up(tmp_path, wire, mac=MAC) as (_, peer):
        assert peer.offers


async def test_a_bug_in_reading_takes_out_only_that_peer(
    tmp_path: Path,
    wire: Wire,
    autojump_clock: MockClock,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fail(*_: object) -> None:
        raise TypeError("surprise")

    monkeypatch.setattr("llmsup.peers.asking.openai.OpenAi.ask", fail)
    async with watched(tmp_path, spec(1)) as found:
        await found.until(lambda: found["studio"].state is PeerState.DOWN)
        assert "a bug in llmsup (TypeError)" in found["studio"].reason
    assert "surprise" in caplog.text
