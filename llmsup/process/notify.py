"""Tells systemd when llmsup is ready and when it stops (sd_notify(3)).

It never raises: a service manager that doesn't listen is no reason not to serve.
"""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import MutableMapping

from ..units import Seconds

log = logging.getLogger(__name__)

PATIENCE = Seconds(1)
"""Seconds that a socket whose queue is full may hold us up."""


class Notifier:
    """Sends to $NOTIFY_SOCKET, or nowhere.

    Attributes:
        address: A Unix datagram socket's path, or "@" and an abstract name (sd_notify(3)); "" sends nowhere.
    """

    def __init__(self, address: str = "") -> None:
        self.address = address
        self._stopping = False

    @classmethod
    def take(cls, environ: MutableMapping[str, str] = os.environ) -> Notifier:
        """The one that the environment names. The variable is removed: an engine that also speaks the protocol (a
        container runtime does) must not report in our name.
        """
        return cls(environ.pop("NOTIFY_SOCKET", ""))

    def ready(self, status: str) -> None:
        """Report that requests are answered; `status` is a line for people. Does nothing after `stopping`."""
        if not self._stopping:
            self._tell(f"READY=1\nSTATUS={' '.join(status.split())}")

    def stopping(self) -> None:
        """Report that llmsup is stopping; may be called repeatedly."""
        if not self._stopping:
            self._stopping = True
            self._tell("STOPPING=1\nSTATUS=stopping")

    def _tell(self, message: str) -> None:
        if not self.address:
            return
        # "@" stands for the NUL byte that abstract addresses begin with (unix(7)).
        address = f"\0{self.address[1:]}" if self.address.startswith("@") else self.address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ear:
                ear.settimeout(PATIENCE)
                ear.sendto(message.encode(), os.fsencode(address))
        except (OSError, ValueError) as error:
            log.warning("$NOTIFY_SOCKET (%s) did not take %r: %s", self.address, message.partition("\n")[0], error)
