"""Requests for models that peers have: where they go, as what, and where else if that fails."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio
from fake_peers import STREAM, with_peers
from serving import Got, fake
from trio.testing import wait_all_tasks_blocked

from llmsup.config.schema import Config, RequestEdits, Server, Settings
from llmsup.peers import serving as serving_of_peers
from llmsup.peers.offer import Offer
from llmsup.peers.peer import PeerState
from llmsup.peers.via import VIA
from llmsup.units import Seconds


async def test_a_peers_model_is_served_under_its_name_and_with_the_peers(monkeypatch: pytest.MonkeyPatch) -> None:
    """The body has its name there; the peer gets its own key, never the client's, and learns whom it came through."""
    async with with_peers(monkeypatch, names="studio") as (served, machines, look):
        studio = machines["studio"]
        studio.offers(Offer(name="qwen/qwen3-32b", loaded=True))
        look()
        for name in ("qwen/qwen3-32b", "QWEN/qwen3-32b", "studio/qwen/qwen3-32b"):
            got = await served.client.ask(
                "POST",
                "/v1/chat/completions",
                {"model": name, "messages": []},
                [(b"authorization", b"Bearer of-the-client"), (b"cookie", b"a=b")],
            )
            assert (got.status, got.json["at"]) == (200, "studio")
            assert studio.bodies[-1]["model"] == "qwen/qwen3-32b"
            assert studio.header(b"authorization") == b"Bearer its-key"
            assert not studio.header(b"cookie")
            assert studio.header(VIA) == served.tree.serving.identity.encode()
        assert studio.answered == 3
        async with served.client.stream("qwen/qwen3-32b") as pieces:
            assert b"".join([piece async for piece in pieces]) == STREAM


async def test_a_choice_is_made_among_all_that_are_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that has just told what it has comes into question at once, not at the next look at all peers: it was passed
    over, and the model loaded somewhere else.
    """
    async with with_peers(monkeypatch) as (served, machines, look):
        studio, box = machines["studio"], machines["box"]
        box.offers(Offer(name="far", loaded=False))
        look()
        monkeypatch.setattr(serving_of_peers, "LEAST_APART", 3600)
        studio.offers(Offer(name="other"))
        studio.peer.announce()
        await wait_all_tasks_blocked()  # it rests now
        studio.offers(Offer(name="far", loaded=True))
        studio.peer.announce()
        assert (await served.client.chat("far")).json["at"] == "studio"


async def test_who_has_it_is_asked_rather_than_who_would_pass_it_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """Through another it looks idle, whatever it does; that way is only for when it can't be reached from here."""
    async with with_peers(monkeypatch) as (served, machines, look):
        studio, box = machines["studio"], machines["box"]
        studio.offers(Offer(name="far", loaded=True, busy=9))
        box.offers(Offer(name="far", loaded=True, hops=1, origins=frozenset(("id-of-studio",))))
        look()
        assert (await served.client.chat("far")).json["at"] == "studio"
        studio.does = "hangs up"
        assert (await served.client.chat("far")).json["at"] == "box"
        studio.peer.state = PeerState.DOWN
        assert (await served.client.chat("far")).json["at"] == "box"
        box.offers(Offer(name="far", loaded=True, hops=1, origins=frozenset(("id-of-studio", "another"))))
        studio.peer.state, studio.does = PeerState.UP, "answers"
        assert (await served.client.chat("far")).json["at"] == "box"  # it knows one more


async def test_a_name_in_several_places_is_one_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """It goes where it is loaded; PEER/NAME goes there in any case; edits of its table apply wherever it is served."""
    table = fake("both", aliases=("gpt-4o",), request=RequestEdits(set={"top_k": 7}), sampling={"min_p": 0.25})
    async with with_peers(monkeypatch, table) as (served, machines, look):
        machines["studio"].offers(Offer(name="gpt-4o", loaded=True, busy=0, slots=4))
        machines["box"].offers(Offer(name="both", loaded=False, fits=True, load_seconds=500.0))
        look()
        got = await served.client.chat("both")
        assert got.json["at"] == "studio"
        body = machines["studio"].bodies[-1]
        assert (body["model"], body["top_k"], body["min_p"]) == ("gpt-4o", 7, 0.25)
        assert served.model("both").run is None
        for name in ("box/both", "BOX/both"):
            assert (await served.client.chat(name)).json["at"] == "box"
        assert machines["box"].bodies[-1]["top_k"] == 7
        machines["studio"].peer.state = machines["box"].peer.state = PeerState.DOWN
        assert "at" not in (await served.client.chat("both")).json
        assert served.model("both").run is not None


