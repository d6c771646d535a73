"""Loopback TCP ports for engines that can't listen on a Unix socket: which are free, and which were taken."""

from __future__ import annotations

import re
import socket as sockets

from .address import Address, TcpAddress

LOOPBACK = "127.0.0.1"

TRIED = 3
"""The number of ports to try, one after the other, before giving up on an engine that finds them all taken."""

_IN_USE = re.compile(
    r"address (?:is )?already in use|address in use|EADDRINUSE|couldn't bind HTTP server socket"
    r"|port \d+ is (?:already )?(?:in use|taken|occupied)",
    re.IGNORECASE,
)
"""How "address in use" is worded by libc (so Python, Go and Rust), Node, llama-server (tools/server/server-http.cpp)
and others."""


def free_port() -> int:
    """Return a loopback TCP port that is free now.

    Another program may take it before the engine does: the system hands out the same ports to outgoing connections.
    """
    with sockets.socket() as probe:
        probe.bind((LOOPBACK, 0))
        port: int = probe.getsockname()[1]
        return port


def taken(address: Address, said: tuple[str, ...]) -> bool:
    """Tell whether an engine ended because its port was taken: by its log, or because the port is in use now."""
    if not isinstance(address, TcpAddress):
        return False
    if any(map(_IN_USE.search, said)):
        return True
    with sockets.socket() as probe:
        # Connections that the engine closed (those of our probes) must not make its port count as taken.
        probe.setsockopt(sockets.SOL_SOCKET, sockets.SO_REUSEADDR, 1)
        try:
            probe.bind((address.host, address.port))
        except OSError:
            return True
    return False
