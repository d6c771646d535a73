"""Loopback TCP ports for engines that can't listen on a socket: which are free, and which turned out not to be.

It does not know who listens on them.
"""

from __future__ import annotations

import re
import socket as sockets

from .address import Address, TcpAddress

LOOPBACK = "127.0.0.1"

TRIED = 3
"""Ports that an engine is given, one after the other, before somebody who takes them all is a failure."""

_IN_USE = re.compile(
    r"address (?:is )?already in use|address in use|EADDRINUSE|couldn't bind HTTP server socket"
    r"|port \d+ is (?:already )?(?:in use|taken|occupied)",
    re.IGNORECASE,
)
"""libc's words (so Python's, Go's and Rust's), Node's, llama-server's (tools/server/server-http.cpp), and others'."""


def free_port() -> int:
    """A loopback TCP port that nobody has now. Another program may take it before the engine does: the system hands
    out the same ones to every connection that goes out.
    """
    with sockets.socket() as probe:
        probe.bind((LOOPBACK, 0))
        port: int = probe.getsockname()[1]
        return port


def taken(address: Address, said: tuple[str, ...]) -> bool:
    """Whether an engine that ended could not have its port, by what it said, or because somebody else has it now."""
    if not isinstance(address, TcpAddress):
        return False
    if any(map(_IN_USE.search, said)):
        return True
    with sockets.socket() as probe:
        # Connections that the engine itself closed (our questions to it) don't make its port anybody's.
        probe.setsockopt(sockets.SOL_SOCKET, sockets.SO_REUSEADDR, 1)
        try:
            probe.bind((address.host, address.port))
        except OSError:
            return True
    return False
