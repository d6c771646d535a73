"""A server that answers questions with what a test says, and notes them; over TLS, if it is given a certificate."""

from __future__ import annotations

import json
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import trio

PATIENCE = 30
"""Seconds after which a test counts as hung."""

Answer = tuple[int, Mapping[str, str], bytes]


def said(value: Any, status: int = 200, **headers: str) -> Answer:
    """An answer in JSON; `headers`: with _ for -."""
    return status, {name.replace("_", "-"): each for name, each in headers.items()}, json.dumps(value).encode()


class FakePeer:
    """Such a server. What it has no answer for is not found.

    Attributes:
        answers: By path; what can be called is called for each.
        asked: The heads of what it was asked, by path.
        silent: It reads, and says nothing.
        hangs_up: It closes connections instead of answering.
        others: What it answers to all other paths.
    """

    def __init__(self, answers: Mapping[str, Answer | Callable[[], Answer]]) -> None:
        self.answers = dict(answers)
        self.others = said({"error": {"message": "File Not Found"}}, 404)
        self.asked: list[tuple[str, bytes]] = []
        self.silent = self.hangs_up = False
        self.port = 0
        self.connections = 0

    @property
    def paths(self) -> list[str]:
        """What it was asked."""
        return [path for path, _ in self.asked]

    async def serve(self, context: ssl.SSLContext | None, stream: trio.abc.Stream) -> None:
        """One connection."""
        self.connections += 1
        if context is not None:
            stream = trio.SSLStream(stream, context, server_side=True, https_compatible=True)
        data = b""
        try:
            async with stream:
                while piece := await stream.receive_some():
                    data += piece
                    if not data[:1].isalpha():  # TLS, say
                        await stream.send_all(b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\r\n")
                        return
                    while b"\r\n\r\n" in data:
                        head, rest = data.split(b"\r\n\r\n", 1)
                        lengths = (line[15:] for line in head.lower().split(b"\r\n") if line[:15] == b"content-length:")
                        if len(rest) < (length := int(next(lengths, b"0"))):
                            break
                        data = rest[length:]
                        if self.hangs_up:
                            return
                        if self.silent:
                            continue
                        await stream.send_all(self._answer(head))
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # it was refused, or hung up

    def _answer(self, head: bytes) -> bytes:
        path = head.split()[1].decode()
        self.asked.append((path, head))
        answer = self.answers.get(path, self.others)
        status, headers, body = answer() if callable(answer) else answer
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        return f"HTTP/1.1 {status} OK\r\n{lines}content-length: {len(body)}\r\n\r\n".encode() + body

    @asynccontextmanager
    async def listening(
        self, context: ssl.SSLContext | None = None, host: str = "127.0.0.1", port: int = 0
    ) -> AsyncIterator[FakePeer]:
        """Serve; all connections are closed when the block is left."""
        async with trio.open_nursery() as nursery:
            serve = partial(self.serve, context)
            listeners = await nursery.start(partial(trio.serve_tcp, serve, port, host=host, handler_nursery=nursery))
            self.port = listeners[0].socket.getsockname()[1]
            yield self
            nursery.cancel_scope.cancel()
