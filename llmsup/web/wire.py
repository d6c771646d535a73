"""The bytes to and from one client: sent with a deadline, and closed so that the last of them arrive."""

from __future__ import annotations

import logging
import socket
import struct
from contextlib import suppress
from typing import Any

import trio

from ..errors import TlsWanted
from ..process.quick_stream import READ, QuickStream
from ..units import Seconds

log = logging.getLogger(__name__)

PIECE = 65536
"""Bytes to send within one deadline, so that a client that is slow but keeps reading is not cut off."""

LINGER = 5.0
"""Seconds for which a client's bytes are discarded after the last answer: nginx's lingering_timeout. Closing a socket
that holds unread data resets the connection, and the reset may overtake the answer (RFC 9112, 9.6)."""

LINGER_BYTES = 32 * 1024**2
"""The most bytes to discard in that time."""

GONE = (trio.BrokenResourceError, trio.ClosedResourceError)
"""What trio's streams raise when either side has closed the connection."""


class Wire:
    """One client's connection.

    Attributes:
        stalled: Seconds within which a client must read some of what is sent to it.
        ahead: Bytes that have been received, but not used yet.
        broken: Whether nothing more can be sent: the client is gone, or a message was only sent in part.
    """

    def __init__(self, stream: Any, stalled: Seconds) -> None:
        """`stream`: a `QuickStream`, or a trio.SSLStream over one."""
        self.stalled = stalled
        self.broken = False
        self.ahead = b""
        self._stream = stream
        self._quick = stream if isinstance(stream, QuickStream) else None

    @property
    def secure(self) -> bool:
        """Whether the connection is encrypted."""
        return isinstance(self._stream, trio.SSLStream)

    @property
    def _transport(self) -> QuickStream | None:
        transport = self._stream.transport_stream if self.secure else self._stream
        return transport if isinstance(transport, QuickStream) else None

    @property
    def readable(self) -> bool:
        """Whether there are unused bytes, or the client has closed its side."""
        return bool(self.ahead) or (self._transport is not None and self._transport.readable)

    @property
    def hung_up(self) -> bool:
        """Whether the client has closed its side or is gone, even if not all of what it sent has been read."""
        return self._transport is not None and self._transport.hung_up

    async def open(self) -> bool:
        """Do the TLS handshake, if there is TLS; returns False if it failed.

        Raises:
            TlsWanted: The client speaks plain HTTP. From then on this side does, too, so that it can be told.
        """
        if isinstance(self._stream, trio.SSLStream):
            try:
                await self._stream.do_handshake()
            except GONE as error:
                if getattr(error.__cause__, "reason", "") != "HTTP_REQUEST":
                    return False
                self._stream = self._stream.transport_stream
                raise TlsWanted("This server is called with TLS.", hint="Write https:// instead of http://.") from None
        return True

    async def receive(self) -> bytes:
        """Return the next bytes; b"" if the client has closed its side or is gone."""
        if ahead := self.ahead:
            self.ahead = b""
            return ahead
        return await self.read()

    async def read(self) -> bytes:
        """As `receive`, but without the bytes in `ahead`."""
        try:
            if self._quick is not None and (data := self._quick.receive_now()) is not None:
                return data
            return bytes(await self._stream.receive_some(READ))
        except GONE:
            return b""

    async def send(self, data: bytes) -> None:
        """Send all of it. A client that is gone, or that takes nothing for `stalled` seconds, makes it `broken`."""
        sent = self.send_now(data)
        if sent < len(data) and not self.broken:
            await self._send_slowly(data[sent:] if sent else data)

    def send_now(self, data: bytes) -> int:
        """Send what can be sent at once; returns how many bytes that was. A client that is gone makes it `broken`."""
        if self.broken or self._quick is None:
            return 0
        try:
            return self._quick.send_now(data)
        except GONE:
            self.broken = True
            return 0

    async def _send_slowly(self, data: bytes) -> None:
        self.broken = True  # until all of it is sent, so also if this is cancelled midway
        try:
            for start in range(0, len(data), PIECE):
                with trio.fail_after(self.stalled):
                    await self._stream.send_all(memoryview(data)[start : start + PIECE])
        except trio.TooSlowError:
            log.info("a client took no byte for %g s: cut off", self.stalled)
            await trio.aclose_forcefully(self._stream)
        except GONE:
            pass
        else:
            self.broken = False

    async def finish(self, *, unread: bool) -> None:
        """Close after the last answer. `unread`: the client may still be sending a request."""
        with trio.move_on_after(LINGER):
            if not self.secure:
                try:
                    await self._stream.send_eof()
                except GONE:
                    return
            left = LINGER_BYTES if unread or not self.secure else 0
            while left > 0 and (data := await self.receive()):
                left -= len(data)
        with trio.move_on_after(LINGER):  # closing TLS sends a last message
            with suppress(*GONE):
                await self._stream.aclose()

    async def cut(self) -> None:
        """Close with a reset, so that the client doesn't take a truncated answer for a complete one."""
        self.broken = True
        if self._transport is not None:
            with suppress(OSError):  # the client is gone already
                self._transport.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        await self.close()

    async def close(self) -> None:
        """Close at once."""
        await trio.aclose_forcefully(self._stream)


class Switched:
    """The bytes of a connection that has been switched to another protocol: a `gateway.message.Duplex`."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    async def receive(self) -> bytes:
        """Return the next bytes; b"" at the end."""
        return await self._wire.receive()

    async def send(self, data: bytes) -> None:
        """Send all of it.

        Raises:
            trio.BrokenResourceError: The client is gone.
        """
        await self._wire.send(data)
        if self._wire.broken:
            raise trio.BrokenResourceError
