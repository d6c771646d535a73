"""TCP's own watch over connections on which nobody may speak for long: is anybody still at the other end?

A machine that loses its power, or a router that forgets a connection, says nothing. Who waits for an answer there would
wait for ever: nothing that he has sent is unacknowledged, so nothing is sent again, and nobody notices.
"""

from __future__ import annotations

import socket

from ..units import Seconds

SILENT = Seconds(15)
"""How long nothing may come before the other end is asked."""

EVERY = Seconds(5)
"""Between two such questions."""

MOST = 4
"""Questions without an answer after which the connection is broken; a machine that knows nothing of it says so at once,
which breaks it, too."""

_OPTIONS = (("TCP_KEEPIDLE", SILENT), ("TCP_KEEPALIVE", SILENT), ("TCP_KEEPINTVL", EVERY), ("TCP_KEEPCNT", MOST))
"""The second is macOS' name for the first."""


def keep_alive(connected: socket.socket) -> None:
    """Have the system watch over a connection. On a Unix socket, whose other end can't vanish, nothing happens."""
    if connected.family == socket.AF_UNIX:
        return
    connected.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _OPTIONS:
        if (option := getattr(socket, name, None)) is not None:
            connected.setsockopt(socket.IPPROTO_TCP, option, int(value))
