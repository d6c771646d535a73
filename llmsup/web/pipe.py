"""Two ends of a connection within this process: what one sends, the other receives."""

from __future__ import annotations

import socket
from typing import Any

import trio
from attrs import frozen

Address = tuple[str, int]


@frozen
class Ends:
    """The two ends of a client's connection, and whether it is encrypted."""

    client: Address | None
    server: Address | None
    secure: bool


class Pipe(trio.abc.HalfCloseableStream):
    """One end. Nothing is buffered: a send waits until the other end has taken it."""

    def __init__(self, out: trio.MemorySendChannel[bytes], in_: trio.MemoryReceiveChannel[bytes]) -> None:
        self._out = out
        self._in = in_

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """See trio."""
        await self._out.send(bytes(data))

    async def wait_send_all_might_not_block(self) -> None:
        """See trio."""
        await trio.lowlevel.checkpoint()

    async def send_eof(self) -> None:
        """See trio."""
        await self._out.aclose()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:  # noqa: ARG002 -- as in trio
        """Return what the other end sent in one call, whatever its size."""
        try:
            return await self._in.receive()
        except trio.EndOfChannel:
            return b""

    def close(self) -> None:
        """Close it now; the other end sees the end after what it has already taken."""
        self._out.close()
        self._in.close()

    async def aclose(self) -> None:
        """See trio."""
        self.close()
        await trio.lowlevel.checkpoint()


class ServersEnd(Pipe):
    """The end for a server made for sockets, which asks for the addresses of both sides."""

    def __init__(self, out: trio.MemorySendChannel[bytes], in_: trio.MemoryReceiveChannel[bytes], ends: Ends) -> None:
        super().__init__(out, in_)
        self.socket: Any = _Socket(ends)


class SecureServersEnd(ServersEnd):
    """The same for a client's connection that is encrypted: the TLS has been handled before."""

    @property
    def transport_stream(self) -> ServersEnd:
        """The stream below the encryption."""
        return self

    async def do_handshake(self) -> None:
        """Do nothing: the handshake is done."""
        await trio.lowlevel.checkpoint()

    def selected_alpn_protocol(self) -> str:
        """Return the protocol that was agreed on."""
        return "http/1.1"


class _Socket:
    family = socket.AF_INET

    def __init__(self, ends: Ends) -> None:
        self._ends = ends

    def getpeername(self) -> Address | None:
        return self._ends.client

    def getsockname(self) -> Address | None:
        return self._ends.server


def pipe(ends: Ends) -> tuple[Pipe, ServersEnd]:
    """Make a pipe: the front's end, and the server's, which takes it for the client's connection."""
    there, here = trio.open_memory_channel[bytes](0)
    back, from_there = trio.open_memory_channel[bytes](0)
    kind = SecureServersEnd if ends.secure else ServersEnd
    return Pipe(there, from_there), kind(back, here, ends)
