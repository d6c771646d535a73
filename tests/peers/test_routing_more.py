"""Requests for models that peers have: loops, other APIs, keys, and conversations that stay where their cache is."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Any

import pytest
import trio
from attrs import evolve
from fake_peers import STREAM, with_peers
from serving import fake, recorded
from trio.testing import wait_all_tasks_blocked

from llmsup.config.keys import digest_of
from llmsup.config.schema import Bridge, Config, KeySpec, ModelSpec, RequestEdits
from llmsup.engines.connection import Disconnected
from llmsup.engines.http import Headers
from llmsup.fleet.backend import Trail
from llmsup.gateway.exchange import Exchange, Order
from llmsup.gateway.message import Reply
from llmsup.peers.backend import NOBODYS
from llmsup.peers.lease import RoutedLease
from llmsup.peers.offer import Offer
from llmsup.peers.peer import PeerState
from llmsup.peers.via import MOST_HOPS, VIA
from llmsup.units import NEVER

CHAT = "/v1/chat/completions"


def body(model: str, *texts: str, **more: Any) -> dict[str, Any]:
    roles = ("user", "assistant")
    return {"model": model, "messages": [{"role": roles[at % 2], "content": t} for at, t in enumerate(texts)], **more}


async def test_what_has_come_through_here_before_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    async with with_peers(monkeypatch) as (served, machines, look):
        for machine in machines.values():
            machine.offers(Offer(name="far", loaded=True))
        look()
        ours = served.tree.serving.identity
        got = await served.client.ask("POST", CHAT, body("far"), [(VIA, f"{ours}, id-of-studio".encode())])
        assert (got.status, got.error["code"]) == (508, "loop")
        assert "through this llmsup, studio" in got.error["message"]
        assert not any(machine.requests for machine in machines.values())


async def test_it_is_not_sent_back_to_where_it_comes_from(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whom it has come through is told on, so that the next one knows, too."""
    async with with_peers(monkeypatch, fake("both")) as (served, machines, look):
        for machine in machines.values():
            machine.offers(Offer(name="far", loaded=True), Offer(name="both", loaded=True))
        look()
        ours = served.tree.serving.identity.encode()
        for _ in range(2):  # a head that comes again takes a shorter way
            got = await served.client.ask("POST", CHAT, body("far"), [(VIA, b"id-of-studio")])
            assert got.json["at"] == "box"
            assert machines["box"].header(VIA) == b"id-of-studio, " + ours
        got = await served.client.ask("POST", CHAT, body("studio/far"), [(VIA, b"id-of-studio")])
        assert (got.status, got.error["code"]) == (508, "loop")
        many = ", ".join(f"hop-{hop}" for hop in range(MOST_HOPS)).encode()
        got = await served.client.ask("POST", CHAT, body("far"), [(VIA, many)])
        assert (got.status, got.error["code"]) == (508, "loop")
        assert not machines["studio"].requests
        got = await served.client.ask("POST", CHAT, body("both"), [(VIA, many)])
        assert (got.status, "at" in got.json) == (200, False)


