"""A real nginx in front, with its default settings: it speaks HTTP/1.0 to what is behind it, and waits for its end."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import trio
from nginx_run import nginx
from serving import PATIENCE, fake, serving


def plain(folder: Path, port: int) -> str:
    """One that passes all on to a port."""
    return f"server {{ listen unix:{folder}/socket; location / {{ proxy_pass http://127.0.0.1:{port}; }} }}"


async def ask(socket: Path, *, stream: bool) -> trio.SocketStream:
    connection = await trio.open_unix_socket(str(socket))
    body = json.dumps({"model": "m", "stream": stream, "messages": []})
    head = "POST /v1/chat/completions HTTP/1.1\r\nHost: models.lan\r\nConnection: close\r\n"
    await connection.send_all(f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode())
    return connection


@pytest.fixture
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Short, because a socket's path may have no more than 104 bytes on macOS."""
    return tmp_path_factory.mktemp("nginx")


@pytest.mark.slow
async def test_answers_end_when_they_end(folder: Path) -> None:
    async with serving(fake("m")) as served, nginx(folder, plain(folder, served.client.port)) as socket:
        for stream, last in ((True, b"data: [DONE]\n\n"), (False, b"}")):
            data = b""
            async with await ask(socket, stream=stream) as connection:
                with trio.fail_after(PATIENCE):  # nginx itself waits for a minute
                    while part := await connection.receive_some():
                        data += part
            assert data.startswith(b"HTTP/1.1 200 ")
            assert last in data
    assert "upstream" not in (folder / "error.log").read_text()


@pytest.mark.slow
async def test_a_stream_comes_as_it_is_written(folder: Path) -> None:
    """The engine takes for ever, so what arrives can't have been collected first."""
    async with (
        serving(fake("m", "--tokens", 1_000_000, "--tps", 50)) as served,
        nginx(folder, plain(folder, served.client.port)) as socket,
    ):
        async with await ask(socket, stream=True) as connection:
            data = b""
            with trio.fail_after(PATIENCE):
                while data.count(b"data: ") < 5:
                    data += await connection.receive_some()
        await served.until("m", lambda m: not m.queue.busy)  # and the client's leaving gets through
