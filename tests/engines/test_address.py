"""Addresses: how they are written, which headers requests to them begin with, and that connections can be opened."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
import trio
import trustme

from llmsup.engines.address import Address, TcpAddress, UnixAddress
from llmsup.engines.connection import Disconnected
from llmsup.engines.dial import connect
from llmsup.engines.pool import ConnectionPool

PATIENCE = 30
"""Seconds after which a test counts as hung."""

ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


@pytest.mark.parametrize(
    ("address", "written", "opening"),
    [
        (UnixAddress(Path("/run/x")), "unix:/run/x", b"host: localhost\r\n"),
        (TcpAddress("127.0.0.1", 4711), "http://127.0.0.1:4711", b"host: 127.0.0.1:4711\r\n"),
        (TcpAddress("::1", 4711), "http://[::1]:4711", b"host: [::1]:4711\r\n"),
        (TcpAddress("studio.local", 80), "http://studio.local:80", b"host: studio.local\r\n"),
        (TcpAddress("bücher.example", 81), "http://bücher.example:81", b"host: xn--bcher-kva.example:81\r\n"),
        (TcpAddress("a.b", 80, tls=ssl.create_default_context()), "https://a.b:80", b"host: a.b:80\r\n"),
        (TcpAddress("a.b", 443, tls=ssl.create_default_context()), "https://a.b:443", b"host: a.b\r\n"),
        (
            TcpAddress("a.b", 8080, headers=((b"authorization", b"Bearer sesame"), (b"x-hop", b"1"))),
            "http://a.b:8080",
            b"host: a.b:8080\r\nauthorization: Bearer sesame\r\nx-hop: 1\r\n",
        ),
    ],
)
def test_how_it_is_written_and_what_requests_begin_with(address: Address, written: str, opening: bytes) -> None:
    assert str(address) == written
    assert address.opening == opening
    assert "sesame" not in repr(address)


@pytest.mark.parametrize("header", [(b"a", b"sesame\r\nx: y"), (b"a\n", b"sesame"), (b"", b"sesame"), (b"a", b"\0")])
def test_a_header_is_one_line(header: tuple[bytes, bytes]) -> None:
    """What a key would smuggle in is refused, and the key isn't told."""
    with pytest.raises(ValueError, match="header") as refused:
        TcpAddress("127.0.0.1", 1, headers=(header,))
    assert "sesame" not in str(refused.value)


class Server:
    """Notes each request, and answers it with `ANSWER`.

    Attributes:
        connections: How many there were.
        heard: The heads of its requests.
        open: Its side of those connections that are open.
    """

    def __init__(self) -> None:
        self.connections = 0
        self.heard: list[bytes] = []
        self.open: list[trio.abc.Stream] = []

    async def serve(self, context: ssl.SSLContext | None, stream: trio.abc.Stream) -> None:
        """One connection."""
        self.connections += 1
        if context is not None:
            stream = trio.SSLStream(stream, context, server_side=True, https_compatible=True)
        self.open.append(stream)
        try:
            async with stream:
                while data := await stream.receive_some():
                    self.heard.append(bytes(data))
                    await stream.send_all(ANSWER)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # it was refused, or hung up by the test


@asynccontextmanager
async def served(host: str, context: ssl.SSLContext | None = None) -> AsyncIterator[tuple[Server, int]]:
    """Such a server, and its port."""
    server = Server()
    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(
            partial(trio.serve_tcp, partial(server.serve, context), 0, host=host, handler_nursery=nursery)
        )
        with trio.fail_after(PATIENCE):
            yield server, listeners[0].socket.getsockname()[1]
        nursery.cancel_scope.cancel()


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def theirs(authority: trustme.CA) -> ssl.SSLContext:
    """What a server of the name localhost has."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(context)
    return context


@pytest.fixture
def ours(authority: trustme.CA) -> ssl.SSLContext:
    """What trusts it."""
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


async def ask(pool: ConnectionPool) -> bytes:
    """A request's whole answer, and its connection is given back."""
    answer = await pool.request("POST", b"/x", [(b"x-own", b"1")], b"body")
    data = b""
    while piece := await answer.body():
        data += piece
    await answer.close()
    return data


async def test_tls_is_spoken_and_the_headers_are_sent(theirs: ssl.SSLContext, ours: ssl.SSLContext) -> None:
    """Each request has them, and a connection is used again, as without TLS."""
    async with served("127.0.0.1", theirs) as (server, port):
        pool = ConnectionPool.to(TcpAddress("localhost", port, tls=ours, headers=((b"authorization", b"Bearer k"),)))
        assert [await ask(pool), await ask(pool)] == [b"ok", b"ok"]
        head = b"POST /x HTTP/1.1\r\nhost: localhost:%d\r\nauthorization: Bearer k\r\nx-own: 1\r\n" % port
        assert server.heard == [head + b"content-length: 4\r\n\r\nbody"] * 2
        assert server.connections == 1
        await pool.close()


async def test_a_kept_connection_that_tls_has_ended_is_not_used(theirs: ssl.SSLContext, ours: ssl.SSLContext) -> None:
    """Until TLS reads it, a close_notify is only bytes: the end is noticed on the socket below."""
    async with served("127.0.0.1", theirs) as (server, port):
        pool = ConnectionPool.to(TcpAddress("localhost", port, tls=ours))
        await ask(pool)
        ((_, kept),) = pool._idle
        assert not kept.readable
        await server.open[0].aclose()
        while not kept.readable:  # noqa: ASYNC110 -- the kernel tells nobody who isn't reading
            await trio.sleep(0.005)
        assert await ask(pool) == b"ok"
        assert server.connections == 2
        await pool.close()


async def test_whose_certificate_is_not_good_hears_nothing(theirs: ssl.SSLContext) -> None:
    """Not the key, either; and what was wrong with it can be told."""
    stranger = ssl.create_default_context()
    async with served("127.0.0.1", theirs) as (server, port):
        address = TcpAddress("localhost", port, tls=stranger, headers=((b"authorization", b"Bearer k"),))
        with pytest.raises(ssl.SSLCertVerificationError):
            await connect(address)
        with pytest.raises(Disconnected) as gone:
            await ask(ConnectionPool.to(address))
        assert isinstance(gone.value.__cause__, ssl.SSLCertVerificationError)
        assert not server.heard


async def test_a_certificate_for_another_name_is_not_good(theirs: ssl.SSLContext, ours: ssl.SSLContext) -> None:
    async with served("127.0.0.1", theirs) as (_, port):
        with pytest.raises(ssl.SSLCertVerificationError, match=r"127\.0\.0\.1"):
            await connect(TcpAddress("127.0.0.1", port, tls=ours))


async def test_who_speaks_no_tls_is_an_oserror(ours: ssl.SSLContext) -> None:
    async with served("127.0.0.1") as (_, port):
        with pytest.raises(OSError, match="SSL"):
            await connect(TcpAddress("localhost", port, tls=ours))


async def test_an_ipv6_address_is_opened() -> None:
    async with served("::1") as (server, port):
        pool = ConnectionPool.to(TcpAddress("::1", port))
        assert await ask(pool) == b"ok"
        assert b"host: [::1]:%d\r\n" % port in server.heard[0]
        await pool.close()
