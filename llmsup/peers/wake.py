"""Wake on LAN: the packet, and where it is sent."""

from __future__ import annotations

import socket
from collections.abc import Iterable
from urllib.parse import urlsplit

import psutil
import trio

from ..config.schema import PeerSpec
from ..units import Seconds

PORT = 9
"""The port "discard": nobody answers. A sleeping card looks for the pattern in whatever comes."""

EVERYBODY = "255.255.255.255"

PATIENCE = Seconds(2)
"""How long looking up the host's name may take: whoever is asleep may also be who answers for it (mDNS)."""


def packet(mac: str) -> bytes:
    """Return AMD's magic packet for a network card: six times FF, and its address sixteen times."""
    return b"\xff" * 6 + bytes.fromhex(mac.replace(":", "").replace("-", "")) * 16


def broadcasts() -> tuple[str, ...]:
    """Return where the machines of all attached networks hear us: what is for everybody goes to one network only."""
    found = [
        address.broadcast
        for addresses in psutil.net_if_addrs().values()
        for address in addresses
        if address.family == socket.AF_INET and address.broadcast
    ]
    return tuple(dict.fromkeys([EVERYBODY, *found]))


async def wake(spec: PeerSpec) -> None:
    """Send the packet to everybody, and to the host itself: across a router, only that may arrive.

    Raises:
        OSError: It could be sent nowhere.
    """
    await send(packet(spec.mac), (*broadcasts(), *await _addresses(urlsplit(spec.url).hostname or "")), PORT)


async def send(data: bytes, addresses: Iterable[str], port: int) -> None:
    """Send a packet to addresses. Raises OSError if it can be sent to none of them."""
    sent, last = 0, OSError("no address to send it to")
    for address in addresses:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        with trio.socket.socket(family, socket.SOCK_DGRAM) as own:
            try:
                if family == socket.AF_INET:
                    own.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
                await own.sendto(data, (address, port))
                sent += 1
            except OSError as error:
                last = error
    if not sent:
        raise last


async def _addresses(host: str) -> tuple[str, ...]:
    with trio.move_on_after(PATIENCE):
        try:
            found = await trio.socket.getaddrinfo(host, PORT, type=socket.SOCK_DGRAM)
        except OSError:
            return ()
        return tuple(dict.fromkeys(str(each[4][0]) for each in found))
    return ()
