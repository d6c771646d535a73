"""Host names that a request may be addressed to: this machine's, and those that no web page can have.

To a browser, a page whose name resolves to us (DNS rebinding) has the same origin as we do; but its requests still
carry that name as their `Host`.
"""

from __future__ import annotations

import ipaddress
import socket
from functools import lru_cache

PRIVATE = (".localhost", ".local", ".internal", ".home.arpa")
"""Endings that no name on the internet has: RFC 6761, RFC 6762 (Macs' names for each other), ICANN's resolution
2024.07.29.06 (containers' names for their host), RFC 8375. Anyone who can answer for such a name is already in this
network, and can reach an open listener without DNS rebinding."""


def is_address(host: str) -> bool:
    """Tell whether a host is an IP address, which no page can make its name."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


@lru_cache(256)
def is_loopback(host: str, *, certainly: bool = False) -> bool:
    """Tell whether a host name or address is this machine's; every name under localhost is (RFC 6761).

    Args:
        certainly: Whether it must be so with any resolver: some ask the network for names under localhost.
    """
    host = plain(host)
    if host == "localhost" or (host.endswith(".localhost") and not certainly):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def is_private(host: str) -> bool:
    """Tell whether a name is only valid within this network: it has no dots, or a `PRIVATE` ending."""
    host = plain(host)
    return bool(host) and ("." not in host or host.endswith(PRIVATE))


def plain(host: str) -> str:
    """Normalise a name for comparison."""
    return host.rstrip(".").lower()


def own_names() -> frozenset[str]:
    """Return this machine's names, from its system. No name server is asked: that could be slow, or spoofed."""
    return frozenset({plain(socket.gethostname())} - {""})
