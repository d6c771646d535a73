"""The seam for APIs: a made-up one that translates, from the client to a fake engine and back, on both roads.

It asks in its own words, gets lines of JSON out of an engine's events, and has its own errors: all that Ollama's API
will want. It stands here as it would in `gateway/api`.
"""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio
from attrs import evolve
from serving import PATIENCE, Got, fake, recorded, serving, until_recorded

from llmsup.config.schema import RequestEdits, Server
from llmsup.errors import BadRequest, EngineBadAnswer, Error
from llmsup.fleet.model.states import State
from llmsup.gateway.api import ROUTES as API_ROUTES
from llmsup.gateway.api.dialect import Asked, Dialect, Route, Translation
from llmsup.gateway.body import JsonBody
from llmsup.gateway.message import Reply, whole_reply
from llmsup.gateway.routes import Routes
from llmsup.gateway.sse import Events
from llmsup.gateway.translated import TranslatedBody, put
from llmsup.units import Seconds


class Parrot(Dialect):
    """The parrots' API: lines of JSON, and nothing that a client would ignore."""

    under = ("/parrot",)
    gives_signs = False

    def error(self, error: Error) -> dict[str, object]:
        return {"squawk": str(error), "why": error.code}

    def error_event(self, error: Error) -> bytes:
        return msgspec.json.encode(self.error(error)) + b"\n"


class Repeat(Translation):
    """An answer of theirs: each word as a line, and then how many there were."""

    def __init__(self, body: JsonBody) -> None:
        self._who = body.get("parrot")
        self._count = 0

    def event(self, data: bytes) -> bytes:
        self._count += 1
        word = json.loads(data)["choices"][0]["delta"]["content"]
        return json.dumps({"parrot": self._who, "word": word}).encode() + b"\n"

    def end(self) -> bytes:
        return json.dumps({"parrot": self._who, "words": self._count}).encode() + b"\n"

    def whole(self, body: bytes) -> bytes:
        message = json.loads(body)["choices"][0]["message"]
        return json.dumps({"parrot": self._who, "says": message["content"]}).encode()

    def refusal(self, status: int, body: bytes) -> bytes:
        return json.dumps({"squawk": json.loads(body)["error"]["message"], "why": status}).encode()


def to_engine(body: JsonBody) -> JsonBody | Reply:
    """Their request in OpenAI's words. What may be large is passed on as it lies; where there is nothing to hear, all
    that is wanted is a parrot that is awake.
    """
    if body.raw("hear") == b'""':
        return whole_reply(200, [(b"content-type", b"application/x-ndjson")], b'{"awake": true}\n')
    said = body.raw("hear")
    if said is None:
        raise BadRequest("A parrot must hear something.", param="hear")
    members: dict[str, Any] = {"messages": b'[{"role":"user","content":%s}]' % bytes(said)}
    members["stream"] = b"true" if streams(body) else b"false"
    if body.sets("mood"):
        members["temperature"] = msgspec.json.encode(body.get("mood"))
    return JsonBody.of(members)


def streams(body: JsonBody) -> bool:
    """Unless it is told not to, it does."""
    return body.get("quiet") is not True


async def flock(asked: Asked) -> Reply:
    """Who is there, which no engine has to be asked for."""
    listed = {"parrots": sorted(asked.fleet.models), "like": asked.head.parameter("like")}
    return whole_reply(200, [(b"content-type", b"application/json")], json.dumps(listed).encode())


PARROT = Parrot()
CHATTY = Dialect()
ROUTES = Routes(
    (
        *API_ROUTES,
        Route(
            dialect=PARROT,
            path="/parrot/talk",
            target="/v1/chat/completions",
            samples=True,
            streams=streams,
            request=to_engine,
            answer=Repeat,
        ),
        Route(
            dialect=PARROT, path="/parrot/wrong", target="/nowhere", streams=streams, request=to_engine, answer=Repeat
        ),
        Route(dialect=PARROT, path="/parrot/mute", target="/v1/completions", request=to_engine, answer=Repeat),
        Route(
            dialect=CHATTY,
            path="/chatty/talk",
            target="/v1/chat/completions",
            streams=streams,
            request=to_engine,
            answer=Repeat,
        ),
        Route(dialect=PARROT, path="/parrot/flock", methods=frozenset(("GET", "POST")), here=flock),
    )
)


