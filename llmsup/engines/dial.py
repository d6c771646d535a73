"""Opens streams to addresses; `connection` speaks HTTP on them."""

from __future__ import annotations

import hashlib
import socket
import ssl
from pathlib import Path

import trio

from ..process.quick_stream import QuickStream
from .address import Address, TcpAddress, UnixAddress

_FULL = 0.01
"""Seconds between two attempts while an engine's backlog of connections is full."""


class WrongCertificate(ssl.SSLCertVerificationError):
    """The server has another certificate than the one that its address names.

    Attributes:
        seen: The fingerprint of the one that it has.
    """

    def __init__(self, seen: str) -> None:
        super().__init__(1, f"its certificate is {seen}")
        self.seen = seen


async def connect(address: Address) -> trio.abc.Stream:
    """Open a stream, with TLS if the address asks for it.

    Raises:
        OSError: Nothing listens there, or (`ssl.SSLError`) the server can't be trusted or speaks no TLS;
            `WrongCertificate` if it isn't the one with the address's fingerprint.
    """
    if isinstance(address, UnixAddress):
        return await _connect_unix(address.path)
    stream = await _connect_tcp(address)
    if address.tls is None:
        return stream
    secure = await _secure(stream, address.host, address.tls)
    if address.fingerprint and (seen := fingerprint(secure)) != address.fingerprint:
        stream.close()
        raise WrongCertificate(seen)
    return secure


def fingerprint(stream: trio.SSLStream[QuickStream]) -> str:
    """Return that of the server's certificate, as it is written in a config; the handshake must be over."""
    return f"sha256:{hashlib.sha256(stream.getpeercert(binary_form=True)).hexdigest()}"


async def _connect_tcp(address: TcpAddress) -> QuickStream:
    """Connect; to an IPv4 address, which every local engine has, the cheap way: no look-up and no second attempt."""
    if not _is_ipv4(address.host):
        return QuickStream.of(await trio.open_tcp_stream(address.host, address.port))
    own = trio.socket.socket(trio.socket.AF_INET, trio.socket.SOCK_STREAM)
    try:
        await own.connect((address.host, address.port))
    except BaseException:
        own.close()
        raise
    return QuickStream.of(trio.SocketStream(own))


def _is_ipv4(host: str) -> bool:
    try:
        socket.inet_pton(socket.AF_INET, host)
    except OSError:
        return False
    return True


async def _secure(stream: QuickStream, host: str, context: ssl.SSLContext) -> trio.SSLStream[QuickStream]:
    """Add TLS. A missing close_notify is accepted, as most servers send none: HTTP itself says where an answer ends."""
    secure = trio.SSLStream(stream, context, server_hostname=host, https_compatible=True)
    try:
        await secure.do_handshake()
    except BaseException as error:
        stream.close()
        if not isinstance(error, trio.BrokenResourceError):
            raise
        cause = error.__cause__
        raise (
            cause if isinstance(cause, OSError) else ConnectionResetError("connection closed during the TLS handshake")
        ) from None
    return secure


async def _connect_unix(path: Path) -> trio.abc.Stream:
    """Connect to a Unix socket, which succeeds at once or not at all.

    With the engine's backlog full Linux returns EAGAIN. trio takes that for "in progress", and then for success, and
    the request would be lost.
    """
    own = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        own.setblocking(False)
        while True:
            await trio.lowlevel.checkpoint()
            try:
                own.connect(str(path))
            except BlockingIOError:
                await trio.sleep(_FULL)
            else:
                return QuickStream(own)
    except BaseException:
        own.close()
        raise
