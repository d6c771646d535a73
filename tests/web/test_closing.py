"""Connections of a whole llmsup to their end, with bare sockets."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
import trio
from roads import roads
from serving import PATIENCE, Served, fake, serving

from llmsup.engines.address import TcpAddress
from llmsup.engines.dial import connect
from llmsup.units import Seconds
from llmsup.web.server import WebServer, listen

BODY = {"model": "m", "messages": []}


async def say(served: Served, version: str, *headers: str, stream: bool) -> trio.abc.Stream:
    """Send a chat request on a new connection."""
    body = json.dumps({**BODY, "stream": stream})
    head = [f"POST /v1/chat/completions HTTP/{version}", "Host: localhost", f"Content-Length: {len(body)}", *headers]
    connection = await served.client.connect()
    await connection.send_all("\r\n".join([*head, "", body]).encode())
    return connection


async def to_the_end(connection: trio.abc.Stream) -> bytes:
    data = b""
    with trio.fail_after(PATIENCE):
        while part := await connection.receive_some():
            data += part
    return data


@pytest.mark.slow
@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("version", ["1.0", "1.1"])
@pytest.mark.parametrize("headers", [(), ("Connection: close",)])
async def test_an_answer_to_the_end_of_its_connection(version: str, headers: tuple[str, ...], stream: bool) -> None:
    """HTTP/1.1 without a word keeps the connection, so there the end is asked for with a second request."""
    async with serving(fake("m")) as served:
        connection = await say(served, version, *headers, stream=stream)
        async with connection:
            if version == "1.1" and not headers:
                await connection.send_all(b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            data = await to_the_end(connection)
    assert data.startswith(b"HTTP/1.1 200 OK\r\n")
    assert re.search(rb"\nConnection: close\r\n", data)
    assert (b"data: [DONE]\n\n" if stream else b'"request_body"') in data
    if version == "1.0":
        assert b"transfer-encoding" not in data.lower()
        assert data.endswith(b"data: [DONE]\n\n" if stream else b"}")


@pytest.mark.road("hypercorn")
async def test_a_short_answer_without_a_length_ends_in_a_reset() -> None:
    """In HTTP/1.0 the end of the connection is the end of the answer: one that breaks off must not look whole."""

    async def breaks(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"half", "more_body": True})

    sockets = listen("127.0.0.1:0")
    server = WebServer(roads(breaks), sockets)
    async with trio.open_nursery() as nursery:
        await nursery.start(server.run)
        connection = await connect(TcpAddress("127.0.0.1", sockets[0].getsockname()[1]))
        async with connection:
            await connection.send_all(b"GET / HTTP/1.0\r\n\r\n")
            with pytest.raises(trio.BrokenResourceError):
                await to_the_end(connection)
        await server.stop(Seconds(PATIENCE))


@pytest.mark.road("fast")  # Hypercorn writes names in lower case, and its own words
async def test_names_of_headers_and_the_reason_are_the_engines() -> None:
    async with serving(fake("m")) as served:
        answer = await served.client.send("POST", "/v1/chat/completions", BODY)
        names = [name for name, _ in answer.headers]
        await answer.close()
        assert {b"Server", b"Content-Type", b"Content-Length"} <= set(names)
        assert answer.reason == b"OK"
        answer = await served.client.send("GET", "/upstream/m/nothing")
        await answer.close()
        assert (answer.status, answer.reason) == (404, b"Error")  # the fake engine's words


async def test_a_path_says_what_it_takes() -> None:
    async with serving(fake("m")) as served:
        for method, path, allowed in (
            ("GET", "/v1/chat/completions", {"POST"}),
            ("DELETE", "/models/load", {"POST"}),
            ("POST", "/health", {"GET", "HEAD"}),
        ):
            got = await served.client.ask(method, path)
            assert (got.status, got.error["code"]) == (405, "method_not_allowed")
            assert set(got.headers["allow"].split(", ")) == allowed


async def test_which_road_is_taken(road: str) -> None:
    """`server.fast` says so; Quart, on the slow one, writes names in lower case."""
    async with serving(fake("m")) as served:
        answer = await served.client.send("POST", "/v1/chat/completions", BODY)
        names = {name for name, _ in answer.headers}
        await answer.close()
        assert ({b"Content-Type", b"content-type"} & names) == {b"Content-Type" if road == "fast" else b"content-type"}
