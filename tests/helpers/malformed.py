"""Requests that are none, or that could be read in two ways: each must be refused, on both roads alike.

Most are of the kinds that request smuggling is made of (RFC 9112, section 11; the tests of http-garden, h2spec's and
llhttp's own; Kettle, "HTTP desync attacks", 2019). `{}` in a target is where the request goes.
"""

from __future__ import annotations

from collections.abc import Iterator

CHAT = b"/v1/chat/completions"
HOST = b"Host: localhost\r\n"
BODY = b'{"model":"m"}'
LENGTH = b"Content-Length: 13\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"
CHUNKS = b'd\r\n{"model":"m"}\r\n0\r\n\r\n'


def post(headers: bytes, body: bytes = b"", line: bytes = b"POST " + CHAT + b" HTTP/1.1\r\n") -> bytes:
    """A request."""
    return line + headers + b"\r\n" + body


def lines() -> Iterator[bytes]:
    """Request lines that are none."""
    method, version = b"POST", b"HTTP/1.1"
    for line in (
        method + b"  " + CHAT + b" " + version,
        method + b" " + CHAT + b"  " + version,
        method + b"\t" + CHAT + b" " + version,
        method + b" " + CHAT + b"\t" + version,
        b" " + method + b" " + CHAT + b" " + version,
        method + b" " + CHAT + b" " + version + b" ",
        method + b" " + CHAT + b" " + version + b"\t",
        method + b" " + CHAT,
        method + b" " + CHAT + b" ",
        method + b" " + version,
        method,
        CHAT,
        b"",
        method + b"\x0b" + CHAT + b" " + version,
        method + b" " + CHAT + b"\x0c" + version,
        method + b"\xa0" + CHAT + b" " + version,
        method + b"\x00 " + CHAT + b" " + version,
        b"\x00" + method + b" " + CHAT + b" " + version,
        b"\xef\xbb\xbf" + method + b" " + CHAT + b" " + version,
        b"post " + CHAT + b" " + version,
        b"Post " + CHAT + b" " + version,
        b"PO ST " + CHAT + b" " + version,
        b"PO\x7fST " + CHAT + b" " + version,
        b"P\xc3\x96ST " + CHAT + b" " + version,
        b"(POST) " + CHAT + b" " + version,
        b"POST, " + CHAT + b" " + version,
        b"BREW " + CHAT + b" " + version,
        b"CONNECT localhost:80 " + version,
        b"CONNECT " + CHAT + b" " + version,
        b"PRI * HTTP/2.0",
        b"POST * HTTP/2.0",
    ):
        yield line + b"\r\n" + HOST + LENGTH + b"\r\n" + BODY
    for other in (
        *(
            b"HTTP/" + number
            for number in (b"0.9", b"1.2", b"1.9", b"2.0", b"3.0", b"1", b"11", b"1.10", b"01.1", b"1.01")
        ),
        *(b"HTTP/" + number for number in (b"1,1", b"1.1.1", b" 1.1", b"1. 1", b"-1.1", b"1.x", b"", b"one.one")),
        b"http/1.1",
        b"Http/1.1",
        b"HTTP 1.1",
        b"HTTP/1.1HTTP/1.1",
        b"HTTPS/1.1",
        b"RTSP/1.0",
        b"ICE/1.0",
        b"HTTP\\1.1",
        b"1.1",
    ):
        yield post(HOST + LENGTH, BODY, method + b" " + CHAT + b" " + other + b"\r\n")


def targets() -> Iterator[bytes]:
    """Targets that are none, or that a proxy would take."""
    for target in (
        b"http://localhost" + CHAT,
        b"http://evil.com" + CHAT,
        b"HTTP://localhost" + CHAT,
        b"https://localhost" + CHAT,
        b"http:" + CHAT,
        b"ftp://localhost/x",
        b"file:///etc/passwd",
        b"javascript:alert(1)",
        b"localhost:80",
        b"localhost",
        b"v1/chat/completions",
        b"?x=1",
        b"#x",
        b"\\v1\\chat",
        b"**",
        b"*/x",
        CHAT + b"\x00",
        CHAT + b"\x01",
        CHAT + b"\x7f",
        CHAT + b"\x80",
        CHAT + b"\xff",
        CHAT + b"\xc3\xa4",
        CHAT + b"?x=\x00",
        CHAT + b"?x=\xff",
        CHAT + b"\rx",
        CHAT + b"\nx",
        CHAT + b"?" + b"x" * 9000,
        b"/" + b"x" * 9000,
    ):
        yield post(HOST + LENGTH, BODY, b"POST " + target + b" HTTP/1.1\r\n")