def lines(got: Got) -> list[Any]:
    """What a stream of theirs says."""
    assert got.body.endswith(b"\n")
    return [json.loads(line) for line in got.body.splitlines()]


async def test_a_stream_is_translated_event_by_event(tmp_path: Path) -> None:
    """The engine gets its own words, with the model's sampling and what the config sets, and so does the client."""
    record = tmp_path / "record"
    spec = fake("m", "--record", record, "--tokens", 3, presets={"wild": {"temperature": 2, "top_k": 1}})
    spec = evolve(spec, request=RequestEdits(set={"user": "polly"}))
    async with serving(spec, routes=ROUTES) as served:
        body = {"model": "m:wild", "hear": "ahoy", "mood": 0.5, "parrot": "Polly"}
        headers = [(b"accept-encoding", b"gzip"), (b"x-session", b"7")]
        got = await served.client.ask("POST", "/parrot/talk?x=1", body, headers)
    assert (got.status, got.headers["content-type"]) == (200, "application/x-ndjson")
    assert got.headers["x-accel-buffering"] == "no"
    words = [{"parrot": "Polly", "word": f"token{number} "} for number in range(3)]
    assert lines(got) == [*words, {"parrot": "Polly", "words": 3}]
    (asked,) = (entry for entry in recorded(record, "request") if entry["method"] == "POST")
    assert asked["path"] == "/v1/chat/completions?x=1"
    assert asked["headers"]["x-session"] == "7"
    assert "accept-encoding" not in asked["headers"]  # packed, the answer could not be read
    assert asked["body"] == {
        "messages": [{"role": "user", "content": "ahoy"}],
        "stream": True,
        "temperature": 0.5,
        "top_k": 1,
        "user": "polly",
    }


async def test_an_answer_that_is_no_stream_is_translated_whole() -> None:
    async with serving(fake("m", "--tokens", 2), routes=ROUTES) as served:
        got = await served.client.post("/parrot/talk", model="m", hear="ahoy", quiet=True)
    assert (got.status, got.headers["content-type"]) == (200, "application/json")
    assert got.json == {"parrot": None, "says": "token0 token1 "}
    assert int(got.headers["content-length"]) == len(got.body)


async def test_every_error_is_in_its_words() -> None:
    """Of ours before the engine is asked, of paths and methods, of the engine's own, and where it makes no sense."""
    async with serving(fake("m"), server=Server(api_keys=("k",)), routes=ROUTES) as served:
        key = [(b"authorization", b"Bearer k")]

        async def squawk(method: str, path: str, body: Any = None, *, known: bool = True) -> tuple[int, Any]:
            got = await served.client.ask(method, path, body, key if known else None)
            assert got.headers["content-type"] == "application/json"
            return got.status, got.json["why"]

        talk = {"model": "m", "hear": "ahoy"}
        assert await squawk("POST", "/parrot/talk", talk, known=False) == (401, "invalid_api_key")
        assert await squawk("GET", "/parrot/other", known=False) == (401, "invalid_api_key")
        assert await squawk("POST", "/parrot/talk", {**talk, "model": "x"}) == (404, "model_not_found")
        assert await squawk("POST", "/parrot/talk", b"{") == (400, "invalid_json")
        assert await squawk("POST", "/parrot/talk", {"model": "m"}) == (400, "invalid_request")
        assert served.model("m").state is State.UNLOADED
        assert await squawk("GET", "/parrot/talk") == (405, "method_not_allowed")
        assert await squawk("POST", "/parrot/walk", talk) == (404, "not_found")
        assert await squawk("POST", "/parrot/wrong", talk) == (404, 404)
        assert await squawk("POST", "/parrot/mute", {**talk, "quiet": True}) == (502, "engine_bad_answer")