async def test_a_model_here_keeps_all_its_names(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Also those that are a peer's name with one of its models, which is told once."""
    here = fake("studio/qwen3"), fake("other", presets={"creative": {"temperature": 1.3}})
    async with with_peers(monkeypatch, *here, names="studio") as (served, machines, look):
        machines["studio"].offers(Offer(name="qwen3", loaded=True), Offer(name="other:creative", loaded=True))
        look()
        look()
        assert "at" not in (await served.client.chat("studio/qwen3")).json
        assert "at" not in (await served.client.chat("other:creative")).json
        assert (await served.client.chat("qwen3")).json["at"] == "studio"
        assert (await served.client.chat("studio/other:creative")).json["at"] == "studio"
        assert len([record for record in caplog.records if "can't be asked for by it" in record.message]) == 1


@pytest.mark.parametrize("does", ["hangs up", "503", "429", "404", "507"])
async def test_a_request_without_its_first_byte_goes_to_another_once(
    monkeypatch: pytest.MonkeyPatch, does: str
) -> None:
    async with with_peers(monkeypatch) as (served, machines, look):
        for machine in machines.values():
            machine.offers(Offer(name="far", loaded=True))
        machines["box"].offers(Offer(name="far", loaded=False, load_seconds=1000.0))
        machines["studio"].does = does
        look()
        got = await served.client.chat("far")
        assert (got.status, got.json["at"]) == (200, "box")
        assert [len(machine.requests) for machine in machines.values()] == [1, 1]
        assert len(machines["studio"].broke) == (does == "hangs up")
        # It is not the first to be asked for a while, whatever it offers.
        assert (await served.client.chat("far")).json["at"] == "box"
        machines["box"].does = does
        got = await served.client.chat("far")
        assert got.status >= 400


async def test_the_last_to_refuse_says_why_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    async with with_peers(monkeypatch, names="studio") as (served, machines, look):
        machines["studio"].offers(Offer(name="far", loaded=True))
        machines["studio"].does = "503"
        look()
        got = await served.client.chat("far")
        assert (got.status, got.error["message"]) == (503, "studio says 503")
        machines["studio"].does = "hangs up"
        got = await served.client.chat("far")
        assert (got.status, got.error["code"]) == (502, "peer_failed")
        assert got.error["message"].startswith("The peer studio failed a request for far: it hung up before the first")


async def test_a_model_of_a_peer_that_is_down_is_not_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    async with with_peers(monkeypatch, names="studio") as (served, machines, look):
        peer = machines["studio"].peer
        machines["studio"].offers(Offer(name="far", loaded=True))
        peer.state, peer.reason = PeerState.DOWN, "it refuses connections"
        look()
        for name in ("far", "studio/far"):
            got = await served.client.chat(name)
            assert (got.status, got.error["code"]) == (503, "peer_unavailable")
            assert "studio has been down for" in got.error["message"]
            assert "it refuses connections" in got.error["message"]
            assert 1 <= int(got.headers["retry-after"]) <= 60
        machines["studio"].offers()
        look()
        assert (await served.client.chat("studio/far")).status == 503
        assert (await served.client.chat("far")).status == 404


async def test_a_stream_that_breaks_off_says_who_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    async with with_peers(monkeypatch) as (served, machines, look):
        for machine in machines.values():
            machine.offers(Offer(name="far", loaded=True))
            machine.does = "breaks off"
        look()
        async with served.client.stream("far") as pieces:
            got = b"".join([piece async for piece in pieces])
        for part in (b"The peer ", b"mid-answer", b"peer_failed"):
            assert part in got, got
        assert sum(len(machine.requests) for machine in machines.values()) == 1


async def test_a_client_that_leaves_takes_its_request_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    async with with_peers(monkeypatch, names="studio") as (served, machines, look):
        studio = machines["studio"]
        studio.offers(Offer(name="far", loaded=True))
        studio.does = "waits"
        look()
        with trio.move_on_after(30):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(served.client.chat, "far")
                while not studio.peer.ours["far"]:  # noqa: ASYNC110 -- a counter
                    await trio.sleep(0.001)
                while not studio.requests:  # noqa: ASYNC110
                    await trio.sleep(0.001)
                nursery.cancel_scope.cancel()
        with trio.fail_after(30):
            while studio.peer.ours["far"] or not studio.left:  # noqa: ASYNC110
                await trio.sleep(0.001)
        assert not studio.broke


@pytest.mark.parametrize("switches", [("--exit-after", 0), ("--die-before-first-byte", 1)])
async def test_an_engine_here_that_fails_sends_the_request_to_a_peer(
    monkeypatch: pytest.MonkeyPatch, switches: tuple[object, ...]
) -> None:
    """Be it while it is loaded, or before it has said a word."""
    async with with_peers(monkeypatch, fake("m", *switches), names="studio") as (served, machines, look):
        machines["studio"].offers(Offer(name="m", loaded=False, fits=False, load_seconds=100_000.0))
        look()
        got = await served.client.chat("m")
        assert (got.status, got.json["at"]) == (200, "studio")
        told = (await served.client.get("/memory/m")).json["backends"]
        assert [each["requests"] for each in told] == [1, 1]


async def test_while_llmsup_is_paused_peers_serve(monkeypatch: pytest.MonkeyPatch) -> None:
    """What waits for a load goes there at that moment; what nobody else has is refused as ever."""
    async with with_peers(monkeypatch, fake("m", "--never-ready"), fake("mine"), names="studio") as (
        served,
        machines,
        look,
    ):
        machines["studio"].offers(Offer(name="m", loaded=False, fits=False, load_seconds=100_000.0))
        look()
        async with trio.open_nursery() as nursery:
            waited: list[Got] = []

            async def ask() -> None:
                waited.append(await served.client.chat("m"))

            nursery.start_soon(ask)
            await served.until("m", lambda model: model.queue.waiting)
            assert (await served.client.post("/pause")).status == 200
        assert waited[0].json["at"] == "studio"
        assert (await served.client.chat("m")).json["at"] == "studio"
        got = await served.client.chat("mine")
        assert (got.status, got.error["code"]) == (503, "paused")


async def test_an_engine_here_that_nobody_else_can_replace_is_tried_anew(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    engine = fake("m", "--die-before-first-byte", 1, "--once-file", tmp_path / "once")
    async with with_peers(monkeypatch, engine, names="studio") as (served, machines, look):
        machines["studio"].offers(Offer(name="m", loaded=True))
        look()
        machines["studio"].peer.state = PeerState.DOWN
        assert (await served.client.chat("m")).status == 200
        assert served.model("m").crashes == 1


async def test_a_peer_that_is_not_woken_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    async with with_peers(
        monkeypatch, names="studio", config=Config(defaults=Settings(queue_timeout=Seconds(0.05)))
    ) as (
        served,
        machines,
        look,
    ):
        machines["studio"].offers(Offer(name="far"))
        machines["studio"].peer.state = PeerState.ASLEEP
        look()
        got = await served.client.chat("far")
        assert (got.status, got.error["code"]) == (504, "queue_timeout")
        assert "for the peer studio to wake" in got.error["message"]


async def test_a_sleeping_peer_is_waited_for_with_signs_of_life(monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server(loading_comments=Seconds(0.01))
    async with with_peers(monkeypatch, names="studio", server=server) as (served, machines, look):
        studio = machines["studio"]
        studio.offers(Offer(name="far", loaded=False))
        studio.peer.state = PeerState.ASLEEP
        look()
        got = b""
        async with served.client.stream("far") as pieces:
            async for piece in pieces:
                got += piece
                if got.count(b": waking studio") > 1:
                    studio.awake.set()
        assert got.endswith(STREAM)
        assert b": loading" not in got