def headers() -> Iterator[bytes]:
    """Headers that are none."""
    for bad in (
        b"X : y\r\n",
        b"X\t: y\r\n",
        b" X: y\r\n",
        b"\tX: y\r\n",
        b"X: y\r\n z\r\n",
        b"X: y\r\n\tz\r\n",
        b"X: y\r\n \r\n",
        b"X\r\n: y\r\n",
        b": y\r\n",
        b":\r\n",
        b"X\r\n",
        b"X y\r\n",
        b"X Y: z\r\n",
        b"X\x00: y\r\n",
        b"X\x01: y\r\n",
        b"X\x7f: y\r\n",
        b"X\x80: y\r\n",
        b"X\xff: y\r\n",
        b"\xc3\x84: y\r\n",
        *(b"X" + bytes((sign,)) + b"Y: z\r\n" for sign in b'()<>@,;\\"/[]?={}'),
        b"X: \x00\r\n",
        b"X: y\x00z\r\n",
        b"X: y\x01\r\n",
        b"X: y\x08\r\n",
        b"X: y\x0b\r\n",
        b"X: y\x0c\r\n",
        b"X: y\x1f\r\n",
        b"X: y\x7f\r\n",
        b"X: y\rz\r\n",
        b"X: y\r\r\n",
        b"X: y\nZ: z\r\n",
        b"X: y\n",
        b"\n",
        b"\r",
        b"X: y\r\n\n",
    ):
        yield post(HOST + bad + LENGTH, BODY)
        yield post(HOST + LENGTH + bad, BODY)
    yield post(LENGTH, BODY)
    yield post(HOST + HOST + LENGTH, BODY)
    yield post(HOST + b"Host: evil.com\r\n" + LENGTH, BODY)
    yield post(HOST + b"host: evil.com\r\n" + LENGTH, BODY)
    yield post(HOST + LENGTH, BODY).replace(b"\r\n", b"\n")
    yield post(HOST + LENGTH, BODY).replace(b"\r\n", b"\r")
    yield post(HOST + LENGTH, BODY).replace(b"\r\n", b"\n\r")
    yield post(HOST + b"".join(b"X-%d: y\r\n" % number for number in range(100)) + LENGTH, BODY)
    yield post(HOST + b"X: " + b"y" * 70_000 + b"\r\n" + LENGTH, BODY)
    yield post(HOST + b"X" * 70_000 + b": y\r\n" + LENGTH, BODY)


def lengths() -> Iterator[bytes]:
    """Two lengths, or one that is none."""
    for value in (
        b"", b"+13", b"-13", b"-0", b"13 13", b"13,13", b"13, 13", b"13;", b"0x0d", b"1e1", b"13.0", b'"13"',
        b"thirteen", b"13\x00", b"13\x0b", b"\xb9\xb3", b"1" * 21, b"18446744073709551616", b"99999999999999999999",
        b"1_3", b"d",
    ):  # fmt: skip
        yield post(HOST + b"Content-Length: " + value + b"\r\n", BODY)
    yield post(HOST + LENGTH + LENGTH, BODY)
    yield post(HOST + LENGTH + b"Content-Length: 14\r\n", BODY)
    yield post(HOST + LENGTH + b"content-length: 0\r\n", BODY)
    yield post(HOST + b"Content-Length : 13\r\n", BODY)
    yield post(HOST + b" Content-Length: 13\r\n", BODY)
    yield post(HOST + b"Content-Length\x00: 13\r\n", BODY)
    yield post(HOST + b"Content-Length:\r\n 13\r\n", BODY)