async def test_an_engine_here_is_not_told_of_the_way(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    mine = fake("mine", "--record", record := tmp_path / "record")
    async with with_peers(monkeypatch, mine, names="studio") as (served, _, _look):
        headers: Headers = [(VIA, b"id-of-studio"), (b"x-other", b"1")]
        assert (await served.client.ask("POST", CHAT, body("mine", "hi"), headers)).status == 200
        (asked,) = [each for each in recorded(record, "request") if each["path"] == CHAT]
        assert "x-other" in asked["headers"]
        assert VIA.decode() not in asked["headers"]


async def test_paths_and_queries_have_the_name_that_it_has_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """An engine's own paths are under /upstream at a llmsup or llama-swap, and the peer's own elsewhere."""
    async with with_peers(monkeypatch, fake("both", aliases=("there",)), names="studio") as (served, machines, look):
        studio = machines["studio"]
        studio.offers(Offer(name="org/far b", loaded=True))
        look()

        def asked() -> bytes:
            return studio.requests[-1][0].split(b" ")[1]

        assert (await served.client.get("/upstream/org/far%20b/props?x=1")).status == 200
        assert asked() == b"/upstream/org/far%20b/props?x=1"
        assert (await served.client.post("/upstream/studio/org/far%20b/v1/any", x=1)).status == 200
        assert (asked(), studio.bodies[-1]) == (b"/upstream/org/far%20b/v1/any", {"x": 1})
        assert (await served.client.get("/props?model=studio/org/far%20b&x=")).status == 200
        assert asked() == b"/props?model=org%2Ffar+b&x="
        assert (await served.client.post("/tokenize", model="studio/org/far b", content="x")).status == 200
        assert studio.bodies[-1] == {"model": "org/far b", "content": "x"}
        studio.peer.kind = "openai"
        assert (await served.client.get("/upstream/org/far%20b/props")).status == 200
        assert asked() == b"/props"
        studio.offers(Offer(name="org/far b", loaded=False))
        got = await served.client.get("/upstream/org/far%20b/props")
        assert (got.status, got.error["code"]) == (503, "model_not_loaded")
        assert "org/far b is at studio, and not loaded, as far as is known." in got.error["message"]
        got = await served.client.chat("nix")  # `studio/NAME` isn't listed
        assert "There are: 'both', 'org/far b', 'there' and 1 more" in got.error["message"]


async def test_forms_have_it_too(monkeypatch: pytest.MonkeyPatch) -> None:
    async with with_peers(monkeypatch, names="studio") as (served, machines, look):
        machines["studio"].offers(Offer(name="whisper", loaded=True))
        look()
        form = (
            b'--xx\r\nContent-Disposition: form-data; name="model"\r\n\r\nstudio/whisper\r\n'
            b'--xx\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\nRIFF\r\n--xx--\r\n'
        )
        headers: Headers = [(b"content-type", b"multipart/form-data; boundary=xx")]
        got = await served.client.ask("POST", "/v1/audio/transcriptions", form, headers)
        assert got.json["at"] == "studio"
        assert machines["studio"].requests[-1][1] == form.replace(b"studio/whisper", b"whisper")


@pytest.mark.parametrize(
    ("path", "target"),
    [
        ("/api/chat", b"/v1/chat/completions"),
        ("/api/v1/chat", b"/v1/chat/completions"),
        ("/api/v0/chat/completions", b"/v1/chat/completions"),
        ("/v1/messages", b"/v1/messages"),
    ],
)
async def test_other_apis_are_translated_for_it(monkeypatch: pytest.MonkeyPatch, path: str, target: bytes) -> None:
    async with with_peers(monkeypatch, names="studio") as (served, machines, look):
        studio = machines["studio"]
        studio.offers(Offer(name="far", loaded=True))
        look()
        more = {"input": "hi"} if path == "/api/v1/chat" else {"messages": [{"role": "user", "content": "hi"}]}
        got = await served.client.post(path, model="far", stream=False, **more)
        assert got.status == 200, got.body
        assert b"studio" in got.body
        assert studio.requests[-1][0].split(b" ")[1] == target
        assert studio.bodies[-1]["model"] == "far"
        studio.does = "503"
        got = await served.client.post(path, model="far", stream=False, **more)
        assert got.status == 503
        assert b"studio says 503" in got.body


async def test_keys_are_for_names(monkeypatch: pytest.MonkeyPatch) -> None:
    def key(name: str, *models: str) -> KeySpec:
        return KeySpec(name=name, hash=f"sha256:{digest_of(name).hex()}", models=models)

    keys = (key("bare", "far"), key("studios", "studio/*"), key("none", "mine"))
    config = Config(models={"mine": fake("mine")}, bridge=Bridge(every=NEVER), keys={each.name: each for each in keys})
    async with with_peers(monkeypatch, config=config, names="studio") as (served, machines, look):
        machines["studio"].offers(Offer(name="far", loaded=True))
        look()
        for who, name, status in [
            ("bare", "far", 200),
            ("bare", "studio/far", 404),
            ("studios", "studio/far", 200),
            ("studios", "far", 404),
            ("none", "far", 404),
        ]:
            got = await served.client.ask("POST", CHAT, body(name), [(b"authorization", b"Bearer " + who.encode())])
            assert got.status == status, (who, name)


async def test_a_conversation_stays_where_its_prompt_cache_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chance decides between equals: none of many conversations would stay by it. A new one is not drawn after it."""
    async with with_peers(monkeypatch) as (served, machines, look):
        for machine in machines.values():
            machine.offers(Offer(name="far", loaded=True, busy=0, slots=8))
        look()
        first: set[str] = set()
        for number in range(8):
            texts = [f"conversation {number} " * 500]
            got = await served.client.ask("POST", CHAT, body("far", *texts))
            at = got.json["at"]
            first.add(at)
            for turn in range(3):
                texts += [f"answer {turn}", f"question {turn}"]
                assert (await served.client.ask("POST", CHAT, body("far", *texts))).json["at"] == at
        assert len(first) == 2
        # Nor does it, where its server is gone.
        machines[at].peer.state = PeerState.DOWN
        assert (await served.client.ask("POST", CHAT, body("far", *texts, "a", "b"))).json["at"] != at


async def test_a_reload_that_brings_a_model_here_takes_its_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    mine = fake("mine")
    now = Config(models={"mine": mine}, bridge=Bridge(every=NEVER))
    configs = [now]
    async with with_peers(monkeypatch, config=now, reread=lambda: configs[-1], names="studio") as (
        served,
        machines,
        look,
    ):
        machines["studio"].offers(Offer(name="far", loaded=False, load_seconds=900.0))
        look()
        assert (await served.client.chat("far")).json["at"] == "studio"
        configs.append(evolve(now, models={"mine": mine, "far": fake("far")}))
        assert (await served.client.post("/reload-config")).json["added"] == ["far"]
        with trio.fail_after(30):
            await served.fleet.until(lambda: "far" in served.fleet.shared)
        machines["studio"].peer.state = PeerState.DOWN
        assert "at" not in (await served.client.chat("far")).json
        configs.append(now)
        assert (await served.client.post("/reload-config")).json["removed"] == ["far"]
        machines["studio"].peer.state = PeerState.UP
        assert (await served.client.chat("studio/far")).json["at"] == "studio"


async def test_right_after_the_start_unknown_names_wait_for_peers_to_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    async with with_peers(monkeypatch, fake("mine"), names="studio") as (served, machines, look):
        machines["studio"].peer.state = PeerState.UNKNOWN
        look()
        assert (await served.client.chat("mine")).status == 200
        got: list[int] = []

        async def ask(path: str) -> None:
            got.append((await served.client.post(path, model="far", messages=[])).status)

        async with trio.open_nursery() as nursery:
            for path in (CHAT, "/upstream/far/v1/chat/completions"):
                nursery.start_soon(ask, path)
            while not served.tree.serving.awaited:  # noqa: ASYNC110 -- until somebody waits for it
                await trio.sleep(0.001)
            machines["studio"].peer.state = PeerState.UP
            machines["studio"].offers(Offer(name="far", loaded=True))
            look()
        assert got == [200, 200]


async def test_a_whole_answer_that_breaks_off_is_not_passed_off_as_one(monkeypatch: pytest.MonkeyPatch) -> None:
    async with with_peers(monkeypatch, names="studio") as (served, machines, look):
        machines["studio"].offers(Offer(name="far", loaded=True))
        machines["studio"].does = "breaks off"
        look()
        with pytest.raises(Disconnected):
            await served.client.chat("far")
        assert machines["studio"].broke == ["it hung up mid-answer"]


async def test_peer_and_name_always_means_that_peers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also if another one has a model that is called so."""
    async with with_peers(monkeypatch) as (served, machines, look):
        machines["studio"].offers(Offer(name="far", loaded=True))
        machines["box"].offers(Offer(name="studio/far", loaded=True))
        look()
        assert (await served.client.chat("studio/far")).json["at"] == "studio"
        assert (await served.client.chat("box/studio/far")).json["at"] == "box"
        assert list(served.fleet.elsewhere) == ["far"]


async def test_a_table_can_be_for_a_model_that_only_peers_have(monkeypatch: pytest.MonkeyPatch) -> None:
    """It has no engine here, which is no reason to refuse it, nor one to tell of where peers don't answer."""
    table = ModelSpec(name="far", aliases=("gpt-4o",), request=RequestEdits(set={"top_k": 7}))
    async with with_peers(monkeypatch, table, names="studio") as (served, machines, look):
        machines["studio"].offers(Offer(name="far", loaded=True))
        look()
        assert (await served.client.chat("gpt-4o")).json["at"] == "studio"
        assert machines["studio"].bodies[-1]["top_k"] == 7
        machines["studio"].peer.state, machines["studio"].peer.reason = PeerState.DOWN, "its cable is out"
        got = await served.client.chat("gpt-4o")
        assert (got.status, got.error["code"]) == (503, "peer_unavailable")
        assert "its cable is out" in got.error["message"]


async def test_requests_to_peers_leave_nothing_to_the_garbage_collector(monkeypatch: pytest.MonkeyPatch) -> None:
    async with with_peers(monkeypatch) as (served, machines, look):
        for machine in machines.values():
            machine.offers(Offer(name="far", loaded=True))
        look()
        text = "a conversation that is followed " * 100
        gc.collect()
        gc.disable()
        try:
            for _ in range(3):
                assert (await served.client.ask("POST", CHAT, body("far", text))).status == 200
                async with served.client.stream("far") as pieces:
                    assert b"".join([piece async for piece in pieces]) == STREAM
            await wait_all_tasks_blocked(0.01)
            left = (Exchange, Order, Reply, RoutedLease, Trail)
            assert not [each for each in gc.get_objects() if isinstance(each, left) and each is not NOBODYS]
        finally:
            gc.enable()


async def test_what_many_conversations_begin_with_does_not_draw_them_all_to_one_server(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each server that has served one has the long system prompt in its cache, not only the last of them."""
    async with with_peers(monkeypatch) as (served, machines, look):
        for machine in machines.values():
            machine.offers(Offer(name="far", loaded=True, busy=0, slots=8))
        look()
        system = {"role": "system", "content": "You are an agent, and these are your tools. " * 2000}

        async def ask(name: str, text: str) -> str:
            asked = body(name, text * 20)
            asked["messages"].insert(0, system)
            got = await served.client.ask("POST", CHAT, asked)
            return str(got.json["at"])

        machines["box"].peer.state = PeerState.DOWN
        assert await ask("far", "first ") == "studio"
        machines["box"].peer.state, machines["studio"].peer.state = PeerState.UP, PeerState.DOWN
        assert await ask("far", "second ") == "box"
        machines["studio"].peer.state = PeerState.UP
        assert {await ask("far", f"number {number} ") for number in range(30)} == {"studio", "box"}


async def test_a_peer_that_is_about_to_tell_again_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """As after a change of its key; what it has is still known."""
    async with with_peers(monkeypatch, names="studio") as (served, machines, look):
        studio = machines["studio"]
        studio.offers(Offer(name="far"))
        studio.peer.state = PeerState.UNKNOWN
        look()
        async with trio.open_nursery() as nursery:

            async def ask() -> None:
                assert (await served.client.chat("far")).json["at"] == "studio"

            nursery.start_soon(ask)
            while not studio.peer.ours["far"]:  # noqa: ASYNC110 -- a counter
                await trio.sleep(0.001)
            assert not studio.requests
            studio.awake.set()
