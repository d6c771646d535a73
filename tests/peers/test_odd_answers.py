"""What a peer answers with that is no answer: the peer is named, and another server is asked, if it can be."""

from __future__ import annotations

import pytest
from fake_peers import Machine, with_peers

from llmsup.peers.offer import Offer

REDIRECT = b"HTTP/1.1 307 Go\r\nLocation: http://10.0.0.9/there\r\ncontent-length: 0\r\n\r\n"
NO_HTTP = b"SSH-2.0-OpenSSH_9.6\r\n"
STREAM = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"
CHUNK = b'data: {"choices": [{"delta": {"content": "far"}, "finish_reason": null}]}\n\n'
LAST = b'data: {"choices": [{"delta": {}, "finish_reason": "stop"}]}\n\n'
USAGE = b'data: {"choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 2}}\n\n'


def offering(machines: dict[str, Machine]) -> None:
    for name, machine in machines.items():
        machine.offers(Offer(name="far", loaded=name == "studio", load_seconds=500.0))


@pytest.mark.parametrize(
    ("answer", "said"), [(REDIRECT, "it sends elsewhere, with status 307"), (NO_HTTP, "its answer is not HTTP")]
)
async def test_no_answer(monkeypatch: pytest.MonkeyPatch, answer: bytes, said: str) -> None:
    async with with_peers(monkeypatch) as (served, machines, look):
        offering(machines)
        look()
        machines["studio"].does = answer
        assert (await served.client.chat("far")).json["at"] == "box"
        assert len(machines["studio"].requests) == len(machines["studio"].broke) == 1
        machines["box"].does = answer
        for machine in machines.values():
            machine.peer.health = type(machine.peer.health)(proven=True)
        got = await served.client.chat("far")
        assert (got.status, got.error["code"]) == (502, "peer_failed")
        assert got.error["message"].startswith("The peer ")
        assert f"failed a request for far: {said}" in got.error["message"]
        assert "location" not in got.headers
        assert "10.0.0.9" not in got.error["message"]
        if answer is REDIRECT:
            assert machines["studio"].broke[-1].startswith("it sends elsewhere (http://10.0.0.9/there)")


async def told(monkeypatch: pytest.MonkeyPatch, answer: bytes, then: bytes = b"") -> tuple[bytes, list[str]]:
    """The stream that a client gets, and what its peer is blamed for."""
    async with with_peers(monkeypatch, names="studio") as (served, machines, look):
        offering(machines)
        look()
        machines["studio"].does, machines["studio"].then = answer, then
        got = b""
        async with served.client.stream("far") as pieces:
            async for piece in pieces:
                got += piece
                machines["studio"].goes_on.set()
        return got, machines["studio"].broke


async def test_a_stream_that_goes_on_as_no_http(monkeypatch: pytest.MonkeyPatch) -> None:
    head = STREAM + b"transfer-encoding: chunked\r\n\r\n"
    got, broke = await told(monkeypatch, head + b"%x\r\n%b\r\n" % (len(CHUNK), CHUNK), b"nothing\r\n")
    assert CHUNK in got
    assert b"The peer studio failed a request for far: its answer is not HTTP" in got
    assert len(broke) == 1


async def test_a_stream_without_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """The connection ends as it should, and only what is missing shows that something behind it has died."""
    got, broke = await told(monkeypatch, STREAM + b"\r\n" + CHUNK)
    assert got.startswith(CHUNK)
    assert b"The peer studio failed a request for far: it closed its connection before the end of a stream" in got
    assert b"peer_failed" in got
    assert len(broke) == 1


@pytest.mark.parametrize("rest", [b"data: [DONE]\n\n", LAST, LAST + USAGE, b"event: other\ndata: {}\n\n"])
async def test_streams_that_are_whole(monkeypatch: pytest.MonkeyPatch, rest: bytes) -> None:
    """Some servers leave `[DONE]` out; and what isn't OpenAI's has an end of its own."""
    sent = rest if rest.startswith(b"event") else CHUNK + rest
    assert await told(monkeypatch, STREAM + b"\r\n" + sent) == (sent, [])