async def test_a_stream_that_breaks_says_so_in_its_words(caplog: pytest.LogCaptureFixture) -> None:
    """And the log doesn't take it for a whole one."""
    caplog.set_level(logging.INFO)
    async with serving(fake("m", "--die-after-chunks", 2), routes=ROUTES) as served:
        got = await served.client.post("/parrot/talk", model="m", hear="ahoy")
        *words, last = lines(got)
        assert [word["word"] for word in words] == ["token0 ", "token1 "]
        assert last["why"] == "engine_died"
    assert "/parrot/talk m: 200 cut short (engine_died) in" in caplog.text


async def test_a_stream_that_makes_no_sense_says_so_in_its_words(caplog: pytest.LogCaptureFixture) -> None:
    """The engine's events are another API's. That the engine has said all of it makes no whole answer of it."""
    caplog.set_level(logging.INFO)
    async with serving(fake("m"), routes=ROUTES) as served:
        got = await served.client.post("/parrot/mute", model="m", hear="ahoy")
        assert got.status == 200
        assert [line["why"] for line in lines(got)] == ["engine_bad_answer"]
    assert "/parrot/mute m: 200 cut short (engine_bad_answer) in" in caplog.text


async def test_a_stream_that_began_before_its_model_failed_is_told_from_a_whole_one(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    spec, server = fake("m", "--load-time", 0.5, "--exit-after", 0.3), Server(loading_comments=Seconds(0.05))
    async with serving(spec, server=server, routes=ROUTES) as served:
        got = await served.client.post("/chatty/talk", model="m", hear="ahoy")
        assert (got.status, b"model_failed" in got.body) == (200, True)
    assert "/chatty/talk m: 200 cut short (model_failed) in" in caplog.text


async def test_an_api_without_signs_of_life_waits_for_its_model() -> None:
    """Its stream has no word that clients ignore; so the answer's head comes when the model is there, or an error."""
    server = Server(loading_comments=Seconds(0.05))
    async with serving(
        fake("m", "--load-time", 0.5), fake("broken", "--exit-after", 0), server=server, routes=ROUTES
    ) as served:
        got = await served.client.post("/parrot/talk", model="m", hear="ahoy")
        assert lines(got)[0] == {"parrot": None, "word": "token0 "}
        got = await served.client.post("/parrot/talk", model="broken", hear="ahoy")
        assert (got.status, got.json["why"]) == (503, "model_failed")


async def test_a_translated_stream_may_begin_with_signs_of_life() -> None:
    """Where an API has some."""
    server = Server(loading_comments=Seconds(0.05))
    async with serving(fake("m", "--load-time", 0.5, "--tokens", 1), server=server, routes=ROUTES) as served:
        got = await served.client.post("/chatty/talk", model="m", hear="ahoy")
    assert got.headers["content-type"] == "text/event-stream"
    *signs, word, end = got.body.splitlines()
    assert signs[0].startswith(b": loading m")
    assert (json.loads(word)["word"], json.loads(end)["words"]) == ("token0 ", 1)


async def test_pieces_come_as_they_are_made_and_who_leaves_frees_the_engine(tmp_path: Path) -> None:
    """One in, one out: all of them together would take the engine longer than a test may."""
    record = tmp_path / "record"
    async with serving(fake("m", "--tokens", 1000, "--tps", 20, "--record", record), routes=ROUTES) as served:
        with trio.fail_after(PATIENCE):
            answer = await served.client.send("POST", "/parrot/talk", {"model": "m", "hear": "ahoy"})
            assert json.loads((await answer.body()).splitlines()[0])["word"] == "token0 "
            assert served.model("m").queue.in_flight == 1
            await answer.close()
            await until_recorded(record, "client_left")
            await served.until("m", lambda model: not model.queue.in_flight)


async def test_what_needs_no_engine_is_answered_without_one() -> None:
    async with serving(fake("b"), fake("a"), routes=ROUTES) as served:
        for method in ("GET", "POST"):
            got = await served.client.ask(method, "/parrot/flock?like=b")
            assert (got.status, got.json) == (200, {"parrots": ["a", "b"], "like": "b"})
        assert served.fleet.running() == []
        got = await served.client.ask("POST", "/parrot/flock", b"[]")
        assert (got.status, got.json["why"]) == (400, "invalid_json")


async def test_a_request_may_only_want_the_model_loaded(tmp_path: Path) -> None:
    """Its answer comes when the model is there, and the engine isn't asked; that is a use as any other."""
    record, server = tmp_path / "record", Server(loading_comments=Seconds(0.05))
    specs = [fake("m", "--record", record), fake("slow", "--load-time", 0.5), fake("broken", "--exit-after", 0)]
    async with serving(*specs, server=server, routes=ROUTES) as served:
        got = await served.client.post("/parrot/talk", model="m", hear="")
        assert (got.status, got.json) == (200, {"awake": True})
        assert served.model("m").state is State.READY
        await served.until("m", lambda model: model.queue.last_used)
        assert {entry["method"] for entry in recorded(record, "request")} == {"GET"}
        got = await served.client.post("/parrot/talk", model="broken", hear="")
        assert (got.status, got.json["why"]) == (503, "model_failed")
        got = await served.client.post("/chatty/talk", model="slow", hear="")
        assert got.body.startswith(b": loading slow")
        assert got.body.endswith(b'{"awake": true}\n')


async def test_a_translated_answer_is_whole_when_all_has_been_said_in_its_words() -> None:
    """Not when the engine has said all. Who leaves then has lost nothing, so the log must know."""

    async def engine() -> AsyncGenerator[bytes, None]:
        yield b'data: {"choices": [{"delta": {"content": "a"}}]}\n\ndata: [DONE]\n\n'

    def broken(error: Error) -> bytes:
        raise AssertionError(error)

    body = TranslatedBody(engine(), Repeat(JsonBody(b"{}")), broken)
    said = [(json.loads(piece).get("words"), body.whole) async for piece in body]
    assert said == [(None, False), (1, True)]


# Taking a stream apart...

STREAM = (
    b': hi\n\ndata: {"a":1}\n\nevent: x\ndata:two\ndata: lines\n\r\n\r\ndata: \r\n\r\ndata: [DONE]\r\n\r\ndata: cut'
)
FOUND = [b'{"a":1}', b"two\nlines", b"[DONE]"]


@pytest.mark.parametrize("size", range(1, len(STREAM) + 1))
def test_a_stream_is_taken_apart_however_it_comes(size: int) -> None:
    """Comments, names and empty data are nothing; line ends are of either kind; what has no end isn't there."""
    events = Events()
    pieces = [STREAM[at : at + size] for at in range(0, len(STREAM), size)]
    assert [data for piece in pieces for data in events.feed(piece)] == FOUND


def test_an_event_without_an_end_is_not_kept_for_ever() -> None:
    events = Events()
    for _ in range(16):
        assert events.feed(b"x" * 1024**2) == []
    with pytest.raises(EngineBadAnswer, match="has no end"):
        events.feed(b"x")


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"[]", b"null", b"{}", b'{"choices": []}', b'{"choices": [1]}', b"\xff"]
)
def test_an_answer_that_makes_no_sense_is_the_engines_fault(body: bytes) -> None:
    """Never a bug of ours."""
    for status in (200, 500):
        with pytest.raises(EngineBadAnswer, match="can't be put into the words"):
            put(Repeat(JsonBody(b"{}")), status, body)
