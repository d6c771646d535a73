"""TLS, with a certificate made for the test."""

from __future__ import annotations

import json
import socket
import ssl
import threading
from contextlib import closing
from http.client import HTTPSConnection
from pathlib import Path

import pytest
import trio
import trustme
from click.testing import CliRunner
from serving import PATIENCE, fake, serving

from llmsup.cli import main
from llmsup.config.schema import Server
from llmsup.errors import SetupError


@pytest.fixture
def tls(tmp_path: Path) -> tuple[Server, ssl.SSLContext]:
    """A server's settings, and what a client of it trusts."""
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    certificate.private_key_and_cert_chain_pem.write_to_path(tmp_path / "both.pem")
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return Server(certfile=str(tmp_path / "both.pem"), keyfile=str(tmp_path / "both.pem")), context


async def test_it_serves_over_tls(tls: tuple[Server, ssl.SSLContext]) -> None:
    server, context = tls
    async with serving(fake("a"), server=server) as served:

        def ask() -> object:
            body = json.dumps({"model": "a", "messages": []}).encode()
            connection = HTTPSConnection("127.0.0.1", served.client.port, timeout=PATIENCE, context=context)
            with closing(connection):
                connection.request("POST", "/v1/chat/completions", body)
                return json.load(connection.getresponse())["choices"][0]["message"]["role"]

        assert await trio.to_thread.run_sync(ask) == "assistant"


async def test_only_http_1_is_offered(tls: tuple[Server, ssl.SSLContext]) -> None:
    """And a connection that is announced as closing ends, with TLS's good-bye: its end is the answer's."""
    server, context = tls
    context.set_alpn_protocols(["h2", "http/1.1"])
    async with serving(fake("a"), server=server) as served:

        def ask() -> tuple[str | None, bytes]:
            with (
                socket.create_connection(("127.0.0.1", served.client.port), PATIENCE) as plain,
                context.wrap_socket(plain, server_hostname="127.0.0.1", suppress_ragged_eofs=False) as connection,
            ):
                body = b'{"model": "a", "stream": true, "messages": []}'
                head = b"POST /v1/chat/completions HTTP/1.0\r\nContent-Length: %d\r\n\r\n" % len(body)
                connection.sendall(head + body)
                data = b""
                while part := connection.recv(4096):
                    data += part
                return connection.selected_alpn_protocol(), data

        protocol, data = await trio.to_thread.run_sync(ask)
        assert protocol == "http/1.1"
        assert data.endswith(b"data: [DONE]\n\n")


@pytest.mark.parametrize(
    "sent", [b"GET / HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer sesame\r\n\r\n", b"sesame, open!\r\n" * 9]
)
async def test_who_does_not_shake_hands(
    tls: tuple[Server, ssl.SSLContext], caplog: pytest.LogCaptureFixture, sent: bytes
) -> None:
    """The connection ends, and nothing is logged of it. Who speaks plain HTTP is told in plain HTTP what to do."""
    server, _ = tls
    received = b""
    async with serving(fake("a"), server=server) as served:
        caplog.clear()
        connection = await served.client.connect()
        async with connection:
            await connection.send_all(sent)
            with trio.fail_after(PATIENCE):
                try:
                    while data := await connection.receive_some():
                        received += data
                except trio.BrokenResourceError:
                    pass
        assert not caplog.records
    assert sent.startswith(b"GET") == (b"400 Bad Request" in received) == (b"Write https://" in received)
    assert b"sesame" not in received


@pytest.mark.parametrize("secure", [False, True])
async def test_the_commands_say_which_scheme_it_is(tls: tuple[Server, ssl.SSLContext], secure: bool) -> None:
    """https:// where there is no TLS, and the other way round: words for people, with the remedy."""
    wrong, right = ("http", "https") if secure else ("https", "http")
    async with serving(fake("a"), server=tls[0] if secure else None) as served:
        url = f"{wrong}://127.0.0.1:{served.client.port}"
        result = await trio.to_thread.run_sync(CliRunner().invoke, main, ["ps", "--url", url])
    assert result.exit_code == 1
    assert f"{right}://" in result.stderr
    assert "SSL" not in result.stderr


def test_a_server_that_hangs_up() -> None:
    """As many do that expect TLS."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"

        def hang_up() -> None:
            with listener.accept()[0] as accepted:
                accepted.recv(65536)

        thread = threading.Thread(target=hang_up)
        thread.start()
        result = CliRunner().invoke(main, ["ps", "--url", url])
        thread.join()
    assert f"If it speaks TLS, write {url.replace('http', 'https')}." in result.stderr


async def test_a_certificate_that_is_none_is_a_plain_error(tmp_path: Path) -> None:
    (tmp_path / "x.pem").write_text("no certificate")
    server = Server(certfile=str(tmp_path / "x.pem"), keyfile=str(tmp_path / "x.pem"))
    with pytest.RaisesGroup(pytest.RaisesExc(SetupError, match="certfile"), flatten_subgroups=True):
        async with serving(fake("a"), server=server):
            pytest.fail("it can't have started")
