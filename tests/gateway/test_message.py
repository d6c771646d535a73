"""Which headers pass, and in which direction."""

from __future__ import annotations

import pytest

from llmsup.engines.http import Headers
from llmsup.gateway.message import RequestHead, for_client, for_engine

HOP_BY_HOP = b"""connection keep-alive proxy-authenticate proxy-authorization proxy-connection te trailer
    transfer-encoding upgrade""".split()


@pytest.mark.parametrize("name", HOP_BY_HOP)
def test_hop_by_hop_headers_stay_on_their_hop(name: bytes) -> None:
    """RFC 9110 §7.6.1, in both directions, and in an engine's spelling."""
    rest: Headers = [(b"accept", b"*/*")]
    assert for_engine([(name, b"x"), *rest]) == rest
    assert for_client([(name, b"x"), *rest]) == rest
    assert for_client([(name.title(), b"x"), *rest]) == rest


def test_headers_that_connection_names_stay_on_their_hop() -> None:
    """Any number of them, in any case, in any number of `Connection` headers."""
    headers: Headers = [
        (b"connection", b"close, X-One ,x-two"),
        (b"x-one", b"1"),
        (b"x-two", b"2"),
        (b"x-three", b"3"),
        (b"x-four", b"4"),
        (b"connection", b"x-three"),
    ]
    assert for_engine(headers) == [(b"x-four", b"4")]
    spelt = [(name.title(), value) for name, value in headers]
    assert for_client(spelt) == [(b"X-Four", b"4")]


@pytest.mark.parametrize(
    "name",
    [b"authorization", b"x-api-key", b"cookie", b"origin", b"referer", b"host", b"content-length", b"expect"],
)
def test_what_an_engine_never_sees(name: bytes) -> None:
    """Keys and cookies are not its business, origins are ours, and framing is done anew."""
    assert for_engine([(name, b"secret")]) == []


@pytest.mark.parametrize("name", [b"access-control-allow-origin", b"Access-Control-Allow-Credentials"])
def test_an_engine_does_not_say_who_may_read(name: bytes) -> None:
    """Its `Access-Control-Allow-Origin: *` would let in those that the request guard refuses."""
    assert for_client([(name, b"*")]) == []


def test_all_else_passes_untouched() -> None:
    """In order, with case, repetition and odd bytes; an engine's length and coding, too."""
    headers: Headers = [
        (b"content-type", b"application/json"),
        (b"x-thing", b"\xff"),
        (b"x-thing", b""),
        (b"accept-encoding", b"gzip"),
        (b"anthropic-version", b"2023-06-01"),
    ]
    assert for_engine(headers) == headers
    answer: Headers = [
        (b"Content-Length", b"5"),
        (b"Content-Encoding", b"gzip"),
        (b"Server", b"llama.cpp"),
        (b"Set-Cookie", b"a=b"),
        (b"X-Thing", b"\xff"),
    ]
    assert for_client(answer) == answer


def test_a_request_can_be_asked() -> None:
    """The first header and the first parameter of a name, decoded; "" where there is none."""
    head = RequestHead(
        method="GET",
        path="/",
        raw_path=b"/",
        query=b"model=pub%2Fqwen+4b&model=b&empty=&%C3%A9=1",
        headers=[(b"x-a", b"caf\xe9"), (b"x-a", b"second")],
    )
    assert (head.header(b"x-a"), head.header(b"x-b")) == ("café", "")
    assert [head.parameter(name) for name in ("model", "empty", "none", "é")] == ["pub/qwen 4b", "", "", "1"]
