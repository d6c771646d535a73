"""An engine ends by itself: what it sent reaches the client all the same, and what is missing is told."""

from __future__ import annotations

import sys
from typing import Any

import pytest
import trio
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st
from serving import FAKE, PATIENCE, fake, serving

from llmsup.config.schema import ModelSpec
from llmsup.fleet.model.run import Run
from llmsup.gateway.ending import Ending

JSON = [(b"Content-Type", b"application/json")]
EVENTS = [(b"Content-Type", b"text/event-stream")]
CHUNKED = (b"Transfer-Encoding", b"chunked")


def on_a_port(spec: ModelSpec) -> ModelSpec:
    """The same engine, listening there instead."""
    return evolve(spec, command=(sys.executable, str(FAKE), "--port", "${PORT}", *spec.command[4:]))


@pytest.mark.slow
@pytest.mark.parametrize("place", [on_a_port, lambda spec: spec])
@pytest.mark.parametrize("framing", [(), ("--until-close",)])
async def test_a_whole_stream_is_whole(place: Any, framing: tuple[str, ...]) -> None:
    """4,000 chunks and the end, for one who begins to read when the engine is long gone."""
    spec = place(fake("m", "--tokens", 4000, "--exit-after-requests", 1, *framing))
    async with serving(spec) as served:
        async with served.client.stream("m") as pieces:
            with trio.move_on_after(3):  # it can't be gone yet where less than all fits into the system's buffers
                await served.model("m").until(lambda: served.model("m").crashes)
            text = b"".join([piece async for piece in pieces])
        assert text.count(b"data: ") == 4001
        assert text.endswith(b"data: [DONE]\n\n")


@pytest.mark.slow
@pytest.mark.parametrize("place", [on_a_port, lambda spec: spec])
@pytest.mark.parametrize("framing", [(), ("--until-close",)])
async def test_a_whole_answer_is_whole(place: Any, framing: tuple[str, ...]) -> None:
    """Two megabytes of JSON."""
    spec = place(fake("m", "--tokens", 180_000, "--exit-after-requests", 1, *framing))
    async with serving(spec) as served:
        answer = await served.client.send("POST", "/v1/chat/completions", {"model": "m", "messages": []})
        with trio.move_on_after(3):
            await served.model("m").until(lambda: served.model("m").crashes)
        parts = []
        with trio.fail_after(PATIENCE):
            while part := await answer.body():
                parts.append(part)
        await answer.close()
        assert len(b"".join(parts)) > 2_000_000
        assert b"".join(parts).endswith(b"}")


@pytest.mark.slow
async def test_all_that_came_and_then_the_error() -> None:
    """Every chunk that was sent, also to a reader who is late."""
    async with serving(fake("m", "--tokens", 4000, "--die-after-chunks", 3000)) as served:
        async with served.client.stream("m") as pieces:
            with trio.move_on_after(3):
                await served.model("m").until(lambda: served.model("m").crashes)
            events = b"".join([piece async for piece in pieces]).split(b"data: ")[1:]
        assert len(events) == 3001
        assert b"exited with code 4" in events[-1]


async def test_a_stream_that_was_cut_off_looks_whole_but_is_not() -> None:
    """Where only closing tells the end, whether the engine lives makes the difference."""
    async with serving(fake("m", "--until-close", "--die-after-chunks", 3, "--tokens", 10)) as served:
        async with served.client.stream("m") as pieces:
            events = b"".join([piece async for piece in pieces]).split(b"data: ")[1:]
        assert len(events) == 4
        assert b'"code":"engine_died"' in events[-1]
        assert b"exited with code 4" in events[-1]


async def test_a_stream_without_done_of_an_engine_that_lives_is_whole() -> None:
    """Not everybody speaks OpenAI's dialect to the end."""
    async with serving(fake("m", "--until-close", "--no-done", "--tokens", 3)) as served:
        async with served.client.stream("m") as pieces:
            text = b"".join([piece async for piece in pieces])
        assert text.count(b"data: ") == 3
        assert b"error" not in text
        assert served.model("m").crashes == 0


async def test_an_engine_that_says_nothing_more_gets_a_moment(autojump_clock: object) -> None:
    """No outcome and no answer: it counts as alive once the patience is over."""
    assert await Run().fate(5) is None
    assert trio.current_time() == pytest.approx(5, abs=0.1)


@pytest.mark.parametrize(
    ("headers", "body", "reached"),
    [
        (EVENTS, b"data: {}\n\ndata: [DONE]\n\n", True),
        (EVENTS, b"data: {}\r\n\r\ndata:[DONE]\r\n\r\n", True),
        (EVENTS, b'data: {}\n\ndata: "[DONE]"\n\n', False),
        (EVENTS, b"data: {}\n\n", False),
        (EVENTS, b"", False),
        (EVENTS, b'event: message_stop\ndata: {"type": "message_stop"}\n\n', True),
        (EVENTS, b'event: content_block_delta\ndata: {"text": "event: message_stop"}\n\n', False),
        ([*EVENTS, CHUNKED], b"data: [DONE]\n\n", True),
        (EVENTS, b"event: response.completed\ndata: {%s}\n\n" % (b"x" * 5000), True),
        (EVENTS, b"event:response.failed\r\ndata: {%s}\r\n\r\n" % (b"x" * 300), True),
        (EVENTS, b"event: response.incomplete\ndata: {%s}\n" % (b"x" * 300), False),
        (EVENTS, b"event: response.created\ndata: {}\n\n", False),
        (EVENTS, b'event: response.output_text.delta\ndata: {"delta": "event: response.completed\\n"}\n\n', False),
        (JSON, b'{"a": [1, "x"]}\n', True),
        (JSON, b'{"a": [1, "x"]', False),
        (JSON, b'{"a": [1, {"b": 2}', False),
        (JSON, b'{"a": "\xff"', False),
        (JSON, b"", False),
        ([*JSON, CHUNKED], b"{}", False),  # its framing tells
        ([(b"content-type", b"audio/wav")], b"RIFF", False),
    ],
)
def test_what_an_answer_says_of_its_end(headers: Any, body: bytes, reached: bool) -> None:
    """All APIs' last events, and JSON that can be read."""
    ending = Ending(headers)
    for at in range(0, len(body), 3):
        ending.saw(body[at : at + 3])
    assert ending.reached is reached


@given(st.recursive(st.none() | st.integers(-9, 9) | st.text(max_size=3), st.lists, max_leaves=5).map(repr), st.data())
def test_no_part_of_json_is_whole(text: str, data: st.DataObject) -> None:
    """Nothing that was cut off is taken for complete."""
    whole = '{"a": "' + text.replace('"', "'").replace("\\", "") + '", "b": [{"c": 1.5e3}, true]}'
    for cut, reached in ((len(whole), True), (data.draw(st.integers(1, len(whole) - 1)), False)):
        ending = Ending(JSON)
        ending.saw(whole[:cut].encode())
        assert ending.reached is reached
