"""Names that a request may be addressed to: which are this machine's, and which a web page can't have as its own.

A page whose name is made to lead here (DNS rebinding) is of one origin with us to its browser; but its requests still
carry that name as their `Host`. It does not know what is asked for, nor what a listener's address is.
"""

from __future__ import annotations

import ipaddress
import socket
from functools import lru_cache

PRIVATE = (".localhost", ".local", ".internal", ".home.arpa")
"""Endings that no name on the internet has: RFC 6761, RFC 6762 (what Macs call each other), ICANN's resolution
2024.07.29.06 (what containers call their host), RFC 8375. Whoever can answer for such a name is in this network
already, and reaches an open listener without tricks."""


def is_address(host: str) -> bool:
    """Whether a host is an IP address: nobody can have another machine's."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


@lru_cache(256)
def is_loopback(host: str, *, certainly: bool = False) -> bool:
    """Whether a host name or address is this machine's own. RFC 6761: every name under localhost is.

    Args:
        certainly: Whatever this machine's resolver is: some ask the network for names under localhost.
    """
    host = plain(host)
    if host == "localhost" or (host.endswith(".localhost") and not certainly):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def is_private(host: str) -> bool:
    """Whether a name only means something within this network: one without dots, or with a `PRIVATE` ending."""
    host = plain(host)
    return bool(host) and ("." not in host or host.endswith(PRIVATE))


def plain(host: str) -> str:
    """A name as it is compared."""
    return host.rstrip(".").lower()


def own_names() -> frozenset[str]:
    """What this machine is called by its system. It asks no name server: that could take long, and could be lied to."""
    return frozenset({plain(socket.gethostname())} - {""})
