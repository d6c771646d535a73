"""Whether a worker owes its engine an answer, as the kernel tells of their connection.

Nothing else shows that a worker hangs: it serves one connection at a time, so only its engine can ask it, and that says
that it is well while it waits. The kernel remembers when data last went each way, on the tunnel's near end, too.
"""

from __future__ import annotations

import ipaddress
import socket
import struct
import sys
from collections.abc import Iterator
from contextlib import suppress

from attrs import frozen

from ...engines.address import TcpAddress
from ...units import Seconds

_SOCK_DIAG, _DUMP = 20, 0x301
_DONE, _ERROR = 3, 2
_TCP_INFO = 2
_HEADER = struct.Struct("=IHHII")
"""`struct nlmsghdr`: its length with what follows, type, flags, sequence, port."""

_QUESTION = struct.Struct("=BBBxI2s2s44x")
"""`struct inet_diag_req_v2`: family, protocol, what to tell, states, ports; addresses are not compared."""

_MESSAGE = 72
"""The size of `struct inet_diag_msg`, after which attributes come."""

_SENT, _RECEIVED = 44, 52
"""Where `struct tcp_info` has tcpi_last_data_sent and tcpi_last_data_recv, in ms."""


@frozen
class Exchange:
    """When data last went over the connections to a server. llmsup's own, which waits for its end, carries none.

    Attributes:
        sent: Seconds since something was sent to it.
        received: Seconds since something came from it.
    """

    sent: Seconds
    received: Seconds

    @property
    def owed(self) -> bool:
        """What was sent last may not have been answered: both can be in the same tick of the kernel's clock."""
        return self.sent <= self.received

    @property
    def silence(self) -> Seconds:
        """Seconds since anything went either way."""
        return min(self.sent, self.received)


def exchange(address: TcpAddress) -> Exchange | None:
    """The last exchange with a server on this machine's loopback; None if nobody is connected to it, or if the system
    doesn't tell (macOS, some sandboxes). Takes a moment; doesn't wait.
    """
    if sys.platform != "linux":
        return None
    found: list[bytes] = []
    with suppress(OSError):
        for family in (socket.AF_INET, socket.AF_INET6):
            found.extend(_infos(family, address.port))
    ages = [(_number(each, _SENT), _number(each, _RECEIVED)) for each in found]
    if not ages:
        return None
    sent, received = (Seconds(min(each) / 1000) for each in zip(*ages, strict=True))
    return Exchange(sent, received)


def _infos(family: int, port: int) -> Iterator[bytes]:
    """The `struct tcp_info` of every connection to a port of this machine's loopback."""
    established = 1 << 1
    question = _QUESTION.pack(
        family, socket.IPPROTO_TCP, 1 << (_TCP_INFO - 1), established, b"\0\0", port.to_bytes(2, "big")
    )
    with socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, 4) as kernel:  # NETLINK_SOCK_DIAG
        kernel.settimeout(1)
        kernel.send(_HEADER.pack(_HEADER.size + len(question), _SOCK_DIAG, _DUMP, 0, 0) + question)
        while True:
            data = kernel.recv(1 << 16)
            at = 0
            while at + _HEADER.size <= len(data):
                length, kind, *_ = _HEADER.unpack_from(data, at)
                if kind in (_DONE, _ERROR) or length < _HEADER.size:
                    return
                message = data[at + _HEADER.size : at + length]
                there = message[24:28] if family == socket.AF_INET else message[24:40]
                if message[6:8] == port.to_bytes(2, "big") and ipaddress.ip_address(there).is_loopback:
                    yield from _attributes(message[_MESSAGE:])
                at += (length + 3) & ~3


def _attributes(data: bytes) -> Iterator[bytes]:
    at = 0
    while at + 4 <= len(data):
        length, kind = struct.unpack_from("=HH", data, at)
        if kind == _TCP_INFO and length >= 4 + _RECEIVED + 4:
            yield data[at + 4 : at + length]
        at += max((length + 3) & ~3, 4)


def _number(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 4], sys.byteorder)
