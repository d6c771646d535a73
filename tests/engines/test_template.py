"""A head that is like the last one on its connection isn't parsed again; nobody may notice."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from llmsup.engines.response import Response
from llmsup.engines.template import LONGEST
from llmsup.errors import BadRequest, EngineBadAnswer
from llmsup.gateway.message import RequestHead, content_type, for_client, reply_again
from llmsup.web.head import HeadReader
from llmsup.web.recollection import Recollection

LENGTHS = st.sampled_from(
    [b"0", b"5", b"05", b"12", b"999999999999999", b"9" * 16, b"9" * 30, b"", b"-5", b"+5", b"5 ", b"0x5", b"5,5"]
)

LINES = [
    b"content-length: %b\r\n",
    b"Content-Length:%b\r\n",
    b"CONTENT-LENGTH: \t%b\r\n",
    b"x-content-length: %b\r\n",
    b"x: %b\r\ncontent-length: 3\r\n",
    b"x: y\r\n content-length: %b\r\n",
    b"content-length: %b\r\ncontent-length: 5\r\n",
    b"transfer-encoding: chunked\r\nx: %b\r\n",
    b"transfer-encoding: chunked\r\ncontent-length: %b\r\n",
    b"content-length: %b\r\nconnection: close\r\n",
    b"content-length: %b\r\nconnection: Content-Length\r\n",
    b"content-length: %b\n",
]
"""A few, so that the same one often comes twice in a row."""

BODIES = st.sampled_from([b"", b"hello", b"hello, world", b"hello\r\n\r\n", b"0\r\n\r\n", b"5\r\nhello\r\n0\r\n\r\n"])


async def nothing() -> AsyncIterator[bytes]:
    return
    yield b""


def outcome(read: Any, *data: Any) -> Any:
    try:
        return read(*data)
    except (BadRequest, EngineBadAnswer) as error:
        return type(error), str(error)


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    line = draw(st.sampled_from([b"POST /v1/embeddings HTTP/1.1\r\n", b"POST /a HTTP/1.1\r\n", b"GET /a HTTP/1.0\r\n"]))
    host = draw(st.sampled_from([b"host: a\r\n", b"host: b\r\n", b"", b"\r\nhost: a\r\n"]))
    return line + host + draw(st.sampled_from(LINES)) % draw(LENGTHS) + b"\r\n" + draw(BODIES)


@given(st.lists(requests(), min_size=2, max_size=6))
@example([b"POST /a HTTP/1.1\r\nhost: a\r\ncontent-length: %b\r\n\r\nhello" % n for n in (b"5", b"12", b"5\r\n x")])
def test_requests(sent: list[bytes]) -> None:
    recollection = Recollection()
    for data in sent:
        fresh, reader = HeadReader(), HeadReader()
        expected = outcome(fresh.feed, data)
        assert outcome(recollection.feed, reader, data) == expected
        if expected is not None and not isinstance(expected, tuple):
            assert recollection.rest == fresh.rest


def test_a_request_that_is_known_is_not_parsed_again() -> None:
    recollection, head = Recollection(), b"POST /a HTTP/1.1\r\nhost: a\r\ncontent-length: %d\r\n\r\n"
    for length in (5, 1234):
        reader = HeadReader()
        recollection.feed(reader, head % length + b"hello")
    assert not reader.used
    assert recollection.rest == b"hello"


def test_what_the_gateway_has_of_a_head_changes_with_it() -> None:
    recollection, data = Recollection(), b"POST /a HTTP/1.1\r\nhost: a\r\ncontent-length: %d\r\n\r\n"
    head = recollection.feed(HeadReader(), data % 5)
    assert head is not None
    request = head.request = RequestHead(method="POST", path="/a", raw_path=b"/a", headers=head.headers)
    assert request.header(b"content-length") == "5"
    again = recollection.feed(HeadReader(), data % 1234)
    assert again is not None
    assert again.request is not None
    assert (again.length, again.request.header(b"content-length")) == (1234, "1234")
    assert again.request.known is request.known


def test_a_long_head_is_not_kept() -> None:
    recollection = Recollection()
    for _ in range(2):
        reader = HeadReader()
        recollection.feed(reader, b"GET /a HTTP/1.1\r\nhost: a\r\nx: %b\r\n\r\n" % (b"x" * LONGEST))
        assert reader.used


@st.composite
def answers(draw: st.DrawFn) -> bytes:
    line = draw(st.sampled_from([b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 404 No\r\n", b"HTTP/1.1 204 -\r\n"]))
    before = draw(st.sampled_from([b"", b"", b"HTTP/1.1 103 Hints\r\ncontent-length: 5\r\n\r\n"]))
    return before + line + draw(st.sampled_from(LINES)) % draw(LENGTHS) + b"\r\n" + draw(BODIES)


def told(response: Response, method: str, data: bytes, cut: int) -> list[Any]:
    response.begin(method)
    for piece in (data[:cut], data[cut:]):
        if piece and not response.complete:
            response.feed(piece)
    body = response.at_hand()
    return [response.head, body, response.complete, response.began, response.keep_alive]


@given(st.lists(st.tuples(answers(), st.sampled_from(["POST", "POST", "HEAD"]), st.integers(0, 90)), max_size=6))
def test_answers(sent: list[tuple[bytes, str, int]]) -> None:
    response = Response()
    for data, method, cut in sent:
        for at in (0, cut):
            assert outcome(told, response, method, data, at) == outcome(told, Response(), method, data, at)
            head = response.head
            if head is not None and head.again is not None:
                reply = reply_again(head, head.again, nothing())
                assert reply.headers == for_client(head.headers)
                assert reply.lines == b"".join(b"%b: %b\r\n" % header for header in reply.headers)
                assert reply.type == content_type(reply.headers)


@pytest.mark.parametrize("body", [b"", b"hello", b"x" * 1000])
def test_an_answer_that_is_known_is_not_parsed_again(body: bytes) -> None:
    response, answer = Response(), b"HTTP/1.1 200 OK\r\nx: y\r\nContent-Length: %d\r\n\r\n%b"
    told(response, "POST", answer % (3, b"abc"), 0)
    assert response._parser is not None
    assert told(response, "POST", answer % (len(body), body), 0) == told(
        Response(), "POST", answer % (len(body), body), 0
    )
    assert response._parser is None