def codings() -> Iterator[bytes]:
    """A length beside a coding, or codings that are none of ours."""
    for both in (
        LENGTH + CHUNKED,
        CHUNKED + LENGTH,
        b"Content-Length: 0\r\n" + CHUNKED,
        CHUNKED + b"Content-Length: 0\r\n",
        b"content-length: 13\r\ntransfer-encoding: CHUNKED\r\n",
        LENGTH + b"Transfer-Encoding: identity\r\n",
        CHUNKED + CHUNKED,
        CHUNKED + b"Transfer-Encoding: identity\r\n",
        b"Transfer-Encoding: identity\r\n" + CHUNKED,
    ):
        yield post(HOST + both, CHUNKS)
    for value in (
        b"", b"identity", b"gzip", b"gzip, chunked", b"chunked, gzip", b"chunked, chunked", b"chunked,", b",chunked",
        b"chunked;q=1", b"xchunked", b"chunkedx", b"chunked chunked", b'"chunked"', b"chun\tked", b"chunked\x00",
        b"\x0bchunked", b"chunked\x0b", b"chunk", b"cow", b"chunked, identity", b"deflate", b"\xffchunked",
    ):  # fmt: skip
        yield post(HOST + b"Transfer-Encoding: " + value + b"\r\n", CHUNKS)
    for name in (b"Transfer-Encoding ", b" Transfer-Encoding", b"Transfer-Encoding\t", b"Transfer-Encoding\x00"):
        yield post(HOST + name + b": chunked\r\n", CHUNKS)
    yield post(HOST + b"Transfer-Encoding:\r\n chunked\r\n", CHUNKS)
    yield post(HOST + CHUNKED, CHUNKS, b"POST " + CHAT + b" HTTP/1.0\r\n")


def chunks() -> Iterator[bytes]:
    """Chunks that can't be read, or that a program in front may read otherwise."""
    for body in (
        b'd;\r\n{"model":"m"}\r\n0\r\n\r\n',
        b'd;x=y\r\n{"model":"m"}\r\n0\r\n\r\n',
        b'd;x="y\r\nz"\r\n{"model":"m"}\r\n0\r\n\r\n',
        b'd \r\n{"model":"m"}\r\n0\r\n\r\n',
        b' d\r\n{"model":"m"}\r\n0\r\n\r\n',
        b'\td\r\n{"model":"m"}\r\n0\r\n\r\n',
        b'+d\r\n{"model":"m"}\r\n0\r\n\r\n',
        b'-d\r\n{"model":"m"}\r\n0\r\n\r\n',
        b'0xd\r\n{"model":"m"}\r\n0\r\n\r\n',
        b'd\n{"model":"m"}\r\n0\r\n\r\n',
        b'd\r{"model":"m"}\r\n0\r\n\r\n',
        b'd\r\r\n{"model":"m"}\r\n0\r\n\r\n',
        b'd\r\n{"model":"m"}\n0\r\n\r\n',
        b'd\r\n{"model":"m"}\r0\r\n\r\n',
        b'd\r\n{"model":"m"}0\r\n\r\n',
        b'd\r\n{"model":"m"}xx0\r\n\r\n',
        b'c\r\n{"model":"m"}\r\n0\r\n\r\n',
        b'd\r\n{"model":"m"}\r\n0\r\nX: y\r\n\r\n',
        b'd\r\n{"model":"m"}\r\n0\r\nContent-Length: 0\r\n\r\n',
        b'd\r\n{"model":"m"}\r\n0\r\n y\r\n\r\n',
        b'd\r\n{"model":"m"}\r\n0\r\n\n',
        b'd\r\n{"model":"m"}\r\n0\n\r\n',
        b'd\r\n{"model":"m"}\r\n0;x\r\n\r\n',
        b'd\r\n{"model":"m"}\r\n0 \r\n\r\n',
        b'd\r\n{"model":"m"}\r\n\r\n\r\n',
        b"x\r\n\r\n",
        b"\r\n\r\n",
        b"\x00\r\n",
        b"g\r\n" + bytes(16),
        b"ffffffffffffffff\r\nx",
        b"10000000000000000\r\nx",
        b"0000000000000000000000000d\r\n",
        BODY,
    ):
        yield post(HOST + CHUNKED, body)


def protocols() -> Iterator[bytes]:
    """Other protocols."""
    yield b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00"
    yield b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200)
    yield b"SSH-2.0-OpenSSH_9.6\r\n\r\n"
    yield b"\x05\x01\x00"
    yield b"EHLO localhost\r\nMAIL FROM: x\r\n\r\n"
    yield b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
    yield b"<html>\r\n\r\n"
    yield BODY + b"\r\n\r\n"


ALL = tuple(
    request for family in (lines, targets, headers, lengths, codings, chunks, protocols) for request in family()
)
