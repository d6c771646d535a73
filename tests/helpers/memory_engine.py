"""An engine that is a list of answers, at the other end of connections in memory, and requests to it."""

from __future__ import annotations

import trio
from trio.testing import memory_stream_pair

from llmsup.engines.pool import Answer, ConnectionPool

SILENT = b""


def ok(body: bytes, *headers: bytes) -> bytes:
    """An answer."""
    lines = b"".join(header + b"\r\n" for header in (*headers, b"content-length: %d" % len(body)))
    return b"HTTP/1.1 200 OK\r\n%s\r\n%s" % (lines, body)


class Line:
    """The engine's end of one connection. All it says goes out at once; nobody waits for anybody."""

    def __init__(self, first_words: bytes) -> None:
        self.near, self._far = memory_stream_pair()
        self.says(first_words)

    def says(self, words: bytes) -> None:
        self.near.receive_stream.put_data(words)

    def hangs_up(self) -> None:
        """No more words, but still listening, like a process that is ending."""
        self.near.receive_stream.put_eof()

    async def is_gone(self) -> None:
        """Not even listening."""
        await self._far.aclose()

    async def heard(self) -> bytes:
        """What has come since the last look; with "<closed>" at its end where the client has hung up."""
        data = b""
        with trio.move_on_after(0.01):
            while got := await self._far.receive_some():
                data += got
            return data + b"<closed>"
        return data


class Engine:
    """Opens connections in memory. `first_words` are what each of them, in turn, says as soon as it is open."""

    def __init__(self, *first_words: bytes) -> None:
        self._first_words = list(first_words)
        self.lines: list[Line] = []

    async def open(self) -> trio.abc.Stream:
        await trio.lowlevel.checkpoint()
        self.lines.append(Line(self._first_words.pop(0)))
        return self.lines[-1].near


async def get(pool: ConnectionPool, target: bytes = b"/") -> Answer:
    with trio.fail_after(60):
        return await pool.request("GET", target, [], b"")


async def whole(answer: Answer) -> bytes:
    """The body of an answer, which is then given back."""
    with trio.fail_after(60):
        data = b""
        while piece := await answer.body():
            data += piece
        await answer.close()
        return data


def pooled(*first_words: bytes) -> tuple[Engine, ConnectionPool]:
    """An engine whose connections begin with these words, each in turn, and a pool of them."""
    engine = Engine(*first_words)
    return engine, ConnectionPool(engine.open)
