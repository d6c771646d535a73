"""What the front takes for a request is one for h11, too, and the same one: method, target, headers, body, and what is
left over. What h11 takes and the front doesn't, is fine: it is stricter on purpose.
"""

from __future__ import annotations

import h11
import malformed
import pytest
from attrs import frozen
from hypothesis import example, given, settings
from hypothesis import strategies as st

from llmsup.engines.http import Headers
from llmsup.errors import BadRequest
from llmsup.web.framing import Chunked, Framing, Length
from llmsup.web.head import HeadReader


@frozen
class Understood:
    """One request."""

    method: bytes
    target: bytes
    headers: Headers
    body: bytes
    rest: bytes


def ours(pieces: list[bytes]) -> Understood | None:
    """What the front makes of it; None if it is refused, or isn't complete."""
    reader, head, framing, body, rest = HeadReader(), None, None, b"", b""
    try:
        for piece in filter(None, pieces):
            data = piece
            if head is None:
                head = reader.feed(data)
                if head is None:
                    continue
                data = reader.rest
                framing = chosen = Chunked() if head.length is None else Length(head.length)
                assert isinstance(chosen, Chunked | Length)
            assert framing is not None
            if framing.done:
                rest += data
            else:
                more, behind = feed(framing, data)
                body, rest = body + more, rest + behind
    except BadRequest:
        return None
    if head is None or framing is None or not framing.done:
        return None
    # h11 writes this value in lower case.
    headers = [(name, value.lower() if name == b"transfer-encoding" else value) for name, value in head.headers]
    return Understood(head.method.encode(), head.target, headers, body, rest)


def feed(framing: Framing, data: bytes) -> tuple[bytes, bytes]:
    return framing.feed(data) if data else (b"", b"")


def theirs(data: bytes) -> Understood | None:
    """What h11 makes of it."""
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=100_000)
    request: h11.Request | None = None
    body = b""
    try:
        connection.receive_data(data)
        while True:
            match connection.next_event():
                case h11.Request() as event:
                    request = event
                case h11.Data(data=more):
                    body += more
                case h11.EndOfMessage():
                    break
                case _:
                    return None
    except h11.RemoteProtocolError:
        return None
    assert request is not None
    rest = connection.trailing_data[0]
    return Understood(request.method, request.target, [(bytes(n), bytes(v)) for n, v in request.headers], body, rest)


NAMES = [b"Host", b"Content-Length", b"Transfer-Encoding", b"Connection", b"Expect", b"Upgrade", b"X", b"x-y", b"TE"]
VALUES = [b"localhost", b"0", b"3", b"5", b"chunked", b"close", b"100-continue", b"keep-alive, Upgrade", b"", b"a b"]
BODIES = [
    b"",
    b"abc",
    b"abcde",
    b"3\r\nabc\r\n0\r\n\r\n",
    b"0\r\n\r\n",
    b"1\r\na\r\n2\r\nbc\r\n00\r\n\r\n",
    b"A\r\n0123456789\r\n0\r\n\r\n",
]

usual = st.tuples(st.sampled_from(NAMES[3:]), st.sampled_from(VALUES))
header = (
    usual
    | usual
    | st.tuples(st.sampled_from(NAMES) | st.binary(max_size=4), st.sampled_from(VALUES) | st.binary(max_size=4))
)
line = st.sampled_from(
    [b"GET / HTTP/1.1", b"POST /a?b=c HTTP/1.1", b"POST /v1/x HTTP/1.0", b"OPTIONS * HTTP/1.1", b"PUT /a%20b HTTP/1.1"]
)
nearly = st.builds(
    lambda first, headers, host, body, behind: (
        first + b"\r\n" + (b"Host: x\r\n" if host else b"") + b"".join(n + b": " + v + b"\r\n" for n, v in headers)
    ) + b"\r\n" + body + behind,
    line, st.lists(header, max_size=4), st.booleans(), st.sampled_from(BODIES), st.binary(max_size=5),
)  # fmt: skip


@st.composite
def mangled(draw: st.DrawFn) -> bytes:
    """A request with a few bytes changed, put in, or taken out."""
    data = bytearray(draw(nearly | st.sampled_from([each for each in malformed.ALL if len(each) < 500])))
    odd = st.sampled_from(b"\r\n\t :;,0aA\x00\x0b\x7f\xff")
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(data)))
        data[at : at + draw(st.integers(0, 2))] = bytes(draw(st.lists(odd, max_size=2)))
    return bytes(data)


@pytest.mark.slow
@settings(max_examples=2000)
@given(mangled(), st.lists(st.integers(1, 30), max_size=20))
@example(
    b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\nGET /", [61, 1, 1, 1, 1, 1, 1]
)
def test_what_is_taken_is_what_h11_takes(data: bytes, cuts: list[int]) -> None:
    pieces, rest = [], data
    for cut in cuts:
        pieces.append(rest[:cut])
        rest = rest[cut:]
    understood = ours([*pieces, rest])
    assert understood == ours([data])  # however it comes
    if understood is None:
        return
    reference = theirs(data.lstrip(b"\r\n"))
    assert reference is not None
    assert understood == reference


@pytest.mark.slow
@settings(max_examples=500)
@given(st.lists(st.binary(min_size=1, max_size=40)), st.binary(max_size=9), st.data())
def test_chunks_come_out_as_they_went_in(chunks: list[bytes], behind: bytes, data: st.DataObject) -> None:
    stream = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n" + behind
    framing, body, rest = Chunked(), b"", b""
    while stream:
        cut = data.draw(st.integers(1, len(stream)))
        if framing.done:
            rest += stream[:cut]
        else:
            more, left = framing.feed(stream[:cut])
            body, rest = body + more, rest + left
        stream = stream[cut:]
    assert framing.done
    assert (body, rest) == (b"".join(chunks), behind)
