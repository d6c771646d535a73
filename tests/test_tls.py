"""TLS, with a certificate made for the test."""

from __future__ import annotations

import json
import ssl
from contextlib import closing
from http.client import HTTPSConnection
from pathlib import Path

import pytest
import trio
import trustme
from serving import PATIENCE, fake, serving

from llmsup.config.schema import Server
from llmsup.errors import SetupError


async def test_it_serves_over_tls(tmp_path: Path) -> None:
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    certificate.private_key_and_cert_chain_pem.write_to_path(tmp_path / "both.pem")
    context = ssl.create_default_context()
    authority.configure_trust(context)
    server = Server(certfile=str(tmp_path / "both.pem"), keyfile=str(tmp_path / "both.pem"))
    async with serving(fake("a"), server=server) as served:

        def ask() -> object:
            body = json.dumps({"model": "a", "messages": []}).encode()
            connection = HTTPSConnection("127.0.0.1", served.client.port, timeout=PATIENCE, context=context)
            with closing(connection):
                connection.request("POST", "/v1/chat/completions", body)
                return json.load(connection.getresponse())["choices"][0]["message"]["role"]

        assert await trio.to_thread.run_sync(ask) == "assistant"


async def test_a_certificate_that_is_none_is_a_plain_error(tmp_path: Path) -> None:
    (tmp_path / "x.pem").write_text("no certificate")
    server = Server(certfile=str(tmp_path / "x.pem"), keyfile=str(tmp_path / "x.pem"))
    with pytest.RaisesGroup(pytest.RaisesExc(SetupError, match="certfile"), flatten_subgroups=True):
        async with serving(fake("a"), server=server):
            pytest.fail("it can't have started")
